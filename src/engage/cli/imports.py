"""``engage import``: text files of other systems, by a mapping, into the log."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engage.cli.output import USAGE, CommandFailedError, JsonFlag, Rejects, say

if TYPE_CHECKING:
    from engage.cli.taking import Taken

app = typer.Typer(no_args_is_help=True, help="Bring text files of other systems in, as events.")

File = Annotated[str, typer.Argument(metavar="FILE|-", help="The file, plain or gzip; - is standard input.")]
History = Annotated[
    bool,
    typer.Option(
        "--history", help="As it was lived: sorted by time, and recorded at its time. For operators; stops other use."
    ),
]


@app.command("csv")
def csv(
    file: File,
    mapping: Annotated[
        Path, typer.Option("--map", metavar="FILE", help="The TOML file that says what the columns mean.")
    ],
    history: History = False,
    unknown_type: Annotated[
        bool, typer.Option("--allow-unknown-type", help="Also a type that engage does not know: kept and shown.")
    ] = False,
    rejects: Rejects = None,
    as_json: JsonFlag = False,
) -> None:
    """Import a table: each line becomes an event, as the mapping says."""
    _import(file, mapping, history, unknown_type, rejects, as_json)


@app.command("cdnow")
def cdnow(file: File, history: History = False, rejects: Rejects = None, as_json: JsonFlag = False) -> None:
    """Import CDNOW purchases (customer, day, CDs, dollars) as orders."""
    from engage.demo.purchases import data_folder

    _import(file, data_folder() / "mapping.toml", history, False, rejects, as_json)


def _import(
    file: str, mapping_path: Path, history: bool, unknown_type: bool, rejects: Path | None, as_json: bool
) -> None:
    from engage import bootstrap
    from engage.cli.door import open_door, publisher
    from engage.cli.log_lines import log_to_stderr
    from engage.cli.taking import check_rejects, opened_input, report, settle, take, take_all, write_rejects
    from engage.services.importer import in_time_order, read_table
    from engage.services.lines import LineFault, file_label
    from engage.services.mapping import MappingError, load_mapping
    from engage.services.mapping_check import check_mapping

    check_rejects(rejects, file)
    try:
        mapping = load_mapping(mapping_path)
        for warning in check_mapping(mapping, unknown_type=unknown_type):
            say(f"{mapping_path}: {warning}")
    except OSError as error:
        raise CommandFailedError(f"{mapping_path}: {error.strerror}: check the name", USAGE) from error
    except MappingError as error:
        named = str(error).startswith(str(mapping_path))
        raise CommandFailedError(str(error) if named else f"{mapping_path}: {error}", USAGE) from error
    settings = bootstrap.settings()
    if history and settings.kafka:
        raise CommandFailedError(
            "history is loaded as it was lived into the embedded log only: unset ENGAGE_LOG, or leave --history out",
            USAGE,
        )

    async def run() -> Taken:
        label = file_label(file)
        with opened_input(file) as opened:
            items = read_table(opened, mapping, label)
            if not history:
                async with open_door(settings) as door:
                    taken = await take(label, opened, items, publisher(door))
                    await settle(door, taken)
                    return taken
            log_to_stderr(settings)
            async with bootstrap.platform(settings) as platform:
                ordered = list(in_time_order(items))
                for item in ordered:
                    if isinstance(item, LineFault) and item.of_file:
                        # What was left out now could later only be recorded after what is taken now, not at its time.
                        raise CommandFailedError(f"{label}, {item}; for --history nothing was taken")
                taken = await take_all(label, ordered, lambda events: platform.publish(events, as_lived=True))
                await settle(platform, taken)
                return taken

    taken = asyncio.run(run())
    write_rejects(rejects, file, taken, header=mapping.text.header)
    report(taken, as_json)
