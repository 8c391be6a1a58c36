"""engage: an event-sourced platform for keeping relationships with customers and partners.

For those who talk to it over HTTP: ``engage.Client``, ``engage.AsyncClient`` and ``engage.Outbox``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engage import compiled

if TYPE_CHECKING:
    from engage.client import AsyncClient as AsyncClient
    from engage.client import Client as Client
    from engage.client import ClientError as ClientError
    from engage.client import Outbox as Outbox

compiled.install()

_OF_CLIENTS = ("AsyncClient", "Client", "ClientError", "Outbox")


def __getattr__(name: str) -> Any:
    """What clients need, imported when it is asked for: the rest of engage does without."""
    if name not in _OF_CLIENTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from engage import client

    return getattr(client, name)
