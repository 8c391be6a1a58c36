"""``engage views``: rows of any read model, asked for as over HTTP."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engage.cli import completing
from engage.cli.output import NOT_FOUND, USAGE, CommandFailedError, JsonFlag, data, emit, moment, say, table

if TYPE_CHECKING:
    from engage.services.view_texts import TextFormat
    from engage.services.views import Views

_COLUMNS = 6


def views(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="The read model; all are listed without.", autocompletion=completing.read_models
        ),
    ] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONDITION",
            help="As band=slipping, score__lt=40, account__in=a,b.",
            autocompletion=completing.conditions,
        ),
    ] = None,
    sort: Annotated[str, typer.Option(metavar="COLUMNS", help="By these, with a minus for descending.")] = "",
    fields: Annotated[str, typer.Option(metavar="COLUMNS", help="Only these columns.")] = "",
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="So many rows; 100, or all of them as CSV or NDJSON.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="The whole table as CSV.")] = False,
    as_ndjson: Annotated[bool, typer.Option("--ndjson", help="The whole table, a JSON object a line.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show what read models there are, or the rows of one that conditions on its columns ask for."""
    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.services.view_query import QueryError
    from engage.services.views import UnknownViewError, Views

    if as_csv + as_ndjson + as_json > 1:
        raise CommandFailedError("--csv, --ndjson or --json, one of them", USAGE)
    settings = bootstrap.settings()
    must_exist(settings)
    asked = [_parted(one) for one in conditions or ()]
    said = (("sort", sort), ("fields", fields), ("limit", "" if limit is None else str(limit)))
    asked += [(option, value) for option, value in said if value]
    with bootstrap.reading_views(settings) as store:
        found = Views(store, bootstrap.read_models(settings))
        try:
            if name is None:
                _list(found, as_json=as_json)
            elif as_csv or as_ndjson:
                _write(found, name, asked, "csv" if as_csv else "ndjson")
            else:
                _show(found, name, asked, fields=fields, as_json=as_json)
        except UnknownViewError as error:
            words = str(error).replace("GET /v1/views", "engage views")
            raise CommandFailedError(words, NOT_FOUND) from error
        except QueryError as error:
            raise CommandFailedError(str(error), USAGE) from error


def _parted(condition: str) -> tuple[str, str]:
    column, equals, value = condition.partition("=")
    if not equals:
        raise CommandFailedError(f"{condition!r} is no condition: write COLUMN=VALUE, as band=slipping", USAGE)
    return column, value


def _list(found: Views, *, as_json: bool) -> None:
    every = found.listed()
    if as_json:
        emit({"views": every})
        return
    out = data()
    for line in table(("read model", "version", "key"), [(one.name, str(one.version), one.key) for one in every]):
        out.print(line, soft_wrap=True)


def _write(found: Views, name: str, asked: list[tuple[str, str]], form: TextFormat) -> None:
    from engage.services.view_texts import written

    with found.table(name, asked) as (fields, rows), suppress(BrokenPipeError):
        for piece in written(form, fields, rows):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def _show(found: Views, name: str, asked: list[tuple[str, str]], *, fields: str, as_json: bool) -> None:
    shape = found.shape(name)
    if not fields and not as_json:
        plain = [column.name for column in shape.columns.values() if column.type != "json"]
        asked = [*asked, ("fields", ",".join(plain[:_COLUMNS]))]
    page = found.page(name, asked)
    if as_json:
        emit(page)
        return
    if not page.rows:
        say(f"{name}: no such rows")
        return
    header = tuple(page.rows[0])
    right = [at for at, column in enumerate(header) if shape.columns[column].type in ("integer", "number", "decimal")]
    out = data()
    for line in table(header, [tuple(map(_cell, row.values())) for row in page.rows], right=right):
        out.print(line, soft_wrap=True)
    if page.next is not None:
        say("there are more: ask with --limit, or for all with --csv")


def _cell(value: Any) -> str:
    from datetime import datetime

    import msgspec

    if value is None:
        return ""
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, float):
        return f"{value:.2f}"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
