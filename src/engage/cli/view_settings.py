"""``engage projections pause``, ``resume``, ``grant`` and ``revoke``: what is set in the database of the read models.

That needs nobody's folder: whoever projects looks there at each turn, and a swap when it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from engage.cli.output import Actor, JsonFlag, emit, who
from engage.cli.read_models import Name, named

if TYPE_CHECKING:
    from engage.store.views import ViewStore
    from engage.views.projection import ReadModel

T = TypeVar("T")
Role = Annotated[str, typer.Argument(metavar="ROLE", help="A role of PostgreSQL, which must be there.")]


def pause(name: Name, actor: Actor = None, as_json: JsonFlag = False) -> None:
    """Let one stand still, its family with it, in every process and across restarts; readers read it as it stands."""
    from engage.services import pausing
    from engage.services.platform import utc_now

    by = who(actor)
    done = _in_views(by, "pause", name, lambda store: pausing.pause(store, *_among(name), by=by, at=utc_now()))
    if as_json:
        emit({"names": done.names, "paused": done.paused, "changed": done.changed})
    else:
        typer.echo(f"{', '.join(done.names)}: {'' if done.changed else 'already '}{done.paused}")


def resume(name: Name, actor: Actor = None, as_json: JsonFlag = False) -> None:
    """Let one that is paused go on from where it stands, its family with it."""
    from engage.services import pausing

    done = _in_views(who(actor), "resume", name, lambda store: pausing.resume(store, *_among(name)))
    if as_json:
        emit({"names": done.names, "changed": done.changed})
    else:
        typer.echo(f"{', '.join(done.names)}: {f'goes on, was {done.paused}' if done.changed else 'was not paused'}")


def grant(role: Role, actor: Actor = None, as_json: JsonFlag = False) -> None:
    """Let a role of PostgreSQL read the live views with SQL, also those that take their place, and nothing else."""
    from engage.store import reader_roles

    views = _in_views(who(actor), "grant", role, lambda store: reader_roles.grant(store.database, role))
    if as_json:
        emit({"role": role, "views": views})
    else:
        typer.echo(f"{role} may read {len(views)} views, and what takes their place")


def revoke(role: Role, actor: Actor = None, as_json: JsonFlag = False) -> None:
    """Let a role of PostgreSQL read the views no more."""
    from engage.store import reader_roles

    changed = _in_views(who(actor), "revoke", role, lambda store: reader_roles.revoke(store.database, role))
    if as_json:
        emit({"role": role, "changed": changed})
    else:
        typer.echo(f"{role} {'may read no view any more' if changed else 'was granted none'}")


def _in_views(actor: str, verb: str, thing: str, do: Callable[[ViewStore], T]) -> T:
    from engage import bootstrap
    from engage.cli.door import must_exist

    settings = bootstrap.settings()
    must_exist(settings)
    with (
        bootstrap.trail(settings) as trail,
        closing(bootstrap.view_store(settings)) as store,
        trail.of(actor, f"projections {verb}", thing),
    ):
        return do(store)


def _among(name: str) -> tuple[tuple[ReadModel[Any], ...], ReadModel[Any]]:
    from engage import bootstrap

    settings = bootstrap.settings()
    return bootstrap.read_models(settings), named(settings, name)
