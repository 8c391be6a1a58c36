"""Whether what endpoints are told arrives: for whoever asks beside the process that sends, without a secret."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from urllib.parse import urlsplit

from msgspec import Struct
from sqlalchemy import func, inspect, select

from engage.store.database import Database
from engage.store.webhook_queue import OPEN
from engage.store.webhook_tables import ENDPOINTS, QUEUE


class WebhookStanding(Struct, frozen=True):
    """An endpoint at a glance: ``disabled`` says why nothing is sent there, ``waiting`` counts what is to be."""

    id: str
    host: str
    disabled: str | None
    failing_since: datetime | None
    waiting: int


def read_standings(url: str) -> list[WebhookStanding]:
    """The endpoints in the database at ``url``, the oldest first; it changes nothing there."""
    with closing(Database(url, synchronous="full", read_only=True)) as database:
        if not inspect(database.engine).has_table(ENDPOINTS.name):
            return []
        return standings(database)


def standings(database: Database) -> list[WebhookStanding]:
    """The endpoints in a database that holds them."""
    waiting = select(func.count()).where(QUEUE.c.endpoint == ENDPOINTS.c.id, QUEUE.c.state.in_(OPEN))
    columns = ENDPOINTS.c
    found = select(
        columns.id, columns.url, columns.disabled, columns.failing_since, waiting.scalar_subquery()
    ).order_by(ENDPOINTS.c.created, ENDPOINTS.c.id)
    with database.read() as connection:
        return [
            WebhookStanding(identity, urlsplit(url).netloc, disabled, failing, count)
            for identity, url, disabled, failing, count in connection.execute(found)
        ]
