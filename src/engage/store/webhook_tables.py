"""The tables behind outgoing webhooks: who is told what, how far each was told, what waits, and what came of it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text

from engage.store.columns import Moment

TABLES = MetaData()
_NUMBER = BigInteger().with_variant(Integer, "sqlite")
_IS_OPEN = text("state IN ('waiting', 'sending')")
_IS_NEXT = text("next_at IS NOT NULL")
ENDPOINTS = Table(
    "webhook_endpoints",
    TABLES,
    Column("id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("subscription", Text, nullable=False, comment="JSON: what it is told"),
    Column("secrets", LargeBinary, nullable=False, comment="JSON, sealed with a key derived from the master key"),
    Column("created", Moment, nullable=False),
    Column("disabled", Text, comment="why nothing is sent there; null: it is sent"),
    Column("failing_since", Moment, comment="the first failure after the last success; null: the last one succeeded"),
    Column("last_answer", Text, comment="what came of the last attempt"),
    comment="Who is told what by webhook.",
)
CURSORS = Table(
    "webhook_cursors",
    TABLES,
    Column("endpoint", Text, primary_key=True),
    Column("stream", Text, primary_key=True, comment="log, or view:NAME"),
    Column("partition", BigInteger, primary_key=True, autoincrement=False),
    Column("generation", Text, nullable=False, comment="of the log, or the epoch of the view"),
    Column("position", BigInteger, nullable=False, comment="the offset that is read next; the last change that was"),
    comment="How far each endpoint was told; moves in the transaction that queues what it is told.",
)
QUEUE = Table(
    "webhook_queue",
    TABLES,
    Column("number", _NUMBER, primary_key=True, comment="the order"),
    Column("endpoint", Text, nullable=False),
    Column("message", Text, nullable=False, comment="the webhook-id: the same however often it is sent"),
    Column("account", Text, nullable=False, comment="whose order is kept"),
    Column("type", Text, nullable=False),
    Column("partition", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False, comment="of the record; of a view, the number of the change"),
    Column("value", LargeBinary, nullable=False, comment="what it says, as on the log; empty once it has ended"),
    Column("state", Text, nullable=False),
    Column("attempts", BigInteger, nullable=False, comment="counted before each is made"),
    Column("next_at", Moment, comment="when to send it, or to look again if who sends it has died; null: not its turn"),
    Column("queued_at", Moment, nullable=False),
    Column("tried_at", Moment, comment="the first attempt"),
    Column("ended_at", Moment),
    Column("answer", Text, comment="what came of the last attempt"),
    Index("webhook_queue_open", "endpoint", "account", "number", sqlite_where=_IS_OPEN, postgresql_where=_IS_OPEN),
    Index("webhook_queue_next", "endpoint", "next_at", sqlite_where=_IS_NEXT, postgresql_where=_IS_NEXT),
    Index("webhook_queue_ended", "ended_at"),
    comment="What is told to whom by webhook, and what came of it.",
)
OUTCOMES = Table(
    "webhook_outcomes",
    TABLES,
    Column("number", _NUMBER, primary_key=True, comment="the order"),
    Column("id", Text, nullable=False, comment="of the event"),
    Column("subject", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", Text, nullable=False, comment="JSON"),
    Column("time", Moment, nullable=False),
    comment="What came of sent follow-ups, until it is on the log.",
)
