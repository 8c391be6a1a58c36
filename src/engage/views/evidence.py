"""What an account's health is judged by: marks from 0 to 100 that events earn, which fade, and the few that count most.

A component's value is a decayed mean of marks, Σ w·m·d / (prior + Σ w·d) with the weight w, the mark m and the decay
d = 2^(−age/half-life) of each. With ``prior`` 0 it is the plain mean: silence leaves it alone until its evidence has
faded away and it is unknown again. With a ``prior`` above 0, evidence is held against that much weight of nothing
(Bühlmann's credibility with 0 as the collective mean), so the value falls in silence: what is measured is how much goes
on. Marks of 100 with the weight log(1 + amount) and a prior s make it 100·x/(x + s), x being the decayed sum.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from engage.events.catalogue.base import EventData
from engage.events.envelope import Event
from engage.views.decay import Decayed, half_life

KEPT_REASONS = 4
"""Events kept for each component: those that count most now, so old ones drop out as they fade."""
LEAST_EVIDENCE = 0.05
"""Below this decayed weight (1 is a fresh event) a component without a prior is unknown again: 4.3 half-lives."""
DAY = 86_400.0
REMEMBERED_DAYS = 53
"""Days of which is kept whether they were marked, the last one included: as many bits as a JSON number holds."""


class Component:
    """One side of an account's health: how its marks fade and how much it weighs in the score.

    ``asks`` is the question it answers, for a person. ``prior`` as in the module's formula. ``credible_after`` is the
    evidence at which it has half of its ``weight`` in the score (0: all of it at once). ``middle`` is the mark that is
    neither good nor bad: what lies above it raised the value, what lies below lowered it.
    """

    __slots__ = ("asks", "credible_after", "half_life", "middle", "name", "prior", "seconds", "weight")

    def __init__(
        self,
        name: str,
        asks: str,
        *,
        weight: float,
        half_life_days: float,
        prior: float = 0.0,
        credible_after: float = 2.0,
        middle: float = 50.0,
    ) -> None:
        self.name = name
        self.asks = asks
        self.weight = weight
        self.half_life = timedelta(days=half_life_days)
        self.seconds = half_life(self.half_life)
        self.prior = prior
        self.credible_after = credible_after
        self.middle = middle

    def faded_since(self, time: datetime, moment: float) -> float:
        """What is left at ``moment`` (seconds since 1970) of something that happened at ``time`` and counted 1 then."""
        return 2.0 ** ((time.timestamp() - moment) / self.seconds)  # type: ignore[no-any-return]


class Evidence(Decayed, array_like=True, gc=False):
    """A component's marks so far: ``total`` is Σ w·m·d, ``weight`` Σ w·d, ``count`` how many things were marked.

    ``last_day`` (days since 1970) is the last one of which a daily mark was counted, and bit n of ``days`` says whether
    one was n days before it.
    """

    count: int = 0
    last_day: int = 0
    days: int = 0


class Reason(Struct, omit_defaults=True):
    """An event that moved a component: ``contribution`` is by how many of its points, as of its last change.

    ``about`` names the thing it says something of, ``mark`` (0-100) what it says and ``weight`` how much that counts.
    While ``pending``, the thing is begun and nothing can be said of it yet.
    """

    event_id: str
    time: datetime
    type: str
    about: str
    mark: float
    weight: float = 1.0
    contribution: float = 0.0
    pending: bool = False


class Judged(Protocol):
    """A row that keeps evidence and reasons by component."""

    reasons: dict[str, list[Reason]]
    evidence: dict[str, Evidence]


Marking = Callable[[Any, Event[Any]], None]
D = TypeVar("D", bound=EventData)


class Markings(dict[type[EventData], Marking]):
    """How events count for a component or two, by their type: each a fold ``(row, event)`` that marks the row."""

    def on(self, *kinds: type[D]) -> Callable[[Callable[[Any, Event[D]], None]], Marking]:
        """Mark the row with the decorated function for each event of these types."""

        def register(marking: Callable[[Any, Event[D]], None]) -> Marking:
            for kind in kinds:
                if kind in self:
                    raise ValueError(f"two markings for {kind.__name__}: join them")
                self[kind] = marking
            return marking

        return register


def find(row: Judged, component: Component, about: str) -> Reason | None:
    """What is remembered of a thing; None when it never came up, or was of less weight than what is remembered."""
    for reason in row.reasons.get(component.name, ()):
        if reason.about == about:
            return reason
    return None


def count(row: Judged, component: Component, event: Event[Any], about: str, mark: float, weight: float = 1.0) -> None:
    """The event gives ``about`` a mark; a mark that is remembered of the same thing is replaced, not counted twice."""
    evidence, reasons = _of(row, component)
    known = find(row, component, about)
    if known is not None:
        reasons.remove(known)
        if not known.pending:
            evidence.add(known.mark, known.time.timestamp(), component.seconds, -known.weight)
            evidence.count -= 1
    evidence.add(mark, event.time.timestamp(), component.seconds, weight)
    evidence.count += 1
    reasons.append(Reason(event.id, event.time, event.type, about, mark, weight))
    _weigh(component, evidence, reasons)


def count_daily(row: Judged, component: Component, event: Event[Any], mark: float, weight: float) -> None:
    """The event gives its day (UTC) a mark, and only the first to come of the day does, in whatever order days come.

    A day ``REMEMBERED_DAYS`` or more before the last one earns nothing: nobody knows any more whether it was counted.
    """
    evidence, _ = _of(row, component)
    day = int(event.time.timestamp() // DAY)
    if day > evidence.last_day:
        evidence.days = (evidence.days << (day - evidence.last_day)) & ((1 << REMEMBERED_DAYS) - 1)
        evidence.last_day = day
    before = evidence.last_day - day
    if before < REMEMBERED_DAYS and not evidence.days >> before & 1:
        evidence.days |= 1 << before
        count(row, component, event, f"day {day}", mark, weight)


def count_quietly(row: Judged, component: Component, event: Event[Any], mark: float, weight: float) -> None:
    """Background against which marks are held: it makes nothing known that nobody has marked yet."""
    evidence, _ = _of(row, component)
    evidence.add(mark, event.time.timestamp(), component.seconds, weight)


def expect(row: Judged, component: Component, event: Event[Any], about: str) -> None:
    """Something has begun that will earn its mark later; nothing changes if it is remembered already."""
    if find(row, component, about) is None:
        evidence, reasons = _of(row, component)
        reasons.append(Reason(event.id, event.time, event.type, about, 0.0, pending=True))
        _weigh(component, evidence, reasons)


def settle(row: Judged, component: Component, prefix: str, mark: float, weight: float) -> None:
    """Nothing became of what is pending and whose name starts with ``prefix``: it gets this mark, at its own time."""
    evidence, reasons = _of(row, component)
    for reason in reasons:
        if reason.pending and reason.about.startswith(prefix):
            evidence.add(mark, reason.time.timestamp(), component.seconds, weight)
            evidence.count += 1
            reason.mark, reason.weight, reason.pending = mark, weight, False
            _weigh(component, evidence, reasons)


def reweigh(row: Judged, component: Component, about: str, weight: float) -> None:
    """A thing that was marked counts ``weight`` after all, at its own time; nothing is done when it is forgotten."""
    known = find(row, component, about)
    if known is not None and not known.pending:
        evidence, reasons = _of(row, component)
        evidence.add(known.mark, known.time.timestamp(), component.seconds, weight - known.weight)
        known.weight = weight
        _weigh(component, evidence, reasons)


def raise_mark(
    row: Judged, component: Component, event: Event[Any], about: str, mark: float, weight: float = 1.0
) -> None:
    """A thing went further than before; an event that arrives late and says less than is known changes nothing."""
    known = find(row, component, about)
    if known is None or known.pending or known.mark < mark:
        count(row, component, event, about, mark, weight)


def is_known(component: Component, evidence: Evidence, weight: float) -> bool:
    """Whether enough is left, given the decayed ``weight`` of the moment, to say anything of the component."""
    return evidence.count > 0 and (component.prior > 0 or weight >= LEAST_EVIDENCE)


def contributions(component: Component, evidence: Evidence, reasons: list[Reason], moment: float) -> list[float]:
    """By how many points each reason moves the component's value at ``moment`` (seconds since 1970)."""
    whole = component.prior + evidence.weight_at(moment, component.seconds)
    if whole <= 0:
        return [0.0] * len(reasons)
    return [
        0.0
        if reason.pending
        else reason.weight * (reason.mark - component.middle) * component.faded_since(reason.time, moment) / whole
        for reason in reasons
    ]


def _of(row: Judged, component: Component) -> tuple[Evidence, list[Reason]]:
    name = component.name
    evidence = row.evidence.get(name)
    if evidence is None:
        evidence = row.evidence[name] = Evidence()
        row.reasons[name] = []
    return evidence, row.reasons[name]


def _weigh(component: Component, evidence: Evidence, reasons: list[Reason]) -> None:
    """Say anew what each reason contributes, and forget the least of them when there are too many."""
    moment = max(evidence.as_of, reasons[-1].time.timestamp())
    whole = component.prior + evidence.weight_at(moment, component.seconds)
    middle, seconds = component.middle, component.seconds
    for reason in reasons:  # as ``contributions`` has it, without a call for each
        points = 0.0
        if not reason.pending and whole > 0:
            faded = 2.0 ** ((reason.time.timestamp() - moment) / seconds)
            points = reason.weight * (reason.mark - middle) * faded / whole
        reason.contribution = round(points, 2)
    if len(reasons) > KEPT_REASONS:
        reasons.remove(min(reasons, key=lambda reason: _standing(component, reason, moment)))


def _standing(component: Component, reason: Reason, moment: float) -> float:
    """How much there is to remember of it: something pending as much as the strongest mark, for it may become one."""
    force = 50.0 if reason.pending else reason.weight * abs(reason.mark - component.middle)
    return force * component.faded_since(reason.time, moment)
