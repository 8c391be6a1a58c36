"""A what-if over a real log reads and does nothing else; what is supposed wrongly is named before anything is read."""

import asyncio
import hashlib
import shutil
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

import streams
from engage import bootstrap
from engage.events import codec
from engage.events.catalogue.commerce import OrderCompleted
from engage.events.catalogue.consent import ConsentGiven
from engage.log.sqlite import SqliteLog
from engage.rules.policy import PolicySettings
from engage.services import what_if_health, what_if_report
from engage.services.configuration import ConfigurationError, Configured
from engage.services.supposing import Supposed
from engage.services.what_if import Task, WhatIf, fold_partition, what_if
from engage.settings import Settings
from engage.testing.events import happened
from projections.shared.account_health import account_health
from tests.strangers import STRANGE

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=300)
CONSENT = ConsentGiven(channel="email", purpose="marketing")
LATER = Supposed(settings=("rules.win-back.at_least=120d",))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with the history of nine customers who bought thrice and then no more."""
    found = Settings(home=str(tmp_path_factory.mktemp("home")))

    async def live() -> None:
        async with bootstrap.platform(found, clock=lambda: NOW) as platform:
            for day in (0, 10, 20):
                at = START + timedelta(days=day, hours=12)
                events = [
                    happened(data, at=at, subject=f"acc-{number}", id=f"{type(data).__name__}-{day}-{number}")
                    for number in range(9)
                    for data in (
                        ConsentGiven(channel="email", purpose="marketing"),
                        OrderCompleted(order_id=str(day), total=20.0),
                    )
                ]
                await platform.publish([codec.encode(_from_outside(event)) for event in events], as_lived=True)
            await platform.settle()

    asyncio.run(live())
    return found


def _from_outside(event: Any) -> Any:
    event.recorded, event.partition = None, -1
    return event


def supposed(settings: Settings, what: Supposed, **more: Any) -> WhatIf:
    house = partial(bootstrap.rules, settings)
    return what_if(partial(bootstrap.reading_log, settings), house, what, NOW, **more)


def state_of(home: Path) -> dict[str, str]:
    """The content of every file, but for what SQLite keeps beside a database for its readers."""
    files = [path for path in home.iterdir() if path.suffix not in (".db-shm", ".db-wal")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_a_record_that_is_no_event_is_passed_over_as_rules_do(settings: Settings, tmp_path: Path, strange: bytes):
    shutil.copytree(settings.home_path, tmp_path / "home")
    damaged = structs.replace(settings, home=str(tmp_path / "home"))
    log = SqliteLog(bootstrap.log_path(damaged))
    with log._transaction():
        log._db.execute("UPDATE log SET value = ? WHERE instr(value, ?)", (strange, b"OrderCompleted-0-0"))
    log.close()
    assert counted(supposed(damaged, LATER)) == counted(supposed(settings, LATER))


def test_who_would_have_waited_longer_and_not_a_byte_is_written(settings: Settings):
    before = state_of(settings.home_path)
    far: list[tuple[int, int]] = []
    found = supposed(settings, LATER, progress=lambda *told: far.append(told))
    assert state_of(settings.home_path) == before
    assert counted(found) == {"win-back": {"later": 9}}
    assert {one.after.at - one.before.at for one in found.changes if one.before and one.after} == {timedelta(days=60)}
    assert sum(was for was, _ in found.weeks.values()) == sum(now for _, now in found.weeks.values()) == 9
    assert all(done <= of for done, of in far)
    page = what_if_report.page(found, LATER.settings, NOW, None)
    assert "9 later" in page and "acc-3" in page


def counted(found: WhatIf) -> dict[str, dict[str, int]]:
    return {one.rule: one.differences for one in found.rules if one.differences}


def test_what_only_moved_over_the_edge_is_not_new(settings: Settings):
    since = START + timedelta(days=100)
    found = supposed(settings, LATER, since=since)
    assert counted(found) == {"win-back": {"later": 9}}
    assert [(one.before, one.after) for one in found.rules if one.rule == "win-back"] == [(0, 9)]


def test_rules_and_settings_of_files_take_the_place_of_the_house_s(tmp_path: Path):
    (tmp_path / "patient.py").write_text(
        "from datetime import timedelta\n"
        "from streams.customers.win_back import Settings, rule as ours\n"
        "rule = ours.configured(Settings(at_least=timedelta(days=120)))\n"
        "del ours\n"
    )
    (tmp_path / "patient.toml").write_text('[win-back]\nat_least = "P120D"\n')
    house = Configured(streams.RULES, PolicySettings(cap=7))
    for supposed in (*(Supposed(paths=(str(tmp_path / name),)) for name in ("patient.py", "patient.toml")), LATER):
        changed = supposed.over(house)
        assert [rule.name for rule in changed.rules] == [rule.name for rule in streams.RULES]
        [patient] = [rule for rule in changed.rules if rule.name == "win-back"]
        assert patient.settings.at_least == timedelta(days=120)
        assert changed.policy.cap == 7


async def test_nothing_but_reading_is_asked_of_the_log(settings: Settings):
    asked: set[str] = set()

    class Watched:
        def __init__(self, log: SqliteLog) -> None:
            self._log = log

        def __getattr__(self, name: str) -> Any:
            asked.add(name)
            return getattr(self._log, name)

    @asynccontextmanager
    async def opened():
        async with bootstrap.reading_log(settings) as log:
            yield Watched(log)

    task = Task(opened, lambda: Configured(streams.RULES, PolicySettings()), LATER, NOW)
    async with bootstrap.reading_log(settings) as log:
        end = await log.end(0)
    folded = await fold_partition(task, 0, end, lambda position: None)
    assert folded.records > 0
    assert asked == {"read"}


def test_the_house_s_own_rules_from_their_files_make_no_difference(settings: Settings):
    folders = tuple(str(Path(streams.__file__).parent / folder) for folder in ("customers", "partners"))
    found = supposed(settings, Supposed(paths=folders))
    assert found.changes == []
    assert {one.rule: (one.before, one.after) for one in found.rules} == {"welcome": (18, 18), "win-back": (9, 9)}


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (Supposed(settings=("win-back=3",)), "sets nothing"),
        (Supposed(settings=("rules.win-bock.at_least=3d",)), "there is no rule 'win-bock'"),
        (Supposed(settings=("rules.win-back.atleast=3d",)), "there is no setting 'atleast'"),
        (Supposed(settings=("rules.win-back.at_least=soon",)), "ISO 8601"),
        (Supposed(paths=("nowhere.py",)), "there is no file nowhere.py"),
        (Supposed(paths=(__file__.replace("test_what_if.py", "ledger.py"),)), "offers no rule"),
    ],
)
def test_what_cannot_be_supposed_is_named(settings: Settings, what: Supposed, words: str):
    with pytest.raises(ConfigurationError, match=words):
        supposed(settings, what)


def test_a_rule_that_cannot_be_loaded_is_named(settings: Settings, tmp_path: Path):
    (tmp_path / "broken.py").write_text("1 / 0")
    with pytest.raises(ConfigurationError, match=r"broken\.py cannot be loaded: ZeroDivisionError"):
        supposed(settings, Supposed(paths=(str(tmp_path),)))


def test_health_weighed_otherwise_moves_scores_by_as_much_as_it_says(settings: Settings):
    with bootstrap.reading_views(settings) as store:
        same = what_if_health.shift(store, what_if_health.reweighed([]), NOW)
        prior = what_if_health.reweighed(["health.purchasing.prior=0.5"])
        found = what_if_health.shift(store, prior, NOW)
        scores = {row.account: row.score for row in store.select(account_health)}
    assert (same.accounts, same.moved, same.mean, same.bands, same.most) == (9, 0, 0.0, {}, [])
    assert found.moved == 9 and found.mean > 1
    assert {one.account for one in found.most} == set(scores)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("health.purchasing=2", "sets nothing"),
        ("health.charm.weight=2", "there is no component 'charm'"),
        ("health.purchasing.half_life=2", "cannot be changed by weighing anew"),
    ],
)
def test_weights_that_cannot_be_are_named(text: str, words: str):
    with pytest.raises(ConfigurationError, match=words):
        what_if_health.reweighed([text])
