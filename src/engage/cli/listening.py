"""Where a command that serves listens: a free port, and who may be let in from where."""

from __future__ import annotations

import errno
import ipaddress
import socket

from engage import bootstrap
from engage.cli.output import USAGE, CommandFailedError, program
from engage.settings import Settings

_PORTS = 20


def check_host(settings: Settings) -> None:
    """CommandFailedError for a host that others can reach, unless they are asked who they are, here or before us."""
    if settings.behind_proxy or is_loopback(settings.host) or bootstrap.knows_callers(settings):
        return
    raise CommandFailedError(
        f"{settings.host} is not this machine's loopback, and there is no API key: whoever reaches it could read and "
        f"change everything. Make a key first (`{program(settings)} api-keys create NAME --scope read`), or leave "
        "--host out; ENGAGE_BEHIND_PROXY=true says that something else guards the door",
        USAGE,
    )


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches a service that listens on ``host``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int, *, asked: bool) -> socket.socket:
    """A listening socket on ``port``, or on the next free one unless it was asked for. CommandFailedError for none."""
    last = port if asked or port == 0 else min(port + _PORTS, 65_535)
    for candidate in range(port, last + 1):
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, candidate, type=socket.SOCK_STREAM)[0]
        except (OSError, UnicodeError) as error:
            raise CommandFailedError(
                f"no host {host!r} is known ({error}): choose another with --host", USAGE
            ) from error
        opened = socket.socket(family, kind, protocol)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind(address)
            opened.listen(128)
        except OSError as error:
            opened.close()
            if error.errno == errno.EADDRINUSE:
                continue
            said = f"cannot listen on {host}:{candidate}: {error.strerror}; choose another with --port"
            raise CommandFailedError(said) from error
        return opened
    tried = f"port {port} is" if last == port else f"the ports {port} to {last} are"
    raise CommandFailedError(f"{tried} taken on {host}: choose a free one with --port")


def check_port(settings: Settings, port: int | None) -> None:
    """CommandFailedError if the port that was asked for is taken: said before anything is made or loaded."""
    if port:
        listen(settings.host, port, asked=True).close()
