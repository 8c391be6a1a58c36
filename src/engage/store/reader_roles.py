"""Which roles of PostgreSQL may read the live views, and nothing else: for BI tools, which want SQL and no keys.

A privilege belongs to a table, and a swap puts another table in a view's place: so who may read is written down here,
and brought to the tables by whoever makes, swaps or puts them back, in the same transaction.
"""

from __future__ import annotations

import structlog
from sqlalchemy import Column, Connection, Table, Text, bindparam, delete, insert, select, text
from sqlalchemy.exc import ProgrammingError

from engage.store.database import Database
from engage.store.positions import MODELS, TABLES

READERS = Table(
    "view_readers",
    TABLES,
    Column("role", Text, primary_key=True),
    comment="The roles that may read the live views; `engage projections grant` and `revoke` write it.",
)

_TOO_MUCH = text(
    "SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')"
    " AND has_table_privilege(:role, c.oid,"
    " CASE WHEN c.relname IN :live THEN '' ELSE 'SELECT,' END || 'INSERT,UPDATE,DELETE,TRUNCATE')"
    " ORDER BY c.relname"
).bindparams(bindparam("live", expanding=True))
_MAY_ENTER = text(
    "SELECT has_database_privilege(:role, current_database(), 'CONNECT'),"
    " has_schema_privilege(:role, current_schema(), 'USAGE'), current_database(), current_schema()"
)

_log = structlog.get_logger()


class RoleError(ValueError):
    """The role cannot be one that reads the views alone: see the message."""


def add(connection: Connection) -> None:
    """Make the table in a store that knows no readers yet."""
    READERS.create(connection, checkfirst=True)


def grant(database: Database, role: str) -> list[str]:
    """Let ``role`` read the live views from now on, and what takes their place; their names.

    RoleError if there is none of that name, or it may do more here than that, or the views are in SQLite.
    """
    _must_have_roles(database)
    with database.change_tables() as connection:
        if not _known(connection, [role]):
            raise RoleError(f"PostgreSQL has no role {role!r}: CREATE ROLE … LOGIN PASSWORD … makes one")
        live = _live(connection)
        if found := list(connection.scalars(_TOO_MUCH, {"role": role, "live": live})):
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            raise RoleError(
                f"role {role!r} is no reader of views alone, it may do more with {', '.join(found[:3])}{more}: give "
                "the tool a role of its own, that owns nothing, is no superuser and has no other rights here"
            )
        _let_in(connection, role)
        if connection.scalar(select(READERS.c.role).where(READERS.c.role == role)) is None:
            connection.execute(insert(READERS).values(role=role))
        bring_up(connection)
        return live


def revoke(database: Database, role: str) -> bool:
    """Let ``role`` read no view any more; whether it could. RoleError if the views are in SQLite."""
    _must_have_roles(database)
    with database.change_tables() as connection:
        gone = connection.execute(delete(READERS).where(READERS.c.role == role)).rowcount > 0
        if gone and _known(connection, [role]):
            _say(connection, "REVOKE ALL ON {} FROM {}", list(connection.scalars(select(MODELS.c.projection))), role)
        return gone


def bring_up(connection: Connection) -> None:
    """See that every reader may read each live view, and none that is being built or was kept."""
    if connection.dialect.name == "sqlite":
        return
    roles = list(connection.scalars(select(READERS.c.role).order_by(READERS.c.role)))
    known = _known(connection, roles)
    live = _live(connection)
    others = [one for one in connection.scalars(select(MODELS.c.projection)) if one not in live]
    for role in roles:
        if role not in known:
            _log.warning("a role that may read the views is gone", role=role)
            continue
        _say(connection, "GRANT SELECT ON {} TO {}", live, role)
        _say(connection, "REVOKE ALL ON {} FROM {}", others, role)


def _must_have_roles(database: Database) -> None:
    if database.sqlite:
        raise RoleError(f"SQLite has no roles: who may read the file {database.name} may read the views in it")


def _let_in(connection: Connection, role: str) -> None:
    connect, usage, database, schema = connection.execute(_MAY_ENTER, {"role": role}).one()
    quoted = connection.dialect.identifier_preparer.quote
    wanted = {f"CONNECT ON DATABASE {quoted(database)}": connect, f"USAGE ON SCHEMA {quoted(schema)}": usage}
    for what, there in wanted.items():
        if not there:
            said = f"GRANT {what} TO {quoted(role)}"
            try:
                connection.execute(text(said))
            except ProgrammingError as error:
                raise RoleError(f"role {role!r} may not enter, have the database's owner say: {said}") from error


def _live(connection: Connection) -> list[str]:
    return sorted(one for one in connection.scalars(select(MODELS.c.projection)) if "__" not in one)


def _known(connection: Connection, roles: list[str]) -> set[str]:
    return set(connection.scalars(text("SELECT rolname FROM pg_roles WHERE rolname = ANY(:roles)"), {"roles": roles}))


def _say(connection: Connection, statement: str, tables: list[str], role: str) -> None:
    quoted = connection.dialect.identifier_preparer.quote
    if tables:
        connection.execute(text(statement.format(", ".join(map(quoted, tables)), quoted(role))))
