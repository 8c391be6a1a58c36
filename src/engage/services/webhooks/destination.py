"""Where a webhook may go: not into this house's own network, whatever a name is said to stand for."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpcore

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_MAX_URL = 2_000
_LOOKUPS = 16

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class EndpointError(ValueError):
    """An endpoint that cannot be: what is wrong with which of its fields, and what to do."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class DestinationRefusedError(OSError):
    """Nothing is sent to such an address; it was not connected to."""


def check_url(url: str, *, private: bool) -> None:
    """EndpointError unless webhooks may be sent to this URL.

    It must be https; this machine's loopback, and where ``private`` is set anything, may be plain http.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise EndpointError(f"{url!r} is no URL: {error}", "url") from error
    if parts.scheme not in ("https", "http") or not host:
        raise EndpointError(f"{url!r} is no URL to send to: write https://host/path", "url")
    if parts.username or parts.password or parts.fragment:
        raise EndpointError(
            "the URL holds a user, a password or a fragment: leave them out, each message is signed", "url"
        )
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > _MAX_URL:
        raise EndpointError(f"the URL must be at most {_MAX_URL:,} ASCII characters: percent-encode others", "url")
    if parts.scheme == "http" and host not in _LOOPBACK_NAMES and not private:
        raise EndpointError(f"{url!r} is not encrypted: write https://", "url")
    literal = _address(host)
    if literal is not None and host not in _LOOPBACK_NAMES and not private and not is_public(literal):
        raise EndpointError(f"{host} is an address of a private network: {_REMEDY}", "url")


_REMEDY = "give a public one, or set ENGAGE_WEBHOOKS_PRIVATE=true where webhooks are meant to stay in the house"


def is_public(address: Address) -> bool:
    """Whether ``address`` is one of the Internet at large, also where an IPv4 address is wrapped in it."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


class Guarded(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were looked at, not to a name that may stand for another by then."""

    def __init__(self, *, private: bool) -> None:
        self._private = private
        self._inner = httpcore.AnyIOBackend()
        # Of its own: a name server that does not answer must not hold the threads in which databases are asked.
        self._lookups = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="webhook-lookup")

    def close(self) -> None:
        """Wait for no look-up any more."""
        self._lookups.shutdown(wait=False, cancel_futures=True)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore calls it so
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address of ``host`` that answers; DestinationRefusedError if one is not allowed."""
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in await self._addresses(host, port):
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(self, path: str, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise DestinationRefusedError(f"{path} is no place for webhooks")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            found = await asyncio.get_running_loop().run_in_executor(self._lookups, look_up)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be looked up: {error.strerror or error}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for text in addresses:
            address = _address(text.partition("%")[0])
            allowed = self._private or (address is not None and is_public(address))
            if not allowed and not (host in _LOOPBACK_NAMES and address is not None and address.is_loopback):
                raise DestinationRefusedError(f"{host} stands for {text}, an address of a private network: {_REMEDY}")
        return addresses


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
