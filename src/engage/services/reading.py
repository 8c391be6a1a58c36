"""What people and programs ask of the read models, answered the same over HTTP and on the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal, get_args

from msgspec import Struct, structs

from engage.events.catalogue.follow_up import CLOSED, Status
from engage.events.catalogue.health import Band
from engage.events.catalogue.profile import AccountKind
from engage.relationships.follow_up import FollowUp as Kept
from engage.services.account_parts import PARTS, AccountParts, Row
from engage.store.asking import Answers
from engage.store.views import ViewStore
from engage.views.asking import Condition, Order, Question
from engage.views.health import Explanation
from engage.views.projection import ReadModel
from projections.shared.account_health import AccountHealth, account_health, explain, score_at, trend_at
from projections.shared.follow_ups import FollowUpRow, follow_ups, is_overdue, queue_order
from projections.shared.timeline import TimelineEntry, timeline

Which = Literal[Status, "closed"]
"""``open`` is whatever is not closed, ``closed`` the rest; the others are one status each."""

_STATUSES: tuple[Status, ...] = get_args(Status)


READ: tuple[ReadModel[Any], ...] = (account_health, follow_ups, timeline)
"""What the queue and the story are read from: who waits for an own write waits for all of these."""
WHOLE: tuple[ReadModel[Any], ...] = (*READ, *(part.model for part in PARTS))
"""What an account is read from."""


class Health(Struct, frozen=True):
    """An account's health at ``as_of``: ``score`` 0-100 or null (unknown), ``confidence`` 0-1.

    ``trend`` is the score minus that of 28 days before, in points, null when one of them is unknown. In its ``band`` it
    is since ``band_since``, null when that was not looked at yet; ``mover`` is the component that brought it there.
    ``components`` are the known ones, the weightiest first, each with the events that moved it most; of ``unknown``
    ones there is no data.
    """

    as_of: datetime
    score: float | None
    band: Band
    band_since: datetime | None
    mover: str | None
    trend: float | None
    confidence: float
    components: list[Explanation]
    unknown: list[str]


class FollowUp(FollowUpRow):
    """A follow-up as its row says, and whether its service level is missed by now."""

    overdue: bool = False


class Account(Struct, frozen=True):
    """All of one account: how it is doing and why, what is open with it in the order of the queue, what is known of it.

    ``rows`` are those of other read models, by name: a row or null where an account has one, else a list, the latest
    first. Models in ``not_yet`` are still being folded.
    """

    account: str
    kind: AccountKind | None
    health: Health
    follow_ups: list[FollowUp]
    rows: dict[str, Row | list[Row] | None]
    not_yet: list[str]


class TimelinePage(Struct, frozen=True):
    """Part of an account's story, newest first; ``next`` is where to read on (``before``), null at its beginning."""

    account: str
    entries: list[TimelineEntry]
    next: str | None


class Open(Struct, frozen=True):
    """How many follow-ups are not closed, and how many of those are past their service level."""

    open: int
    overdue: int


class Reading:
    """Answers from a view store. Every method is blocking; ViewMissingError where nothing was folded yet."""

    def __init__(self, store: ViewStore, clock: Callable[[], datetime]) -> None:
        self.store = store
        self._clock = clock
        self._answers = Answers(store)
        self._parts = AccountParts(store)

    def account(self, account: str) -> Account | None:
        """How ``account`` is doing now; None if the log has nothing of it."""
        row = self.store.get(account_health, account)
        if row is None and not self.store.select(timeline, {"account": account}, limit=1):
            return None
        row = row or AccountHealth(account)
        known, waiting = self._parts.of(account), self.follow_ups("open", account=account)
        return Account(account, row.kind, self._health(row), waiting, known.rows, known.not_yet)

    def timeline(
        self, account: str, *, limit: int, before: str | None = None, only: Sequence[Condition] = ()
    ) -> TimelinePage | None:
        """Up to ``limit`` entries, before the one named ``before`` ("partition:offset"); None for an unknown account.

        ``only`` such entries: conditions on the timeline's columns. ValueError if ``before`` names no entry.
        """
        where = (Condition("account", "eq", account), *only)
        order = (Order("partition", descending=True), Order("offset", descending=True))
        after = None if before is None else _place(before)
        asked = Question(TimelineEntry.__struct_fields__, where, order, after, limit + 1)
        found = [TimelineEntry(*values) for values, _ in self._answers.page(timeline, asked)]
        if not found and not self.store.select(timeline, {"account": account}, limit=1):
            return None
        entries = found[:limit]
        return TimelinePage(account, entries, entries[-1].entry if len(found) > limit else None)

    def follow_ups(
        self,
        which: Which = "open",
        *,
        account: str | None = None,
        rule: str | None = None,
        assignee: str | None = None,
        limit: int | None = None,
    ) -> list[FollowUp]:
        """Follow-ups: what is overdue first, then the more urgent, then the sooner due; closed ones latest first."""
        asked = {"account": account, "rule": rule, "assignee": assignee}
        where = {name: value for name, value in asked.items() if value is not None}
        moment = self._clock()
        closed = which == "closed" or which in CLOSED
        rows: list[FollowUpRow] = []
        for status in _statuses(which):
            # Closed ones pile up for ever, so the database sorts them; the queue is short and sorted here.
            order, most = ("closed_at", limit) if closed else (None, None)
            rows += self.store.select(
                follow_ups, {**where, "status": status}, order=order, descending=closed, limit=most
            )
        if closed:
            rows.sort(key=lambda row: row.closed_at or row.requested_at, reverse=True)
        else:
            rows.sort(key=lambda row: (not is_overdue(row, moment), *queue_order(row)))
        return [_seen(row, moment) for row in rows[:limit]]

    def count_open(self) -> Open:
        """How long the queue is now."""
        statuses = _statuses("open")
        late = ("due", self._clock())
        return Open(
            self.store.tally(follow_ups, "status", statuses),
            self.store.tally(follow_ups, "status", statuses, below=late),
        )

    def follow_up(self, follow_up: str, kept: Kept | None = None) -> FollowUp | None:
        """One follow-up, None if there is none with this id.

        ``kept`` is what the desk has of it: its row may not know yet what people did with it last.
        """
        row = self.store.get(follow_ups, follow_up)
        if row is None:
            return None
        return _seen(row if kept is None else _as_kept(row, kept), self._clock())

    def follow_up_ids(self, beginning: str, most: int = 5) -> list[str]:
        """The ids, up to ``most``, that begin so."""
        found = self.store.select(
            # "g" follows every letter of a hexadecimal number.
            follow_ups,
            below=("follow_up", beginning + "g"),
            order="follow_up",
            descending=True,
            limit=most,
        )
        return sorted(row.follow_up for row in found if row.follow_up.startswith(beginning))

    def _health(self, row: AccountHealth) -> Health:
        moment = max(self._clock(), row.as_of)
        now, trend = score_at(row, moment), trend_at(row, moment)
        looked_at = now.band == row.band and now.score is not None
        return Health(
            as_of=moment,
            score=None if now.score is None else round(now.score, 1),
            band=now.band,
            band_since=row.band_since if looked_at else None,
            mover=row.mover if looked_at else None,
            trend=None if trend is None else round(trend, 1),
            confidence=round(now.confidence, 2),
            components=[
                structs.replace(one, value=round(one.value, 1), weight=round(one.weight, 3))
                for one in explain(row, moment)
            ],
            unknown=sorted(name for name, value in now.components.items() if value is None),
        )


def _statuses(which: Which) -> list[Status]:
    if which in ("open", "closed"):
        return [status for status in _STATUSES if (status in CLOSED) == (which == "closed")]
    return [status for status in _STATUSES if status == which]


def _seen(row: FollowUpRow, moment: datetime) -> FollowUp:
    return FollowUp(**structs.asdict(row), overdue=is_overdue(row, moment))


def _as_kept(row: FollowUpRow, kept: Kept) -> FollowUpRow:
    as_kept = structs.replace(row, status=kept.status, assignee=kept.assignee, snoozed_until=kept.until)
    if kept.status in CLOSED and row.closed_at is None:
        as_kept.outcome = kept.outcome if kept.status == "completed" else None
        as_kept.reason = kept.outcome if kept.status == "dismissed" else None
        as_kept.closed_at, as_kept.breached = kept.modified_on, kept.status == "expired" or kept.modified_on > row.due
    return as_kept


def _place(entry: str) -> tuple[int, int]:
    partition, _, offset = entry.partition(":")
    if not (partition.isdecimal() and offset.isdecimal() and len(partition) < 7 and len(offset) < 16):
        raise ValueError(f"{entry!r} names no entry of a timeline: take the `next` of the page before")
    return int(partition), int(offset)
