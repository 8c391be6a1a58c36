"""Which shape a store's own tables have: an older one is migrated, what cannot be is refused with what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text, insert, select, update

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
    if found > version:
        raise SchemaVersionError(
            f"the {store} were written by a newer engage (schema {found}, this one knows {version}): update engage"
        )
    for step in range(found, version):
        if step not in migrations:
            raise SchemaVersionError(
                f"the {store} have schema {found}, this engage needs {version} and cannot migrate them: {remedy}"
            )
        migrations[step](connection)
    if found < version:
        connection.execute(update(_VERSIONS).where(_VERSIONS.c.store == store).values(version=version))
