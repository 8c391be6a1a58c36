"""Serving HTTP from a command: a free port, who may listen where, and an end without loss."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from msgspec import structs

from engage import bootstrap
from engage.cli.output import USAGE, CommandFailedError, program
from engage.cli.running import on_signals
from engage.http.ending import Ending
from engage.http.protocol import Protocol
from engage.interpreter import answer
from engage.services.platform import Platform
from engage.settings import Settings

_PORTS = 20
_GRACE_SECONDS = 10


def check_host(settings: Settings) -> None:
    """CommandFailedError for a host that others can reach, unless they are asked who they are, here or before us."""
    if settings.behind_proxy or _is_loopback(settings.host) or bootstrap.knows_callers(settings):
        return
    raise CommandFailedError(
        f"{settings.host} is not this machine's loopback, and there is no API key: whoever reaches it could read and "
        f"change everything. Make a key first (`{program(settings)} api-keys create NAME --scope read`), or leave "
        "--host out; ENGAGE_BEHIND_PROXY=true says that something else guards the door",
        USAGE,
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int, *, asked: bool) -> socket.socket:
    """A listening socket on ``port``, or on the next free one unless it was asked for."""
    last = port if asked or port == 0 else min(port + _PORTS, 65_535)
    for candidate in range(port, last + 1):
        family, kind, protocol, _, address = socket.getaddrinfo(host, candidate, type=socket.SOCK_STREAM)[0]
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


async def serve(platform: Platform, settings: Settings, port: int | None, started: Callable[[str], None]) -> None:
    """Serve until the process is interrupted or told to end; ``started`` gets the URL once it can be asked.

    ``port`` is the one that was asked for, None for that of the settings or the next free one.
    """
    from engage.http.app import create_app  # 15 MB, which a demo that loads has no use for yet

    check_host(settings)
    hooks = bootstrap.hooks(settings)
    # That somebody empties the table of keys while it serves others must not open the door.
    platform.access.asks = platform.access.asks or not (settings.behind_proxy or _is_loopback(settings.host))
    with listen(settings.host, settings.port if port is None else port, asked=port is not None) as opened:
        host, bound = opened.getsockname()[:2]
        url = f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"
        app = create_app(
            platform,
            home=Path(settings.home_path),
            works=platform.embedded is not None,
            local_only=_is_loopback(settings.host) and not settings.behind_proxy,
            topics=bootstrap.topics(settings),
            hooks=hooks,
            links=bootstrap.links(structs.replace(settings, public_url=settings.public_url or url), platform.clock),
            origins=settings.origins,
            segment_links=settings.segment_links,
            access=settings.log_level in ("access", "debug"),
        )
        server = _Server(
            uvicorn.Config(
                app,
                http=Protocol,
                log_config=None,
                access_log=False,
                proxy_headers=settings.behind_proxy,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            ),
            lambda: _announce(platform, url, started),
            app.state.ending,
            platform.waiting.close,
            drain_seconds=settings.drain_seconds,
        )
        answer()
        with on_signals(server.end):
            await server.serve([opened])


class _Server(uvicorn.Server):
    """uvicorn, which says when it can be asked, and leaves signals to us: its own way is to raise them again."""

    def __init__(
        self,
        config: uvicorn.Config,
        started: Callable[[], None],
        ending: Ending,
        let_go: Callable[[], None],
        *,
        drain_seconds: float,
    ) -> None:
        super().__init__(config)
        self._started = started
        self._ending = ending
        self._let_go = let_go
        self._drain_seconds = drain_seconds

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave them alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started:
            self._started()

    def end(self) -> None:
        """Say that it ends, go on for as long as it takes to be heard, then finish what is being answered.

        When asked again, at once; whatever was answered `taken` is on the log by then as well.
        """
        if self._ending.announced:
            self.force_exit = self._ending.closed
            self._close()
            return
        self._ending.announced = True
        asyncio.get_running_loop().call_later(self._drain_seconds, self._close)

    def _close(self) -> None:
        self._ending.closed = self.should_exit = True
        self._let_go()  # what never ends by itself would be waited for


def _announce(platform: Platform, url: str, started: Callable[[str], None]) -> None:
    if platform.owner is not None:
        platform.owner.serving(url, platform.access.local_secret)
    started(url)
