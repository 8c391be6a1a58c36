"""A rule rests only where every partition was told so: what was broken off is said once more."""

from engage.services.letters.source import Embedded
from engage.services.ruling.standing import state_of
from engage.services.ruling.switching import switch
from tests.services.test_embedded import START, House, ask_rule, delivered


async def test_a_rule_that_only_some_partitions_were_told_to_let_rest_is_told_again(tmp_path):
    rule = ask_rule()
    house = await House(tmp_path).open(rule)
    source = Embedded(house.log)

    async def switched(tell):
        return await switch(
            rule, False, source=source, partitions=house.log.partitions, tell=tell, actor="op", time=START, seconds=0
        )

    async def broken_off(words):
        await house.embedded.tell(words[:1])

    assert (await switched(broken_off)).state == "partly_off"
    done = await switched(house.embedded.tell)
    assert (done.state, done.changed) == ("off", True)
    await house.embedded.publish([delivered(f"o-{number}", subject=f"acc-{number}") for number in range(20)])
    assert state_of(rule, await source.bases()) == "off"
    await house.embedded.close()
    house.log.close()
