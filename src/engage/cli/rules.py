"""``engage rules``: how the rules stand, why one asks or does not, and how one is let rest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from engage.cli import completing
from engage.cli.output import (
    FAILED,
    NOT_FOUND,
    Actor,
    CommandFailedError,
    JsonFlag,
    data,
    emit,
    moment,
    show_below,
    table,
    who,
)

if TYPE_CHECKING:
    from engage.services.ruling.explaining import PolicyExplained, RulesExplained
    from engage.services.ruling.standing import RuleStanding
    from engage.services.ruling.switching import Switched

app = typer.Typer(no_args_is_help=True, help="The follow-up rules: how they stand, why they ask or not, on and off.")

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A rule's name, from `engage rules list`.", autocompletion=completing.rules),
]


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """Each rule: version, on or off, how often it asked or was not let, and how many accounts stand still for it."""
    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.services.ruling.standing import read_rules

    settings = bootstrap.settings()
    must_exist(settings)
    house = bootstrap.rules(settings)

    async def run() -> list[RuleStanding]:
        async with bootstrap.dead_letters(settings) as letters:
            return await read_rules(house.rules, letters.source, letters.store)

    found = asyncio.run(run())
    if as_json:
        emit({"rules": found})
        return
    rows = [
        (
            one.name,
            str(one.version),
            one.state.replace("_", " "),
            "" if one.asked is None else f"{one.asked:,}",
            "" if one.skipped is None else f"{sum(one.skipped.values()):,}",
            f"{one.parked:,}",
        )
        for one in found
    ]
    out = data()
    for line in table(("rule", "version", "", "asked", "skipped", "parked"), rows, right=(1, 3, 4, 5)):
        out.print(line, soft_wrap=True)


@app.command()
def disable(
    name: Name,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why; kept on the log, so it names nobody.")
    ] = None,
    actor: Actor = None,
    as_json: JsonFlag = False,
) -> None:
    """Let a rule rest, in every process and across restarts: nothing wakes it, and it asks for nothing."""
    _switch(name, False, actor, reason, as_json)


@app.command()
def enable(name: Name, actor: Actor = None, as_json: JsonFlag = False) -> None:
    """Let a rule come back: it takes in silence what came while it rested, and asks from here on."""
    _switch(name, True, actor, None, as_json)


@app.command()
def explain(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="An account's id.")],
    rule: Annotated[
        str | None,
        typer.Option("--rule", metavar="NAME", help="Only this rule.", autocompletion=completing.rules),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Why rules did, or did not, ask for a follow-up: what they know, what they wait for, what the policy said."""
    from engage import bootstrap
    from engage.cli.door import must_exist
    from engage.services.known_accounts import NoSuchAccountError
    from engage.services.ruling.explaining import explain_rules
    from engage.services.ruling.standing import NoSuchRuleError, named

    settings = bootstrap.settings()
    must_exist(settings)
    house = bootstrap.rules(settings)

    async def run() -> RulesExplained:
        if rule is not None:
            named(house.rules, rule)
        async with bootstrap.dead_letters(settings) as letters:
            return await explain_rules(letters.log, letters.store, house, letters.source, account, rule)

    try:
        found = asyncio.run(run())
    except (NoSuchRuleError, NoSuchAccountError) as error:
        raise CommandFailedError(str(error), NOT_FOUND) from error
    if as_json:
        emit(found)
    else:
        _show(found, everything=rule is not None)


def _show(found: RulesExplained, *, everything: bool) -> None:
    out = data()
    told = [one for one in found.rules if everything or one.heard or one.said or one.waits or one.stands_still]
    for one in told:
        out.print(f"{one.name}: {one.title}", style="bold", soft_wrap=True)
        out.print(f"  {one.words}", soft_wrap=True)
        for said in one.said[1:]:
            verdict = "asked for" if said.asked else f"not asked for ({said.reason})"
            out.print(f"  before, {moment(said.time)}: {said.what}, {verdict}", soft_wrap=True)
    if quiet := len(found.rules) - len(told):
        out.print(f"others, which have heard of nothing that they listen to: {quiet}", soft_wrap=True)
    out.print("policy", style="bold")
    for line in _policy(found.policy):
        out.print(f"  {line}", soft_wrap=True)


def _policy(policy: PolicyExplained) -> list[str]:
    if policy.stands_still is not None:
        yes = f"it stands still ({policy.stands_still.fault}), and nobody contacts the account"
        return [f"{yes}: engage dead-letters show {policy.stands_still.id}"]
    lines = [
        f"contacted {policy.contacted} times in the last {policy.cap_days:g} days, of {policy.cap} that may be",
        f"its clock is that of {policy.time_zone}"
        + (f", where it is quiet until {moment(policy.quiet_until)} UTC" if policy.quiet_until else ""),
    ]
    lines += [
        f"{'yes' if one.yes else 'no'} to {one.purpose} by {one.channel.replace('*', 'any channel')}, {moment(one.at)}"
        for one in policy.consent
    ]
    lines += [f"open until {moment(one.expires)}: {one.matter} ({one.follow_up[:8]})" for one in policy.open]
    if policy.put_off:
        lines.append(f"put off until quiet hours end: {', '.join(policy.put_off)}")
    if policy.held_out_of:
        lines.append(f"left alone, to compare, by {', '.join(policy.held_out_of)}")
    return lines


def _switch(name: str, on: bool, actor: str | None, reason: str | None, as_json: bool) -> None:
    import msgspec

    from engage import bootstrap
    from engage.cli.door import must_exist, open_door
    from engage.client import Client
    from engage.services.ruling.standing import NoSuchRuleError, named
    from engage.services.ruling.switching import Switched, switch

    settings = bootstrap.settings()
    must_exist(settings)
    verb = "enable" if on else "disable"
    try:
        rule = named(bootstrap.rules(settings).rules, name)
    except NoSuchRuleError as error:
        raise CommandFailedError(str(error), NOT_FOUND) from error

    async def run() -> Switched:
        async with open_door(settings, actor) as door:
            if isinstance(door, Client):
                said = {"reason": reason} if reason else None
                return msgspec.convert(door.ask("POST", f"/v1/rules/{name}/{verb}", said), Switched)
            by = who(actor)
            with door.trail.of(by, f"rules {verb}", name):
                return await switch(
                    rule,
                    on,
                    source=door.letters.source,
                    partitions=door.log.partitions,
                    tell=door.command,
                    actor=by,
                    time=door.clock(),
                    reason=reason,
                )

    done = asyncio.run(run())
    if as_json:
        emit(done)
    else:
        out = data()
        out.print(f"{name} is {'' if done.changed else 'already '}{done.state.replace('_', ' ')}", soft_wrap=True)
        if on and done.state == "on" and done.changed:
            show_below(out, "it took in silence what came meanwhile, and asks from here on")
    if done.state != ("on" if on else "off"):
        raise CommandFailedError(
            "the word is on its way, and not every partition's rules have come to it: see that they run", FAILED
        )
