"""Why a rule did, or did not, ask for a follow-up with an account: what it knows, what it waits for, what was said.

The account's records alone are folded, with the moments at which the partition's other records fired its wakes; the
decisions are those on the log.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, structs

from engage.events.catalogue.follow_up import FollowUpRequested
from engage.events.envelope import Event
from engage.log.contract import Log
from engage.log.partitioning import partition_of
from engage.rules import policy
from engage.rules.consent import Word
from engage.rules.decisions import TYPES as DECISIONS
from engage.rules.engine import Engine
from engage.rules.mending import PassedOver, consumer_of, is_word, opened, passed_by
from engage.rules.quiet_hours import quiet_until, zone_of
from engage.rules.rule import Rule
from engage.services.configuration import Configured
from engage.services.intake import tick
from engage.services.known_accounts import NoSuchAccountError
from engage.services.letters.letter import id_of
from engage.services.letters.source import Source, Stopped
from engage.services.log_search import Sieve, Wanted
from engage.services.prefix import PrefixLog, places_of
from engage.services.records import read_event
from engage.services.ruling.standing import state_of, title_of
from engage.store.views import ViewStore

_PAGE = 1_000
_LAST = 5


class Waits(Struct, frozen=True):
    """A wake that waits: about what, when it is due, and when it fires (later where a late event armed it)."""

    about: str
    due: datetime
    fires: datetime


class Said(Struct, frozen=True):
    """A decision on what the rule wanted: ``asked`` for, or not, and then for which ``reason``, in words ``detail``."""

    time: datetime
    asked: bool
    what: str
    about: str
    reason: str | None
    detail: str
    event_id: str
    cause: str


class StandsStill(Struct, frozen=True):
    """The rule failed on the account: the dead letter's ``id``, and the fault."""

    id: str
    fault: str


class RuleExplained(Struct, frozen=True):
    """A rule and an account, ``words`` for people.

    ``heard`` counts the account's events that the rule listens to, ``last_heard`` is when the newest of them happened.
    ``state`` is what it remembers, ``waits`` what it wants to be woken for, ``said`` the last decisions, newest first.
    """

    name: str
    title: str
    version: int
    on: bool
    words: str
    heard: int
    last_heard: datetime | None
    state: dict[str, Any]
    waits: list[Waits]
    said: list[Said]
    stands_still: StandsStill | None


class Consented(Struct, frozen=True):
    """What the account said of a channel and purpose (``*``: any), and when."""

    channel: str
    purpose: str
    yes: bool
    at: datetime


class OpenFollowUp(Struct, frozen=True):
    """A follow-up that is open on a subject matter."""

    matter: str
    follow_up: str
    expires: datetime


class PolicyExplained(Struct, frozen=True):
    """What the policy goes by: consent, what is open, how much room the cap leaves now, quiet hours, who is held out.

    ``quiet_until`` is null where it is not quiet now; ``put_off`` are the ids' causes that wait for that;
    ``held_out_of`` names the rules that leave the account alone to measure what they bring.
    """

    consent: list[Consented]
    open: list[OpenFollowUp]
    contacted: int
    cap: int
    cap_days: float
    time_zone: str
    quiet_until: datetime | None
    put_off: list[str]
    held_out_of: list[str]
    stands_still: StandsStill | None


class RulesExplained(Struct, frozen=True):
    """Every rule, or one of them, and an account as of the log's time ``as_of``."""

    account: str
    as_of: datetime
    rules: list[RuleExplained]
    policy: PolicyExplained


async def explain_rules(
    log: Log, store: ViewStore | None, house: Configured, source: Source, account: str, only: str | None = None
) -> RulesExplained:
    """How the rules, or the one called ``only``, stand to an account; NoSuchAccountError if the log has none of it."""
    partition = partition_of(account, log.partitions)
    end = await log.end(partition)
    events = [event async for event in _records(log, store, account, partition, end)]
    if not events:
        raise NoSuchAccountError(account)
    engine = Engine(partition, house.rules, house.policy)
    now = await _fold(engine, log, events, end)
    bases = await source.bases()
    stopped = {one.rule: one for one in await source.stopped(partition) if one.account == account}
    decisions = defaultdict[str, list[Event[Any]]](list)
    for event in events:
        if event.type in DECISIONS:
            decisions[event.data.rule].append(event)
    chosen = [rule for rule in house.rules if only is None or rule.name == only]
    return RulesExplained(
        account,
        now,
        [
            _explained(
                rule, account, engine, events, decisions[rule.name], state_of(rule, bases), stopped.get(rule.name)
            )
            for rule in sorted(chosen, key=lambda one: one.name)
        ],
        _policy(engine, house, account, now, stopped.get(policy.NAME)),
    )


async def _records(
    log: Log, store: ViewStore | None, account: str, partition: int, end: int
) -> AsyncIterator[Event[Any]]:
    """The account's events in order, decisions and operators' words typed."""
    places = None if store is None else await asyncio.to_thread(places_of, store, account, partition, end)
    ours = PrefixLog(log, {partition: end}, sieve=Sieve(Wanted(account=account)), places=places)
    position = 0
    while batch := await ours.read(partition, position, _PAGE):
        if not batch.records:
            return
        position = batch.next_position
        for record in batch.records:
            event = read_event(record)
            event.recorded = record.recorded
            if event.type not in DECISIONS:
                yield event
            elif (decision := opened(event)) is not None:
                yield decision


async def _fold(engine: Engine, log: Log, events: Sequence[Event[Any]], end: int) -> datetime:
    """Fold the account's events, each wake at the record at which it fired; the log's time at its end."""
    words = [word for event in events if is_word(event) and (word := opened(event)) is not None]
    engine.passed = PassedOver(passed for word in words if (passed := passed_by(word)) is not None)
    ours = (event for event in events if event.type in DECISIONS and not event.is_copy)
    known = sorted(ours, key=lambda one: one.data.decided_at)
    learnt = 0
    last = await log.read(engine.partition, max(0, end - 64), 64)
    now = max([events[-1].now, *(record.recorded for record in last.records)])

    def fold(event: Event[Any]) -> None:
        nonlocal learnt
        first = learnt
        while learnt < len(known) and known[learnt].data.decided_at <= event.offset:
            learnt += 1
        engine.fold(event, silent=True, known=known[first:learnt])

    async def wake(until: datetime, before: int) -> None:
        while (due := engine.cells.next_due()) is not None and due <= until:
            offset = await log.position_at(engine.partition, due)
            if offset >= before:
                return
            [record] = (await log.read(engine.partition, offset, 1)).records
            passed = tick(engine.partition, record.recorded)
            fold(structs.replace(passed, recorded=record.recorded, partition=engine.partition, offset=record.offset))

    for event in events:
        await wake(event.now, event.offset)
        fold(event)
    await wake(now, end)
    return now


def _explained(
    rule: Rule[Any, Any],
    account: str,
    engine: Engine,
    events: Sequence[Event[Any]],
    decisions: Sequence[Event[Any]],
    state: str,
    stopped: Stopped | None,
) -> RuleExplained:
    cell = engine.cells.get((rule.name, account))
    heard = [event for event in events if event.type in rule.handlers]
    waits = sorted((Waits(about, one.due, one.fires) for about, one in cell.wakes.items()), key=lambda one: one.fires)
    said = [_said(event) for event in reversed(decisions[-_LAST:])]
    last_heard = max((event.time for event in heard), default=None)
    explained = RuleExplained(
        name=rule.name,
        title=title_of(rule),
        version=rule.version,
        on=state == "on",
        words="",
        heard=len(heard),
        last_heard=last_heard,
        state=msgspec.to_builtins(cell.state, builtin_types=(datetime,)),
        waits=waits,
        said=said,
        stands_still=_stands_still(stopped),
    )
    return structs.replace(explained, words=_words(explained, rule, state))


def _said(event: Event[Any]) -> Said:
    data = event.data
    asked = isinstance(data, FollowUpRequested)
    return Said(
        time=event.time,
        asked=asked,
        what=data.what,
        about=data.about,
        reason=None if asked else data.reason,
        detail=data.why if asked else data.detail,
        event_id=event.id,
        cause=data.cause.id,
    )


def _words(one: RuleExplained, rule: Rule[Any, Any], state: str) -> str:
    parts = []
    if one.stands_still is not None:
        parts.append(
            f"It failed on this account and stands still ({one.stands_still.fault}): mend it, then `engage "
            f"dead-letters retry {one.stands_still.id}`."
        )
    if state != "on":
        words = {
            "off": "It is disabled.",
            "partly_off": "It is being disabled or enabled.",
            "not_yet": "It is not active yet.",
        }
        parts.append(words[state])
    if one.said:
        newest = one.said[0]
        day = f"{newest.time:%Y-%m-%d %H:%M}"
        if newest.asked:
            parts.append(f"It asked on {day} for: {newest.what}. {newest.detail}")
        else:
            parts.append(f"On {day} it wanted: {newest.what}, and did not get it ({newest.reason}): {newest.detail}.")
    elif one.heard:
        events = "one event" if one.heard == 1 else f"{one.heard:,} events, the last"
        parts.append(f"It has heard {events} of {one.last_heard:%Y-%m-%d}, and wanted nothing yet.")
    else:
        parts.append(f"It has heard of nothing: it listens to {', '.join(sorted(rule.handlers))}.")
    if one.waits:
        first = one.waits[0]
        more = f", and {len(one.waits) - 1} more" if len(one.waits) > 1 else ""
        parts.append(f"It looks again on {first.fires:%Y-%m-%d %H:%M} about {first.about or 'the account'}{more}.")
    return " ".join(parts)


def _policy(engine: Engine, house: Configured, account: str, now: datetime, stopped: Stopped | None) -> PolicyExplained:
    state, settings = engine.cells.get((policy.NAME, account)).state, house.policy
    name = state.zone.name if state.zone and zone_of(state.zone.name) else settings.time_zone
    zone = zone_of(name)
    quiet = quiet_until(settings.quiet_hours, zone, now) if settings.quiet_hours is not None and zone else None
    since = now - settings.cap_window
    return PolicyExplained(
        consent=[_consented(key, word) for key, word in sorted(state.consent.items())],
        open=[
            OpenFollowUp(matter, one.follow_up_id, one.expires)
            for matter, one in state.open.items()
            if one.expires > now
        ],
        contacted=sum(1 for contact in state.contacted if contact.at > since),
        cap=settings.cap,
        cap_days=settings.cap_window.total_seconds() / 86_400,
        time_zone=name,
        quiet_until=quiet,
        put_off=[one.about for one in state.deferred],
        held_out_of=[
            rule.name
            for rule in house.rules
            if settings.holdout and policy.is_held_out(rule.name, account, settings.holdout)
        ],
        stands_still=_stands_still(stopped),
    )


def _consented(key: str, word: Word) -> Consented:
    channel, _, purpose = key.partition("|")
    return Consented(channel, purpose, word.yes, word.at)


def _stands_still(stopped: Stopped | None) -> StandsStill | None:
    if stopped is None:
        return None
    parked, consumer = stopped.parked, consumer_of(stopped.rule)
    named = id_of(consumer, stopped.account, None, stopped.partition, parked.offset, parked.event_id)
    return StandsStill(named, parked.error)
