"""Which shape a store's own tables have: an older one is migrated, what cannot be is refused with what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text, insert, inspect, select, update

Migration = Callable[[Connection], None]
"""Brings a store's tables from one version to the next, inside the caller's transaction."""

_VERSIONS = Table(
    "schema_versions",
    MetaData(),
    Column("store", Text, primary_key=True, comment="which of engage's stores"),
    Column("version", BigInteger, nullable=False, comment="of its own tables"),
    comment="The shape of engage's own tables in this database.",
)


class SchemaVersionError(RuntimeError):
    """The store's tables have a shape that this engage cannot work with; the message says what to do."""


def settle(
    connection: Connection,
    store: str,
    tables: MetaData,
    *,
    version: int,
    migrations: Mapping[int, Migration],
    remedy: str,
) -> None:
    """Create ``tables`` of ``store``, or bring them from an older version to ``version``.

    ``migrations[n]`` leads from version n to n + 1. SchemaVersionError, which ends in ``remedy``, if one is missing; a
    newer version than ours says to update engage.
    """
    _VERSIONS.create(connection, checkfirst=True)
    found = connection.scalar(select(_VERSIONS.c.version).where(_VERSIONS.c.store == store))
    if found is None:
        tables.create_all(connection)
        connection.execute(insert(_VERSIONS).values(store=store, version=version))
        return
    _refuse_newer(store, found, version)
    for step in range(found, version):
        if step not in migrations:
            raise _too_old(store, found, version, remedy)
        migrations[step](connection)
    if found < version:
        connection.execute(update(_VERSIONS).where(_VERSIONS.c.store == store).values(version=version))


def require(connection: Connection, store: str, *, version: int, remedy: str) -> None:
    """SchemaVersionError unless ``store`` has this version, or was not made yet; for who may not migrate it."""
    if not inspect(connection).has_table(_VERSIONS.name):
        return
    found = connection.scalar(select(_VERSIONS.c.version).where(_VERSIONS.c.store == store))
    if found is None:
        return
    _refuse_newer(store, found, version)
    if found < version:
        raise _too_old(store, found, version, remedy)


def _refuse_newer(store: str, found: int, version: int) -> None:
    if found > version:
        raise SchemaVersionError(
            f"the {store} were written by a newer engage (schema {found}, this one knows {version}): update engage"
        )


def _too_old(store: str, found: int, version: int, remedy: str) -> SchemaVersionError:
    return SchemaVersionError(
        f"the {store} have schema {found}, this engage needs {version} and cannot migrate them: {remedy}"
    )
