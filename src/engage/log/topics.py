"""The topics of a log on Kafka: their names, how they must be laid out, and what is wrong when they are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from msgspec import Struct

from engage.log.topic_id import describe_topics

PARTITIONS = 12
INBOX_RETENTION = timedelta(days=7)
DEAD_LETTER_RETENTION = timedelta(days=30)
MAX_RECORD_BYTES = 4 << 20
"""The largest record of inbox and log: an event of 1 MB whose personal texts grew by a third when they were sealed."""

_FOR_EVER = "-1"
_NO_LIMIT = str(2**63 - 1)
_SAFE_REPLICATION = 3
_VISIBLE_SECONDS = 30.0
_POLL_SECONDS = 0.05


class BrokerUnavailableError(ConnectionError):
    """Kafka does not answer, or not as it should: see that it runs and can be reached, then do the same again."""


class LayoutError(RuntimeError):
    """The topics are not laid out as a log needs them: the message names each fault and its remedy."""


class Topics(Struct, frozen=True):
    """The names of one log's topics; ``prefix`` tells logs on the same cluster apart.

    ``views`` names the read models whose changes are fed to a topic each.
    """

    prefix: str = "engage"
    views: tuple[str, ...] = ()

    @property
    def inbox(self) -> str:
        return f"{self.prefix}.inbox"

    @property
    def interactions(self) -> str:
        return f"{self.prefix}.interactions"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}.dead-letters"

    @property
    def rules_state(self) -> str:
        """The changelog of what the rules' workers keep: a fold of the log, which may be deleted at any time."""
        return f"{self.prefix}.rules-state"

    @property
    def links(self) -> str:
        """What intake keeps of linked identities: who is linked, and what of their history is still to be moved."""
        return f"{self.prefix}.links"

    def view(self, name: str) -> str:
        """The changes of a read model, compacted: the newest record of a key is its row, or a tombstone."""
        return f"{self.prefix}.views.{name}"

    @property
    def folds(self) -> list[str]:
        """The topics that can be made anew from the log."""
        return [self.rules_state, *map(self.view, self.views)]

    @property
    def all(self) -> list[str]:
        return [self.inbox, self.interactions, self.dead_letters, self.links, *self.folds]


class Layout(Struct, frozen=True):
    """A log's topics as they are: how many partitions each has, and the id of the log's topic, its generation."""

    partitions: int
    generation: str


async def create_topics(
    bootstrap: str, partitions: int = PARTITIONS, replication: int = 1, *, topics: Topics | None = None
) -> Layout:
    """Make the topics that are missing and check all; what exists is never changed.

    ``replication`` is the number of copies; with 3 or more, a write is acknowledged by at least 2. LayoutError if what
    exists does not fit, BrokerUnavailableError if Kafka is away.
    """
    names = topics or Topics()
    safe = {"min.insync.replicas": "2"} if replication >= _SAFE_REPLICATION else {}
    wanted = [
        NewTopic(name, partitions, replication, topic_configs=settings | safe)
        for name, settings in _settings(names).items()
    ]
    async with _admin(bootstrap) as admin:
        answer = await admin.create_topics(wanted)
        for name, code, message in answer.topic_errors:
            if code and for_code(code) is not TopicAlreadyExistsError:
                raise LayoutError(f"Kafka at {bootstrap} did not make the topic {name!r}: {message or for_code(code)}")
        await _visible(admin, names)
        layout = await _check(admin, names)
    if layout.partitions != partitions:
        raise LayoutError(
            f"the log {names.prefix!r} has {layout.partitions} partitions, not {partitions}: their number is fixed for "
            "a log's life; use it as it is, or export it and restore it under another prefix"
        )
    return layout


async def check_topics(bootstrap: str, topics: Topics | None = None) -> Layout:
    """The layout of the log's topics; LayoutError names every fault, BrokerUnavailableError says that Kafka is away."""
    async with _admin(bootstrap) as admin:
        return await _check(admin, topics or Topics())


@contextmanager
def broker_errors(bootstrap: str, doing: str) -> Iterator[None]:
    """What Kafka's client raises, said in our words: ``doing`` names what was tried."""
    try:
        yield
    except (KafkaError, TimeoutError) as error:
        said = str(error) or "no answer in time"
        raise BrokerUnavailableError(
            f"Kafka at {bootstrap}, {doing}: {said}. See that it runs and can be reached from "
            "here, then do the same again"
        ) from error


async def _visible(admin: Any, names: Topics) -> None:
    """Wait for the brokers to know of topics just made, which takes them a moment; whatever is missing then, is."""
    for _ in range(round(_VISIBLE_SECONDS / _POLL_SECONDS)):
        if len(await describe_topics(admin._client, names.all)) == len(names.all):
            return
        await asyncio.sleep(_POLL_SECONDS)


def _settings(names: Topics) -> dict[str, dict[str, str]]:
    kept_for_ever = {"retention.ms": _FOR_EVER, "retention.bytes": _FOR_EVER, "cleanup.policy": "delete"}
    return {
        names.inbox: {
            "message.timestamp.type": "LogAppendTime",
            "retention.ms": _milliseconds(INBOX_RETENTION),
            "max.message.bytes": str(MAX_RECORD_BYTES),
        },
        # Intake's stamp is the truth here, so the broker must not refuse it for being far from its own clock.
        names.interactions: kept_for_ever
        | {
            "message.timestamp.type": "CreateTime",
            "message.timestamp.before.max.ms": _NO_LIMIT,
            "message.timestamp.after.max.ms": _NO_LIMIT,
            "max.message.bytes": str(MAX_RECORD_BYTES),
        },
        # Room for the largest record and the headers that say why it is here.
        names.dead_letters: {
            "retention.ms": _milliseconds(DEAD_LETTER_RETENTION),
            "max.message.bytes": str(2 * MAX_RECORD_BYTES),
        },
        **{
            name: {"cleanup.policy": "compact", "max.message.bytes": str(MAX_RECORD_BYTES)}
            for name in (names.links, *names.folds)
        },
    }


def _milliseconds(span: timedelta) -> str:
    return str(span // timedelta(milliseconds=1))


async def _check(admin: Any, names: Topics) -> Layout:
    # Through the admin's own client, whose public methods do not tell a topic's id.
    found = await describe_topics(admin._client, names.all)
    faults = []
    if missing := [repr(name) for name in names.all if name not in found]:
        verb = "is" if len(missing) == 1 else "are"
        faults = [f"{', '.join(missing)} {verb} missing: run `engage topics create`"]
    settings = await _configured(admin, list(found)) if found else {}
    faults += _uneven(names, {name: facts.partitions for name, facts in found.items()})
    for name in found:
        faults += _faults(names, name, settings[name])
    if faults:
        raise LayoutError(f"the topics of the log {names.prefix!r} do not fit: " + "; ".join(faults))
    log = found[names.interactions]
    return Layout(log.partitions, log.id)


def _uneven(names: Topics, counts: dict[str, int]) -> list[str]:
    """Which topics have not as many partitions as the log, so that an account's records would not meet."""
    wanted = counts.get(names.interactions)
    if wanted is None:
        return []
    faults = []
    for name, count in counts.items():
        if count < wanted and name not in names.folds:
            mend = f"widen it with kafka-topics --alter --topic {name} --partitions {wanted}"
        elif name == names.inbox:
            mend = (
                f"stop those who publish, let intake take what is in it, then kafka-topics --delete --topic {name} and "
                "`engage topics create`"
            )
        else:
            mend = f"delete it with kafka-topics --delete --topic {name}, then run `engage topics create`"
        if count != wanted:
            faults.append(f"{name!r} has {count} partitions, but the log has {wanted}: {mend}")
    return faults


def _faults(names: Topics, name: str, settings: dict[str, str]) -> list[str]:
    """What is wrong with one topic's settings, each with its remedy."""
    wanted: dict[str, str] = {}
    if name == names.inbox:
        wanted = {"message.timestamp.type": "LogAppendTime"}
    elif name == names.interactions:
        wanted = {
            "retention.ms": _FOR_EVER,
            "retention.bytes": _FOR_EVER,
            "cleanup.policy": "delete",
            "message.timestamp.type": "CreateTime",
        }
    elif name == names.links or name in names.folds:
        wanted = {"cleanup.policy": "compact"}
    faults = [
        f"{name!r} has {key}={settings.get(key)}: set it with kafka-configs --alter --entity-type topics --entity-name "
        f"{name} --add-config {key}={value}"
        for key, value in wanted.items()
        if settings.get(key) != value
    ]
    if name in (names.inbox, names.dead_letters) and settings.get("retention.ms") == _FOR_EVER:
        faults.append(f"{name!r} is kept for ever, but may hold what an erased person wrote: bound its retention.ms")
    return faults


async def _configured(admin: Any, names: list[str]) -> dict[str, dict[str, str]]:
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    return {
        name: {key: value for key, value, *_ in entries}
        for answer in answers
        for _code, _message, _kind, name, entries in answer.resources
    }


@asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[Any]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    with broker_errors(bootstrap, "looking at its topics"):
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()
