"""``engage links``: make the links that go into mails, and read what one says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from engage.cli.output import USAGE, CommandFailedError, JsonFlag, emit

if TYPE_CHECKING:
    from engage.services.links import Link

app = typer.Typer(no_args_is_help=True, help="Signed links for mails: unsubscribe, surveys, pixel, redirect.")
make = typer.Typer(no_args_is_help=True, help="Make one.")
app.add_typer(make, name="make")

Account = Annotated[str, typer.Option("--account", metavar="ID", help="Whose it is.")]
Days = Annotated[int | None, typer.Option("--days", metavar="N", help="For how many days it holds.")]
ListId = Annotated[str | None, typer.Option("--list", metavar="ID", help="The list it belongs to.")]
Issue = Annotated[str, typer.Option("--newsletter", metavar="ID", help="The issue it stands in.")]
Campaign = Annotated[str | None, typer.Option("--campaign", metavar="ID", help="The campaign of the issue.")]


@make.command()
def unsubscribe(
    account: Account,
    list_id: ListId = None,
    newsletter: Annotated[str | None, typer.Option("--newsletter", metavar="ID", help="The issue.")] = None,
    days: Days = None,
    as_json: JsonFlag = False,
) -> None:
    """To a page that ends a newsletter, all of them without --list; --json has the headers for one click too."""
    from engage.services.links import Unsubscribe

    _make(Unsubscribe(account=account, days=days, list_id=list_id, newsletter_id=newsletter), as_json)


@make.command()
def withdraw(
    account: Account,
    channel: Annotated[str, typer.Option("--channel", metavar="NAME", help="email, sms …; * is every one.")],
    purpose: Annotated[str, typer.Option("--purpose", metavar="NAME", help="marketing, research, service …")],
    days: Days = None,
    as_json: JsonFlag = False,
) -> None:
    """To a page that withdraws consent to a channel for a purpose."""
    from typing import get_args

    from engage.events.catalogue.follow_up import Purpose
    from engage.services.links import Withdraw

    known: dict[str, Purpose] = {name: name for name in get_args(Purpose)}
    if purpose not in known:
        raise CommandFailedError(f"--purpose {purpose!r} is none: choose of {', '.join(known)}", USAGE)
    _make(Withdraw(account=account, days=days, channel=channel, purpose=known[purpose]), as_json)


@make.command()
def survey(
    account: Account,
    survey_id: Annotated[str, typer.Option("--survey", metavar="ID", help="The survey.")],
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="nps (0-10) or csat (1-5).")],
    order: Annotated[str | None, typer.Option("--order", metavar="ID", help="The order it asks about.")] = None,
    ticket: Annotated[str | None, typer.Option("--ticket", metavar="ID", help="The ticket it asks about.")] = None,
    score: Annotated[int | None, typer.Option("--score", metavar="N", help="What is chosen there already.")] = None,
    days: Days = None,
    as_json: JsonFlag = False,
) -> None:
    """To a page that asks one question."""
    from engage.events.catalogue.surveys import SCALES
    from engage.services.links import Survey

    if kind not in SCALES:
        raise CommandFailedError(f"--kind {kind!r} is none: choose {' or '.join(SCALES)}", USAGE)
    link = Survey(
        account=account,
        days=days,
        survey_id=survey_id,
        survey=kind,
        order_id=order,
        ticket_id=ticket,
        score=score,
    )
    _make(link, as_json)


@make.command()
def pixel(
    account: Account,
    newsletter: Issue,
    list_id: ListId = None,
    campaign: Campaign = None,
    days: Days = None,
    as_json: JsonFlag = False,
) -> None:
    """An image that is not seen: whoever loads it has opened the issue."""
    from engage.services.links import Opened

    _make(Opened(account=account, days=days, newsletter_id=newsletter, list_id=list_id, campaign=campaign), as_json)


@make.command()
def click(
    account: Account,
    newsletter: Issue,
    to: Annotated[str, typer.Option("--to", metavar="URL", help="Where it leads on to.")],
    label: Annotated[str | None, typer.Option("--label", metavar="TEXT", help="What the log says of it.")] = None,
    topic: Annotated[str | None, typer.Option("--topic", metavar="TEXT", help="What it is about.")] = None,
    list_id: ListId = None,
    campaign: Campaign = None,
    days: Days = None,
    as_json: JsonFlag = False,
) -> None:
    """A redirect that is counted."""
    from engage.services.links import Clicked

    link = Clicked(
        account=account,
        days=days,
        newsletter_id=newsletter,
        to=to,
        label=label,
        topic=topic,
        list_id=list_id,
        campaign=campaign,
    )
    _make(link, as_json)


@app.command()
def read(
    link: Annotated[str, typer.Argument(metavar="LINK", help="A link, or what stands behind /l/ in it.")],
    as_json: JsonFlag = False,
) -> None:
    """Show what a link says, and whether it still holds."""
    import msgspec

    from engage import bootstrap
    from engage.services.links import BadLinkError

    try:
        found = bootstrap.links(bootstrap.settings()).read(link.rpartition("/")[2])
    except BadLinkError as error:
        raise CommandFailedError(f"{error}: copy it whole; only the ENGAGE_HOME it was made in knows it") from error
    said = {name: value for name, value in msgspec.to_builtins(found.link).items() if value is not None}
    if as_json:
        emit({"link": said, "holds": found.holds})
        return
    for name, value in said.items():
        typer.echo(f"{name}: {value}")
    typer.echo("it holds" if found.holds else "it has expired")


def _make(link: Link, as_json: bool) -> None:
    from engage import bootstrap
    from engage.services.link_events import checked
    from engage.services.links import LinkError, Unsubscribe, Withdraw
    from engage.services.platform import utc_now

    links = bootstrap.links(bootstrap.settings())
    try:
        url = links.url(checked(link, utc_now()))
    except LinkError as error:
        raise CommandFailedError(f"this link cannot be made: {error}", USAGE) from error
    if as_json:
        headers = links.headers(link) if isinstance(link, Unsubscribe | Withdraw) else None
        emit({"url": url} if headers is None else {"url": url, "headers": headers})
    else:
        typer.echo(url)
