"""A partition's transactional producer on a real broker: all of what it is handed stands, in order, or nothing."""

import pytest

from engage.services.kafka_transaction import FencedProducer, Outgoing
from tests.log.inbox import records_in
from tests.log.kafka_platform import kafka_platform

pytestmark = pytest.mark.anyio


async def test_records_of_several_batches_and_partitions_stand_in_the_order_they_were_handed_over(kafka: str) -> None:
    records = [
        Outgoing(f"k-{number}".encode(), bytes(1_000), [("n", b"%d" % number)], partition=None if number % 3 else 1)
        for number in range(4_000)
    ]
    records.append(Outgoing(b"gone", None, timestamp=1_700_000_000_000))
    async with kafka_platform(kafka, partitions=2) as platform:
        producer = await FencedProducer(platform.bootstrap, f"{platform.topics.prefix}-test", 0).claim()
        first = await producer.commit([(platform.topics.rules_state, records), (platform.topics.inbox, [])], at=0)
        await producer.close()
        for partition in (0, 1):
            stand = await records_in(platform.bootstrap, platform.topics.rules_state, partition)
            handed_over = [each for each in records if (each.partition or 0) == partition]
            assert [(each.key, each.value, list(each.headers)) for each in stand] == [
                (each.key, each.value, each.headers or []) for each in handed_over
            ]
    assert first == 0
