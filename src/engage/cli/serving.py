"""Serving HTTP from a command, with an end without loss."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from msgspec import structs

from engage import bootstrap
from engage.cli.listening import check_host, is_loopback, listen
from engage.cli.running import on_signals
from engage.http.ending import Ending
from engage.http.protocol import Protocol
from engage.interpreter import answer
from engage.services.platform import Platform
from engage.settings import Settings

_GRACE_SECONDS = 10


async def serve(platform: Platform, settings: Settings, port: int | None, started: Callable[[str], None]) -> None:
    """Serve until the process is interrupted or told to end; ``started`` gets the URL once it can be asked.

    ``port`` is the one that was asked for, None for that of the settings or the next free one.
    """
    from engage.http.app import create_app  # 15 MB, which a demo that loads has no use for yet

    check_host(settings)
    hooks = bootstrap.hooks(settings)
    # That somebody empties the table of keys while it serves others must not open the door.
    platform.access.asks = platform.access.asks or not (settings.behind_proxy or is_loopback(settings.host))
    with listen(settings.host, settings.port if port is None else port, asked=port is not None) as opened:
        host, bound = opened.getsockname()[:2]
        url = f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"
        app = create_app(
            platform,
            home=Path(settings.home_path),
            works=platform.embedded is not None,
            local_only=is_loopback(settings.host) and not settings.behind_proxy,
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
