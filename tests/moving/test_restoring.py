"""A house that moved is the same house: log, keys, rows and follow-ups are, and it goes on as the old one would."""

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner

from engage import bootstrap
from engage.cli.main import app
from engage.log.contract import Duplicate, Taken
from engage.log.partitioning import partition_of
from engage.services.linking import link, unlink
from engage.services.moving.files import PACKED, DamagedError, lines
from engage.services.moving.manifest import NAME, NotEmptyError, read_manifest
from engage.services.moving.unfinished import NAME as RESTORING
from engage.services.moving.unfinished import UnfinishedRestoreError
from engage.settings import Settings
from engage.store.keys import MasterKeyError
from engage.store.schema_version import SchemaVersionError
from engage.store.webhooks import LOG, Cursor, Endpoint, Secret, Subscription
from projections.shared.profile import profile
from tests.cli.given import order
from tests.moving.given import NOW, exported, log_in, new_house, put_in, restored, rows_in, settled, stories

RUNNER = CliRunner()
LATER = NOW + timedelta(days=40)
NEWS = [
    order(
        n, f"customer-{n % 7}", time="2026-03-02T11:00:00Z", data={"order_id": str(n), "total": 20.0, "currency": "USD"}
    )
    for n in range(40)
]


async def goes_on(settings: Settings) -> list[type]:
    """A house takes what comes, lets 40 days pass, and does what follows; what it answered."""
    now = NOW
    async with bootstrap.platform(settings, clock=lambda: now) as platform:
        answers = await platform.publish([json.dumps(one).encode() for one in NEWS])
        await platform.settle(now)
        now = LATER
        await platform.settle(now)
        answers += await platform.publish([json.dumps(one).encode() for one in NEWS[:3]])
    return [type(answer) for answer in answers]


async def test_the_same_log_and_rows_and_it_goes_on_to_the_byte_as_the_old_house_does(old: Settings, tmp_path: Path):
    await exported(old, tmp_path / "export")
    new = new_house(tmp_path / "new", old)
    done = await restored(new, tmp_path / "export")
    assert (done.met, done.added, done.partitions, done.notes) == (0, 0, 4, ())
    assert done.differences
    assert not any(done.differences.values())
    assert await log_in(new) == await log_in(old)
    assert rows_in(new) == rows_in(old)
    answers = await goes_on(old)
    assert answers == [Taken] * 40 + [Duplicate] * 3
    assert await goes_on(new) == answers
    assert stories(await log_in(new)) == stories(await log_in(old))
    assert await log_in(new) == await log_in(old)
    assert rows_in(new) == rows_in(old)


@pytest.mark.parametrize("partitions", [12, 3])
async def test_a_wider_or_narrower_log_tells_every_account_s_story_as_before(
    old: Settings, tmp_path: Path, partitions: int
):
    # Where partitions are joined, their accounts share the later time: let nothing be due by then.
    await settled(old)
    await exported(old, tmp_path / "export")
    new = new_house(tmp_path / "new", old)
    done = await restored(new, tmp_path / "export", partitions)
    assert done.partitions == partitions
    assert not any(done.differences.values())
    before, after = await log_in(old), await log_in(new)
    assert stories(after) == stories(before)
    at = {(one, offset): json.loads(value) for one, records in after.items() for offset, value in records}
    for partition, records in after.items():
        moments = [datetime.fromisoformat(json.loads(value)["recorded"]) for _, value in records]
        assert moments == sorted(moments)
        for offset, value in records:
            event = json.loads(value)
            if event["subject"].startswith("partition:"):
                assert event["subject"] == f"partition:{event['data']['partition']}" == f"partition:{partition}"
            else:
                assert partition_of(event["subject"], partitions) == partition
            if event["type"] in ("follow_up.requested", "follow_up.skipped"):
                cause = event["data"]["cause"]
                led = at[cause["partition"], cause["offset"]]
                assert (led["id"], led["source"], led["subject"]) == (cause["id"], cause["source"], event["subject"])
                # It was decided at a record of that very moment, which stands before it.
                assert at[partition, event["data"]["decided_at"]]["recorded"] == event["time"]
                assert event["data"]["decided_at"] < offset
    assert rows_in(new) == rows_in(old)
    if partitions % 4 == 0:  # there every account's time is what it was
        await both_go_on(old, new)


async def both_go_on(old: Settings, new: Settings) -> None:
    """What was asked for is not asked for again, and from now on both ask for the same."""
    assert await goes_on(new) == await goes_on(old)
    ours, theirs = stories(await log_in(new)), stories(await log_in(old))
    for log in (ours, theirs):
        ids = [event["id"] for events in log.values() for event in events if event["source"] == "engage/rules"]
        assert len(ids) == len(set(ids))
    assert asked(ours) == asked(theirs)


def asked(log: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    """The follow-ups that were asked for, by account."""
    return {
        account: sorted(event["id"] for event in events if event["type"] == "follow_up.requested")
        for account, events in log.items()
    }


class StruckError(Exception):
    pass


async def test_cut_off_at_any_step_it_goes_on_and_is_what_it_would_have_been(
    demo: Settings, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("engage.services.moving.targets.AT_ONCE", 300)
    monkeypatch.setattr("engage.services.moving.restoring._STEP", 200)
    whole, new = new_house(tmp_path / "whole", demo), new_house(tmp_path / "new", demo)
    await restored(whole, export, 8, verify=False)
    left, doing = 0, ""

    def strike(what: str, done: int, total: int, rate: float) -> None:
        nonlocal left
        left -= what == doing
        if left == 0 and what == doing:
            raise StruckError

    for what, steps in (("log", 1), ("log", 9), ("log", 17), ("read models", 1)):
        left, doing = steps, what
        with pytest.raises(StruckError):
            await restored(new, export, 8, progress=strike, verify=False)
        with pytest.raises(UnfinishedRestoreError, match=r"`engage restore .*` goes on with it"):
            async with bootstrap.platform(new):
                pass
    doing = ""
    done = await restored(new, export, 8, progress=strike, verify=False)
    assert done.met > 1_000
    assert await log_in(new) == await log_in(whole)
    assert rows_in(new) == rows_in(whole) == rows_in(demo)


@pytest.mark.fault
def test_killed_at_random_moments_it_goes_on(demo: Settings, export: Path, tmp_path: Path, rounds: int):
    new, chance = new_house(tmp_path / "new", demo), random.Random(17)
    command = [sys.executable, "-m", "engage", "restore", "--no-verify", "--partitions", "8", str(export)]
    environment = os.environ | {"ENGAGE_HOME": new.home}
    for _ in range(rounds):
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            deadline = time.monotonic() + 60
            while not (Path(new.home) / RESTORING).exists() and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            try:
                process.wait(chance.uniform(0, 1.5))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
    if (Path(new.home) / RESTORING).exists():
        assert not any(asyncio.run(restored(new, export, 8)).differences.values())
    assert stories(asyncio.run(log_in(new))) == stories(asyncio.run(log_in(demo)))
    assert rows_in(new) == rows_in(demo)


async def test_of_an_export_that_was_altered_nothing_is_restored(demo: Settings, export: Path, tmp_path: Path):
    shutil.copytree(export, tmp_path / "export")
    manifest = read_manifest(export)
    path = tmp_path / "export" / manifest.segments(2)[0].path
    told = bytearray(path.read_bytes())
    told[len(told) // 2] ^= 4
    path.write_bytes(told)
    new = new_house(tmp_path / "new", demo)
    with pytest.raises(DamagedError, match=r"not those that were written\. Nothing was restored from it"):
        await restored(new, tmp_path / "export")
    assert not any((await log_in(new)).values())


async def test_a_house_that_holds_something_is_refused_with_what_to_do(demo: Settings, export: Path, tmp_path: Path):
    lived_in = new_house(tmp_path / "lived-in", demo)
    async with bootstrap.platform(lived_in, clock=lambda: NOW) as platform:
        await platform.publish([json.dumps(NEWS[0]).encode()])
    before = await log_in(lived_in)
    with pytest.raises(
        NotEmptyError, match=r"the log is not empty .*: an export is restored into an empty house alone"
    ):
        await restored(lived_in, export)
    assert await log_in(lived_in) == before
    bare = new_house(tmp_path / "bare", demo)
    store = bootstrap.access_store(bare)
    store.close()
    with_key = RUNNER.invoke(app, ["api-keys", "create", "shop", "--scope", "read"], env={"ENGAGE_HOME": bare.home})
    assert with_key.exit_code == 0
    with pytest.raises(NotEmptyError, match=r"the table api_keys in .* is not empty"):
        await restored(bare, export)


async def test_an_export_whose_tables_have_another_shape_is_for_the_engage_that_wrote_it(
    demo: Settings, export: Path, tmp_path: Path
):
    shutil.copytree(export, tmp_path / "export")
    manifest = json.loads((tmp_path / "export" / NAME).read_bytes())
    manifest["schemas"]["access"] += 1
    (tmp_path / "export" / NAME).write_text(json.dumps(manifest))
    new = new_house(tmp_path / "new", demo)
    with pytest.raises(SchemaVersionError, match=r"the access in the export have schema \d, .* restore with engage 0"):
        await restored(new, tmp_path / "export")
    assert not any((await log_in(new)).values())


async def test_the_beginning_of_one_restore_is_not_gone_on_with_by_another(
    demo: Settings, export: Path, tmp_path: Path
):
    shutil.copytree(export, tmp_path / "another")
    whole = json.loads((export / NAME).read_bytes())
    (tmp_path / "another" / NAME).write_text(json.dumps(whole | {"id": "another"}))
    new = new_house(tmp_path / "new", demo)

    def strike(what: str, done: int, total: int, rate: float) -> None:
        if what == "log":
            raise StruckError

    with pytest.raises(StruckError):
        await restored(new, export, progress=strike)
    with pytest.raises(NotEmptyError, match=r"the beginning of a restore of another export, that in .*export: go on"):
        await restored(new, tmp_path / "another")


async def test_without_the_right_master_key_nothing_is_begun(old: Settings, tmp_path: Path):
    await exported(old, tmp_path / "export")
    new = Settings(home=str(tmp_path / "new"))
    with pytest.raises(MasterKeyError, match=r"master\.key is missing.*scp OLD:engage-data/master\.key"):
        await restored(new, tmp_path / "export")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["owner.lock"]
    bootstrap.key_store(Settings(home=str(tmp_path / "other"))).close()
    with pytest.raises(MasterKeyError, match="is not the master key by which"):
        await restored(Settings(home=str(tmp_path / "other")), tmp_path / "export")
    await exported(old, tmp_path / "within", master_key=True)
    await restored(new, tmp_path / "within", verify=False)
    assert (tmp_path / "new/master.key").read_bytes() == (Path(old.home) / "master.key").read_bytes()


async def test_keys_that_are_older_than_the_log_are_forgotten_as_it_says(old: Settings, tmp_path: Path):
    account, name = "customer-9", "Ada Lövelace"
    person = order(subject=account, type="Account Identified", data={"kind": "customer", "name": name})
    env = {"ENGAGE_HOME": old.home}
    async with bootstrap.platform(old, clock=lambda: NOW) as platform:
        await platform.publish([json.dumps(person | {"time": "2026-03-02T11:00:00Z"}).encode()])
    await exported(old, tmp_path / "before")
    erased = await asyncio.to_thread(RUNNER.invoke, app, ["erase", account, "--yes"], env=env)
    assert erased.exit_code == 0, erased.output
    manifest = await exported(old, tmp_path / "after")
    # Somebody puts the keys of an older export into this one.
    keys = f"stores/keys.account_keys{PACKED}"
    put_in(tmp_path / "after", keys, lines(tmp_path / "before" / keys))
    assert manifest != read_manifest(tmp_path / "after")
    new = new_house(tmp_path / "new", old)
    await restored(new, tmp_path / "after", verify=False)
    store = bootstrap.key_store(new)
    assert (store.all_of(account), store.newest_generation(account)) == ({}, 1)
    store.close()
    there = new_house(tmp_path / "there", old)
    await restored(there, tmp_path / "before", verify=False)
    store = bootstrap.key_store(there)
    assert list(store.all_of(account)) == [1]
    store.close()


def test_what_is_kept_beside_the_log_comes_along(old: Settings, tmp_path: Path):
    env = {"ENGAGE_HOME": old.home, "ENGAGE_ACTOR": "ada"}

    def run(*arguments: str, home: str = old.home) -> str:
        done = RUNNER.invoke(app, list(arguments), env=env | {"ENGAGE_HOME": home})
        assert done.exit_code == 0, done.output
        return done.stdout

    run("api-keys", "create", "shop", "--scope", "publish")
    run("projections", "pause", "loyalty")
    (Path(old.home) / "rules.toml").write_text('[win-back]\nat_least = "P45D"\n')
    [first, *_] = json.loads(run("follow-ups", "--limit", "1", "--json"))["follow_ups"]
    # It is done, and the process ends before it was relayed to the log.
    settings = Settings(home=old.home)

    async def complete() -> None:
        async with bootstrap.platform(settings, clock=lambda: NOW) as platform:
            platform.desk.complete(UUID(first["follow_up"]), "reached", "ada", NOW)

    asyncio.run(complete())
    run("export", "--no-parquet", str(tmp_path / "export"))
    new = new_house(tmp_path / "new", old)
    told = json.loads(run("restore", "--json", str(tmp_path / "export"), home=new.home))
    assert told["unrelayed"] == 1
    assert (Path(new.home) / "rules.toml").read_text() == (Path(old.home) / "rules.toml").read_text()
    keys = json.loads(run("api-keys", "list", "--json", home=new.home))
    assert keys == json.loads(run("api-keys", "list", "--json"))
    deeds = [one["command"] for one in json.loads(run("audit", "--json", home=new.home))["commands"]]
    assert deeds[0] == "restore"
    assert json.loads(run("audit", "--json"))["commands"][0]["command"] == "export"
    assert {"api-keys create", "projections pause"} <= set(deeds)
    listed = json.loads(run("projections", "list", "--json", home=new.home))["projections"]
    assert [one["name"] for one in listed if one.get("paused")] == ["loyalty"]

    asyncio.run(settled(new, NOW + timedelta(minutes=1)))
    found = [
        event for event in stories(asyncio.run(log_in(new)))[first["account"]] if event["type"] == "follow_up.completed"
    ]
    assert found[-1]["correlationid"] == first["follow_up"]
    commands = stories(asyncio.run(log_in(new)))["engage:operations"]
    assert len({event["id"] for event in commands}) == len(commands) == 3


@pytest.mark.parametrize("partitions", [12, 3])
async def test_webhooks_and_read_models_go_on_where_they_stood(old: Settings, tmp_path: Path, partitions: int):
    await settled(old)
    before = {one: len(records) for one, records in (await log_in(old)).items()}
    endpoint = Endpoint(
        id="e-1",
        url="https://crm.example/hook",
        subscription=Subscription(events=("Order Completed",), views=("loyalty",)),
        secrets=(Secret("whsec_bm90IGEgc2VjcmV0"),),
        created=NOW,
    )
    async with bootstrap.platform(old, clock=lambda: NOW) as platform:
        store = bootstrap.webhook_store(old)
        log = [Cursor("e-1", LOG, one, platform.log.generation, end) for one, end in before.items()]
        store.add(endpoint, [*log, *(Cursor("e-1", "view:loyalty", one, "epoch", 7) for one in before)])
        store.close()
        await platform.publish([json.dumps(one).encode() for one in NEWS])
    await exported(old, tmp_path / "export")
    new = new_house(tmp_path / "new", old)
    await restored(new, tmp_path / "export", partitions, verify=False)
    store = bootstrap.webhook_store(new)
    assert store.endpoints() == [endpoint]
    stands = {(one.stream, one.partition): one for one in store.cursors(["e-1"])}
    store.close()
    assert len(stands) == 2 * partitions
    to_be_told = stories(
        {
            one: [record for record in records if record[0] >= stands[LOG, one].position]
            for one, records in (await log_in(new)).items()
        }
    )
    behind = stories({one: records[before[one] :] for one, records in (await log_in(old)).items()})
    assert all(to_be_told[account][-len(events) :] == events for account, events in behind.items())
    if partitions % 4:
        return  # what was told of one of the partitions that are joined is told again: nothing is missed
    assert to_be_told == behind
    # The read models had not come to the news when they were exported: they say of them what they would have said.
    await settled(old)
    await settled(new)
    assert stories(await log_in(new)) == stories(await log_in(old))
    assert any(event["source"] == "engage/views" for events in stories(await log_in(new)).values() for event in events)


def test_restore_says_what_projections_verify_says(demo: Settings, export: Path, tmp_path: Path):
    new = new_house(tmp_path / "new", demo)
    env = {"ENGAGE_HOME": new.home}
    done = RUNNER.invoke(app, ["restore", "--partitions", "12", str(export)], env=env)
    assert done.exit_code == 0, done.output
    models = len(bootstrap.read_models(new))
    assert f"in 12 partitions; {models} of {models} read models are the fold of the log" in done.stdout
    again = RUNNER.invoke(app, ["restore", str(export)], env=env)
    assert (again.exit_code, "empty house" in again.stderr) == (1, True)


async def test_who_is_linked_to_whom_moves_along(tmp_path: Path):
    old = Settings(home=str(tmp_path / "old"))
    visitor, account = "anonymous:1", "customer-1"
    async with bootstrap.platform(old, clock=lambda: NOW) as platform:
        ticket = order(
            9, visitor, id="t-1", type="Ticket Opened", time="2026-03-02T01:00:00Z", data={"ticket_id": "t-1"}
        )
        told = [order(1, visitor), order(2, account), ticket]
        await platform.publish([json.dumps(one).encode() for one in told])
        await platform.settle(NOW)
        await link(platform, visitor, account)
        await unlink(platform, visitor)
        await link(platform, visitor, account)
        await platform.settle(NOW)
    await exported(old, tmp_path / "export")
    new = new_house(tmp_path / "new", old)
    done = await restored(new, tmp_path / "export", 3)
    assert not any(done.differences.values())
    async with bootstrap.platform(new, clock=lambda: NOW) as platform:
        again = [json.dumps(order(number, visitor)).encode() for number in (1, 3)]
        assert [type(answer) for answer in await platform.publish(again)] == [Duplicate, Taken]
        await platform.settle(NOW)
        assert [row.interactions for row in platform.store.select(profile)] == [4]
        await unlink(platform, visitor)
        await platform.settle(NOW)
        known = {row.account: row.interactions for row in platform.store.select(profile)}
        assert known == {visitor: 3, account: 1}
