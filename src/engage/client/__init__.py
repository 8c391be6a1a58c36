"""The client of engage's HTTP service: ask it (``Client``, ``AsyncClient``), and publish through a spool (``Outbox``).

Every event has an id, so whatever fails may be sent again: what was taken already is not taken twice.
"""

from engage.client.asking import AsyncClient, Client
from engage.client.calls import BATCH_BYTES, BATCH_EVENTS, ClientError
from engage.client.outbox import Outbox
from engage.client.spool import Spool, SpoolError, SpoolFullError

__all__ = [
    "BATCH_BYTES",
    "BATCH_EVENTS",
    "AsyncClient",
    "Client",
    "ClientError",
    "Outbox",
    "Spool",
    "SpoolError",
    "SpoolFullError",
]
