"""What is no fold of the log, put back from the rows of an export; each of these may be done again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import msgspec
from eventsourcing.persistence import IntegrityError, StoredEvent
from sqlalchemy import delete, insert, select, update

from engage.events.envelope import is_account
from engage.log.partitioning import partition_of
from engage.relationships.application import Relationships
from engage.relationships.recorder import Answered
from engage.services.moving.exporting import ANSWERED, EVENTS
from engage.services.moving.house import ACCESS, KEYS, WEBHOOKS
from engage.services.moving.manifest import ExportedView, Manifest
from engage.services.moving.placing import Placing
from engage.store import audit, key_tables, webhook_tables
from engage.store import positions as ledger
from engage.store.database import Database
from engage.store.keys import MasterKeyError, load_master_key, probe_of
from engage.store.outbox import ANNOUNCEMENTS
from engage.store.pauses import PAUSES
from engage.store.schema_version import SchemaVersionError
from engage.store.table_rows import any_row, put
from engage.store.webhooks import LOG
from engage.views.projection import ReadModel

if TYPE_CHECKING:
    from engage.relationships.aggregate import AccountEvent
    from engage.services.moving.restoring import Site

Lines = Callable[[str], Iterator[bytes]]
"""Gives the rows of one of the export's tables by its name."""
_AT_ONCE = 1_000
_ELSEWHERE = "moved"
"""The generation of a cursor that must find its place anew: no log and no view has it."""


def occupied(site: Site) -> str | None:
    """What a house holds already, in words; None if it is empty."""
    held = [f"partition {one} of the log ends at {end}" for one, end in site.appending.ends.items() if end]
    if held:
        return f"the log is not empty ({held[0]})"
    if site.relationships.store.max_notification_id():
        return "there are follow-ups already"
    kept = (
        (site.keys.database, (key_tables.KEYS,)),
        (site.access.database, ACCESS.tables),
        (site.webhooks.database, WEBHOOKS.tables),
        (site.views.database, (ledger.POSITIONS,)),
    )
    for database, tables in kept:
        if name := any_row(database, tables):
            return f"the table {name} in {database.name} is not empty"
    return None


def prove_schemas(manifest: Manifest) -> None:
    """SchemaVersionError if a store's tables in the export have another shape than here: rows would be read wrong."""
    for kept in (KEYS, ACCESS, WEBHOOKS):
        found = manifest.schemas.get(kept.name, kept.schema)
        if found != kept.schema:
            raise SchemaVersionError(
                f"the {kept.name} in the export have schema {found}, this engage {kept.schema}: restore with engage "
                f"{manifest.engage}, which wrote it; a newer one brings the restored house up to date when it starts"
            )


def keys(database: Database, told: Lines) -> None:
    """The accounts' keys, and what tells by which master keys; the log is then asked from its start who was erased."""
    with database.write() as connection:
        for table in key_tables.CARRIED:
            put(connection, table, told(f"{KEYS.name}.{table.name}"))
        connection.execute(delete(key_tables.ERASURES))


def prove_master_key(told: Lines, path: Path) -> None:
    """MasterKeyError unless the file at ``path`` holds every master key by which the export's keys are wrapped."""
    rows = [msgspec.json.decode(line, type=_Probe) for line in told(f"{KEYS.name}.{key_tables.MASTERS.name}")]
    if not rows:
        return
    bring = f"bring the file of the old house: scp OLD:engage-data/master.key {path}"
    if not path.exists():
        raise MasterKeyError(f"{path} is missing, by which the keys in this export are wrapped: {bring}")
    masters = load_master_key(path)
    for row in rows:
        master = masters.of(row.generation)
        if master is None or probe_of(master) != row.probe:
            raise MasterKeyError(f"{path} is not the master key by which the keys in this export are wrapped: {bring}")


def relationships(app: Relationships, told: Lines) -> int:
    """What was not relayed, behind what came back from the log, and what commands were answered; how many events."""
    done = 0
    for batch in _batches(told(EVENTS)):
        events = [msgspec.json.decode(line, type=_Stored) for line in batch]
        known = app.store.versions({one.id for one in events})
        missing = [one for one in events if one.version > known.get(one.id, 0)]
        if missing:
            stored = [StoredEvent(one.id, one.version, one.topic, bytes(one.state)) for one in missing]
            app.record_unrelayed([_domain(app, one) for one in stored])
            done += len(missing)
    for line in told(ANSWERED):
        with suppress(IntegrityError):  # it is there
            app.record((), answered=msgspec.json.decode(line, type=Answered))
    return done


def access(database: Database, told: Lines, on_log: set[str]) -> None:
    """API keys and the audit trail; what the log does not have of it will be told to it."""

    def known(row: dict[str, Any]) -> dict[str, Any]:
        return row | {"told": row["id"] in on_log}

    with database.write() as connection:
        for table in ACCESS.tables:
            put(connection, table, told(f"{ACCESS.name}.{table.name}"), known if table is audit.AUDIT else None)


def webhooks(database: Database, told: Lines, manifest: Manifest, placing: Placing, generation: str) -> None:
    """Endpoints and what waits for them, and their cursors where they stand now: none misses an event of the log.

    What they hear of read models goes on with what changes from here on, as for every read model that is made anew.
    """

    def moved(row: dict[str, Any]) -> dict[str, Any]:
        source, offset = row["partition"], placing.offset(row["partition"], row["offset"])
        if row["type"].startswith("view.") or offset is None or source >= len(manifest.cuts):
            return row
        return row | {"partition": partition_of(row["account"], placing.targets), "offset": offset}

    with database.write() as connection:
        for table in WEBHOOKS.tables:
            rows = told(f"{WEBHOOKS.name}.{table.name}")
            if table is not webhook_tables.CURSORS:
                put(connection, table, rows, moved if table is webhook_tables.QUEUE else None)
        connection.execute(delete(webhook_tables.CURSORS))
        if found := list(_moved_cursors(told, manifest, placing, generation)):
            connection.execute(insert(webhook_tables.CURSORS), found)


def cursors(told: Lines, manifest: Manifest) -> list[tuple[int, int]]:
    """The places in the log at which webhooks stand: partition and position."""
    return [(one.partition, one.position) for one in _cursors(told) if one.is_of(manifest)]


def views(
    database: Database, told: Lines, manifest: Manifest, placing: Placing, models: Sequence[ReadModel[Any]]
) -> None:
    """From where on read models speak, what they have told of how their rows stand, and what they have yet to tell.

    One whose version is another one here begins to speak where the log ends, as any that is new.
    """
    versions = {model.name: model.version for model in models}
    with database.write() as connection:
        for view in manifest.views:
            if versions.get(view.name) == view.version and view.positions:
                for target in range(placing.targets):
                    here = ledger.POSITIONS.c.projection == view.name, ledger.POSITIONS.c.partition == target
                    spoken = placing.position(_speaks_from(view), target, max)
                    connection.execute(update(ledger.POSITIONS).where(*here).values(announces_from=spoken))
                    if set(placing.fed_by(target)) <= set(view.stood):
                        stands = ledger.STANDINGS.c.projection == view.name, ledger.STANDINGS.c.partition == target
                        if connection.scalar(select(ledger.STANDINGS.c.partition).where(*stands)) is None:
                            values = {"projection": view.name, "partition": target}
                            connection.execute(insert(ledger.STANDINGS).values(values))

        def moved(row: dict[str, Any]) -> dict[str, Any]:
            offset = placing.offset(row["partition"], row["offset"])
            target = partition_of(row["subject"], placing.targets) if is_account(row["subject"]) else 0
            return row | {"partition": target, "offset": offset or 0}

        put(connection, ANNOUNCEMENTS, told(f"views.{ANNOUNCEMENTS.name}"), moved)


def pauses(database: Database, told: Lines) -> None:
    """Which read models stand still."""
    with database.write() as connection:
        put(connection, PAUSES, told(f"views.{PAUSES.name}"))


class _Probe(msgspec.Struct):
    generation: int
    probe: bytes


class _Stored(msgspec.Struct):
    id: UUID
    version: int
    topic: str
    state: msgspec.Raw


class _CursorRow(msgspec.Struct):
    endpoint: str
    stream: str
    partition: int
    generation: str
    position: int

    def is_of(self, manifest: Manifest) -> bool:
        """Whether it is a place in the log that was exported."""
        return self.stream == LOG and self.generation == manifest.generation and self.partition < manifest.partitions


def _cursors(told: Lines) -> Iterator[_CursorRow]:
    for line in told(f"{WEBHOOKS.name}.{webhook_tables.CURSORS.name}"):
        yield msgspec.json.decode(line, type=_CursorRow)


def _moved_cursors(told: Lines, manifest: Manifest, placing: Placing, generation: str) -> Iterator[dict[str, Any]]:
    streams: dict[tuple[str, str], dict[int, int]] = {}
    for one in _cursors(told):
        stands = streams.setdefault((one.endpoint, one.stream), {})
        if one.is_of(manifest):
            stands[one.partition] = one.position
    for (endpoint, stream), stands in streams.items():
        for target in range(placing.targets):
            known = stream == LOG and bool(stands)
            yield {
                "endpoint": endpoint,
                "stream": stream,
                "partition": target,
                "generation": generation if known else _ELSEWHERE,
                "position": placing.position(stands, target) if known else 0,
            }


def _speaks_from(view: ExportedView) -> dict[int, int]:
    """Behind what it has folded, unless it was silent until later."""
    return {one: max(position, view.announces.get(one, 0)) for one, position in view.positions.items()}


def _domain(app: Relationships, stored: StoredEvent) -> AccountEvent:
    return cast("AccountEvent", app.mapper.to_domain_event(stored))


def _batches(told: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for line in told:
        batch.append(line)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
