"""What waits to be sent by webhook, each account's in order, and what came of what was sent.

Only the first that is open of an endpoint's account has a ``next_at``; the one behind it gets one when it has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Update, delete, exists, func, insert, literal, select, update

from engage.store.columns import Moment
from engage.store.database import Database
from engage.store.webhook_tables import ENDPOINTS, OUTCOMES, QUEUE

State = Literal["waiting", "sending", "delivered", "withheld", "given_up"]
"""Open while ``waiting`` or ``sending``; ``withheld`` was not sent because it must not be any more."""
OPEN: tuple[State, ...] = ("waiting", "sending")
_CHUNK = 900  # accounts of one SELECT: SQLite before 3.32 takes 999 values


class Delivery(Struct, frozen=True):
    """One message for one endpoint; see the columns' comments."""

    number: int
    endpoint: str
    message: str
    account: str
    type: str
    partition: int
    offset: int
    value: bytes
    state: State
    attempts: int
    next_at: datetime | None
    queued_at: datetime
    tried_at: datetime | None
    ended_at: datetime | None
    answer: str | None


class Outcome(Struct, frozen=True):
    """An event that says what came of an attempt, on its way to the log; ``number`` is 0 until it is kept."""

    id: str
    subject: str
    type: str
    data: str
    time: datetime
    number: int = 0


_COLUMNS = [QUEUE.c[name] for name in Delivery.__struct_fields__]


class WebhookQueue:
    """The queue in ``database``, whose tables ``WebhookStore`` makes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
        """Queue these in their order; who stands behind an open one of its account waits for it."""
        waiting = _open(connection, rows)
        for row in rows:
            place = (row["endpoint"], row["account"])
            row["next_at"] = None if place in waiting else row["queued_at"]
            waiting.add(place)
        if rows:
            connection.execute(insert(QUEUE), rows)

    def due(self, now: datetime) -> list[str]:
        """The endpoints that are not disabled and for which something is to be sent by ``now``."""
        with self._database.read() as connection:
            ours = QUEUE.c.endpoint == ENDPOINTS.c.id, QUEUE.c.next_at <= now
            enabled = select(ENDPOINTS.c.id).where(ENDPOINTS.c.disabled.is_(None))
            return list(connection.scalars(enabled.where(exists().where(*ours))))

    def claim(self, endpoint: str, now: datetime, until: datetime, most: int) -> list[Delivery]:
        """Up to ``most`` that are to be sent now, one of each account, their attempts counted.

        They are this process's ``until`` then, when another may take them: it must have ended by that time.
        """
        with self._database.write() as connection:
            ours = QUEUE.c.endpoint == endpoint, QUEUE.c.next_at <= now
            first = select(*_COLUMNS).where(*ours).order_by(QUEUE.c.next_at, QUEUE.c.number).limit(most)
            found = [Delivery(*row) for row in connection.execute(first.with_for_update(skip_locked=True))]
            numbers = [one.number for one in found]
            taken = update(QUEUE).where(QUEUE.c.number.in_(numbers))
            connection.execute(
                taken.values(
                    state="sending",
                    attempts=QUEUE.c.attempts + 1,
                    next_at=until,
                    tried_at=func.coalesce(QUEUE.c.tried_at, literal(now, Moment())),
                )
            )
            again = select(*_COLUMNS).where(QUEUE.c.number.in_(numbers)).order_by(QUEUE.c.number)
            return [Delivery(*row) for row in connection.execute(again)]

    def later(self, one: Delivery, at: datetime, answer: str, outcome: Outcome | None = None) -> bool:
        """Send it again ``at`` then; False, and nothing is done, if another process has taken it over."""
        with self._database.write() as connection:
            waits = _still(one).values(state="waiting", next_at=at, answer=answer)
            if connection.execute(waits).rowcount != 1:
                return False
            _keep(connection, outcome)
            return True

    def not_yet(self, one: Delivery, at: datetime, why: str) -> None:
        """It was not attempted after all: look again ``at`` then."""
        with self._database.write() as connection:
            waits = _still(one).values(state="waiting", next_at=at, answer=why, attempts=one.attempts - 1)
            connection.execute(waits)

    def end(self, one: Delivery, state: State, now: datetime, answer: str, outcome: Outcome | None = None) -> bool:
        """It has ended, and the next of its account may follow; False if another process has taken it over."""
        with self._database.write() as connection:
            hold(connection, one.endpoint)
            done = _still(one).values(state=state, next_at=None, ended_at=now, answer=answer, value=b"")
            if connection.execute(done).rowcount != 1:
                return False
            behind = select(func.min(QUEUE.c.number)).where(
                QUEUE.c.endpoint == one.endpoint, QUEUE.c.account == one.account, QUEUE.c.state.in_(OPEN)
            )
            following = update(QUEUE).where(QUEUE.c.number == behind.scalar_subquery())
            connection.execute(following.values(next_at=now))
            _keep(connection, outcome)
            return True

    def hurry(self, connection: Connection, endpoint: str, now: datetime) -> None:
        """Send what waits for its next attempt at once, as if for the first time."""
        ours = update(QUEUE).where(QUEUE.c.endpoint == endpoint, QUEUE.c.state == "waiting")
        connection.execute(ours.where(QUEUE.c.next_at.is_not(None)).values(next_at=now, tried_at=None))

    def release(self, now: datetime) -> None:
        """Take up at once what a process that is known to be dead was sending."""
        with self._database.write() as connection:
            connection.execute(update(QUEUE).where(QUEUE.c.state == "sending").values(state="waiting", next_at=now))

    def of(self, endpoint: str, limit: int) -> list[Delivery]:
        """An endpoint's deliveries, the latest first."""
        with self._database.read() as connection:
            ours = select(*_COLUMNS).where(QUEUE.c.endpoint == endpoint).order_by(QUEUE.c.number.desc()).limit(limit)
            return [Delivery(*row) for row in connection.execute(ours)]

    def waiting(self) -> dict[str, int]:
        """How many wait, by endpoint."""
        with self._database.read() as connection:
            open_ones = select(QUEUE.c.endpoint, func.count()).where(QUEUE.c.state.in_(OPEN))
            return dict(connection.execute(open_ones.group_by(QUEUE.c.endpoint)).all())

    def clean(self, before: datetime) -> None:
        """Forget what had ended before then."""
        with self._database.write() as connection:
            connection.execute(delete(QUEUE).where(QUEUE.c.ended_at < before))

    def outcomes(self, limit: int) -> list[Outcome]:
        """The first ``limit`` outcomes that are not on the log yet, in order."""
        columns = [OUTCOMES.c[name] for name in Outcome.__struct_fields__]
        with self._database.read() as connection:
            found = connection.execute(select(*columns).order_by(OUTCOMES.c.number).limit(limit))
            return [Outcome(*row) for row in found]

    def told(self, numbers: Iterable[int]) -> None:
        """Let go of these outcomes: the log has them."""
        with self._database.write() as connection:
            connection.execute(delete(OUTCOMES).where(OUTCOMES.c.number.in_(list(numbers))))


def hold(connection: Connection, endpoint: str) -> None:
    """Let nobody else queue for this endpoint, or end what it is sent, until the transaction ends.

    Else what is queued in the moment in which the one before it ends would wait for it for ever.
    """
    connection.execute(select(ENDPOINTS.c.id).where(ENDPOINTS.c.id == endpoint).with_for_update())


def _open(connection: Connection, rows: Sequence[dict[str, Any]]) -> set[tuple[str, str]]:
    """The endpoints and accounts of these rows that have something open."""
    found: set[tuple[str, str]] = set()
    for endpoint in {row["endpoint"] for row in rows}:
        accounts = sorted({row["account"] for row in rows if row["endpoint"] == endpoint})
        for start in range(0, len(accounts), _CHUNK):
            theirs = QUEUE.c.endpoint == endpoint, QUEUE.c.account.in_(accounts[start : start + _CHUNK])
            opened = select(QUEUE.c.account).where(*theirs, QUEUE.c.state.in_(OPEN)).distinct()
            found.update((endpoint, account) for account in connection.scalars(opened))
    return found


def _still(one: Delivery) -> Update:
    """A change of a delivery that nobody has claimed since."""
    return update(QUEUE).where(
        QUEUE.c.number == one.number, QUEUE.c.attempts == one.attempts, QUEUE.c.state == "sending"
    )


def _keep(connection: Connection, outcome: Outcome | None) -> None:
    if outcome is not None:
        row = msgspec.structs.asdict(outcome)
        del row["number"]
        connection.execute(insert(OUTCOMES).values(row))
