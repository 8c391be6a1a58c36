"""``engage up``: the platform in one process, served over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from engage.cli.output import emit, program, say

GOODBYE = "ended; nothing that was acknowledged is lost"
Host = Annotated[
    str | None, typer.Option("--host", metavar="ADDRESS", envvar="ENGAGE_HOST", help="The address to listen on.")
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        metavar="PORT",
        envvar="ENGAGE_PORT",
        min=0,
        max=65_535,
        help="The port; else 8080 or the next one that is free.",
    ),
]


def up(
    host: Host = None,
    port: Port = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output once it serves: its url.")
    ] = False,
) -> None:
    """Run engage: take events in, decide, keep the read models, and serve HTTP until Ctrl-C."""
    import uvloop
    from msgspec import structs

    from engage import bootstrap
    from engage.cli import folding
    from engage.cli.listening import check_host, check_port
    from engage.cli.log_lines import log_to_stderr
    from engage.cli.serving import serve
    from engage.scheduling import AT_ONCE, run_for

    settings = bootstrap.settings()
    if host is not None:
        settings = structs.replace(settings, host=host)
    check_host(settings)
    check_port(settings, port)
    log_to_stderr(settings)
    run_for(AT_ONCE)

    def started(url: str) -> None:
        if as_json:
            emit({"url": url, "home": str(settings.home_path)})
        say(f"engage serves at {url} (Ctrl-C ends it)")
        say(f"  {url}/v1/follow-ups     what is to be done")
        say(f"  {url}/v1/status         how far everything has come")
        say(f"  {url}/docs              all there is to ask")
        if settings.kafka:
            say("rules, desk and read models are kept going by `engage worker streams|projections|desk`")
        else:
            say(f"data in {settings.home_path}; other commands go through this process:")
            say(f"  {program(settings)} publish FILE")

    async def run() -> None:
        async with bootstrap.platform(settings, folding=folding.command(settings)) as platform:
            await serve(platform, settings, port, started)

    with bootstrap.traces("http"):
        uvloop.run(run())
    say(GOODBYE)
