"""The read models' rows, each batch of them in one transaction with the position it leads to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from engage.merging import Merging
from engage.store import beginning, deletions, exchange, outbox, pauses, reader_roles, schema_version, standings
from engage.store import positions as ledger
from engage.store.beginning import Beginner, Source
from engage.store.database import CACHE_MIB, Database
from engage.store.families import Family, Slot, slotted
from engage.store.outbox import Announcement
from engage.store.pauses import Paused
from engage.store.positions import GenerationError, Move, Moved, Position, PositionMovedError
from engage.store.reader import Changed, Standing, ViewMissingError, ViewReader, ViewRebuildingError
from engage.store.row_copying import COPIED
from engage.store.row_writing import Part, Stamp
from engage.store.tables import ViewTable
from engage.store.view_news import news
from engage.views.passes import Folded
from engage.views.projection import ReadModel
from engage.views.walk import Announced

__all__ = [
    "NEVER",
    "Change",
    "Changed",
    "GenerationError",
    "PositionMovedError",
    "Standing",
    "UnstorableRowsError",
    "ViewMissingError",
    "ViewRebuildingError",
    "ViewStore",
]

NEVER = 1 << 62
"""An offset behind all that a log will ever have: for ``announce_from``."""
_AT_ONCE = 1_000
"""Rows that are encoded before they are sent, about: a whole batch of a long history would be tens of megabytes."""
_MERGED_PAGES, _PAGES_OF_TURN = 2_000, 90
"""Of SQLite's write-ahead log, of which a turn of all read models writes so many, and one more a record."""
_MOST_PAGES = 32_000
"""Of it as well, 128 MB: where somebody always reads, it is begun anew then."""
SCHEMA = 5


class UnstorableRowsError(ValueError):
    """The database refuses rows that a fold made: ``failures`` by (projection, key). Nothing was written."""

    def __init__(self, failures: Mapping[tuple[str, str], Exception]) -> None:
        self.failures = failures
        (projection, key), error = next(iter(failures.items()))
        super().__init__(f"view {projection!r} cannot hold the row {key!r} that its fold made: {error}")


class Change(Struct):
    """What one batch makes of one read model: from the position ``old`` to ``position``.

    ``slot`` is where; ``inbox`` is the inbox offset of the last event, None where there is none; ``released`` are rows
    and accounts, each with its scope, that do not stand still any more. ``counted`` is how many changes there were when
    the rows were read that were folded, None to write over whatever there is.
    """

    old: Position
    position: int
    folded: Folded
    slot: Slot = "live"
    inbox: int | None = None
    released: Sequence[tuple[str, str]] = ()
    counted: int | None = None
    fresh: Collection[str] = ()

    def parts(self, stamp: Stamp, *, apart: bool) -> list[tuple[Part, bool]]:
        """The rows to be written, and whether none of them is there by now; ``apart``: two parts where they are many.

        Of a few it makes no difference.
        """
        rows = [row for row in self.folded.rows.values() if row is not None]
        if not apart or self.counted is None or len(rows) < COPIED:
            return [(Part(rows, stamp, self.folded.due), False)] if rows else []
        if self.folded.model.append_only:  # an event that is folded for the first time makes a row that is not there
            return [(Part(rows, stamp, self.folded.due), True)]
        fresh = [row for key, row in self.folded.rows.items() if row is not None and key in self.fresh]
        others = [row for key, row in self.folded.rows.items() if row is not None and key not in self.fresh]
        return [(Part(some, stamp, self.folded.due), some is fresh) for some in (others, fresh) if some]


class ViewStore(ViewReader):
    """The database of read models at ``url``, ``sqlite:///FILE`` or ``postgresql://…``.

    ``read_only``: nothing in it is made or migrated, as far as it is SQLite; its file must be there. ``cache_mib`` as
    ``Database`` has it.
    """

    def __init__(self, url: str, *, read_only: bool = False, cache_mib: int = CACHE_MIB) -> None:
        super().__init__(Database(url, synchronous="normal", read_only=read_only, cache_mib=cache_mib))
        self._merging: Merging | None = None
        remedy = f"remove {self.database.name}, every view is folded again from the log at the next start"
        if read_only and self.database.sqlite:
            with self.database.read() as connection:
                schema_version.require(connection, "views", version=SCHEMA, remedy="start engage, it brings them up")
            return
        with self.database.set_up() as connection:
            schema_version.settle(
                connection,
                "views",
                ledger.TABLES,
                version=SCHEMA,
                migrations={1: beginning.drop_all, 2: pauses.add, 3: reader_roles.add, 4: standings.add},
                remedy=remedy,
            )

    def wrote(self, records: int) -> None:
        """So many records were folded here: SQLite's write-ahead log is merged beside, as far as it is time for it.

        For who folds small batches that somebody waits for: a commit that merges takes as long as ten others.
        """
        if not self.database.sqlite:
            return
        if self._merging is None:
            self._merging = Merging(Path(self.database.name), _MERGED_PAGES, _MOST_PAGES)
        self._merging.wrote(_PAGES_OF_TURN + records)

    def close(self) -> None:
        """Close every connection."""
        if self._merging is not None:
            self._merging.close()
        self.database.close()

    def prepare(
        self,
        projections: Sequence[ReadModel[Any]],
        generation: str,
        partitions: int,
        ends: Mapping[int, int] | None = None,
    ) -> list[str]:
        """Make the tables of these read models, at the start of all ``partitions`` of the log ``generation``.

        ``ends`` are the positions behind the last records as of now, None where ``set_ends`` says them later. A read
        model whose version or columns changed stays as it is, and is begun anew beside, its family with it; returns the
        names of those. GenerationError if a view is a fold of another log; ValueError for a name that a table of ours
        bears.
        """
        with self.database.change_tables() as connection:
            if ends is not None:  # whoever prepared them without may have gone before it knew
                ledger.set_ends(connection, ends)
            again = self._beginner(connection, Source(generation, partitions, ends)).prepare(projections)
            reader_roles.bring_up(connection)
            return again

    def build_beside(self, family: Family, generation: str, partitions: int) -> None:
        """Begin a family anew beside what is live, or find it as far as it was built before."""
        with self.database.change_tables() as connection:
            self._beginner(connection, Source(generation, partitions)).beside(family)

    def give_up_beside(self, family: Family) -> None:
        """Drop what was built beside."""
        with self.database.change_tables() as connection:
            for model in family:
                beginning.drop(connection, slotted(model.name, "next"))

    def swap(self, family: Family) -> int | None:
        """Let what was built beside become live, and keep what was; how many rows readers see change.

        None, and nothing is done, unless both stand at the same positions and neither is paused.
        """
        with self.database.change_tables() as connection:
            differing = exchange.swap(connection, family, self._table_of_build)
            if differing is not None:
                reader_roles.bring_up(connection)
            return differing

    def roll_back(self, family: Family) -> int:
        """Let what was live before the last swap be live again; how many rows readers see change.

        It reads on from where it stood. LookupError if nothing was kept.
        """
        with self.database.change_tables() as connection:
            differing = exchange.roll_back(connection, family, self._table_of_build)
            reader_roles.bring_up(connection)
            return differing

    def pause(self, family: Family, paused: Paused) -> Paused:
        """Let a family stand still, also what is built beside, until ``resume``; since when it does, and by whom.

        A batch that is under way is waited for; after that nothing of it is written, by whatever process.
        """
        names = [model.name for model in family]
        with self.database.change_tables() as connection:
            pauses.pause(connection, names, paused)
            return pauses.pauses(connection)[names[0]]

    def resume(self, family: Family) -> Paused | None:
        """Let a family go on; since when it had been paused, None if it was not."""
        names = [model.name for model in family]
        with self.database.change_tables() as connection:
            found = pauses.pauses(connection)
            pauses.resume(connection, names)
        return next((found[name] for name in names if name in found), None)

    def set_ends(self, ends: Mapping[int, int]) -> None:
        """Say where the log ended when read models came, of those that were prepared without knowing it."""
        with self.database.write() as connection:
            ledger.set_ends(connection, ends)

    def announce_from(self, offsets: Mapping[int, int], *, later: bool = True) -> None:
        """Let no read model announce what comes about before these offsets, by partition.

        ``later`` False only ever makes it sooner: for whoever finds a store that was left silent.
        """
        with self.database.write() as connection:
            ledger.announce_from(connection, offsets, later=later)

    def commit(self, changes: Sequence[Change]) -> dict[tuple[str, int], Moved]:
        """Write the rows and move the positions of all changes, or nothing; what came of each, by name and partition.

        PositionMovedError if somebody else moved a position meanwhile, or paused: what was folded is stale, drop it.
        GenerationError for views of another log. UnstorableRowsError names the rows that the database refuses.
        """
        moves = [
            Move(
                one.old,
                one.position,
                bool(one.folded.rows or one.released),
                one.inbox,
                one.counted,
                one.folded.silent_until if one.slot == "live" else 0,
            )
            for one in changes
        ]
        many = not self.database.sqlite and sum(len(one.folded.rows) for one in changes) >= COPIED
        # Where a copy is refused no row need be: one may be there after all, or the role may make no table on the way.
        for copies in (True, False) if many else (False,):
            try:
                return self._written(changes, moves, copies=copies)
            except (PositionMovedError, GenerationError, OperationalError, InterfaceError):
                raise
            except Exception as error:
                refused = error
        if failures := self._unstorable(changes):
            raise UnstorableRowsError(failures) from refused
        raise refused

    def silent_until(self, model: ReadModel[Any], partition: int) -> int | None:
        """See ``standings.silent_until``."""
        with self.database.read() as connection:
            return standings.silent_until(connection, model.name, partition)

    def tell_standing(
        self,
        model: ReadModel[Any],
        partition: int,
        position: int,
        say: Callable[[Iterable[Any]], list[Announced]],
    ) -> bool:
        """See ``standings.tell``."""
        with self.database.write() as connection:
            return standings.tell(connection, self.table(model), partition, position, say)

    def announcements(
        self, limit: int, partitions: Collection[int] | None = None, behind: int = 0
    ) -> list[Announcement]:
        """The first ``limit`` events that wait to be published behind so many others, of these partitions or all."""
        with self.database.read() as connection:
            return outbox.waiting(connection, limit, partitions, behind)

    def published(self, numbers: Sequence[int]) -> None:
        """Let go of the announcements of these numbers: the log has them."""
        with self.database.write() as connection:
            outbox.published(connection, numbers)

    def _written(
        self, changes: Sequence[Change], moves: Sequence[Move], *, copies: bool
    ) -> dict[tuple[str, int], Moved]:
        wrote = [one.old.projection for one in changes if one.folded.rows]
        asked = [ledger.holding(self.database, moves), pauses.PAUSED, deletions.noted(self.database, wrote)]
        with self.database.write() as connection:
            held, paused, found = self.database.ask(connection, asked)
            moved = ledger.allowed(held, moves, name=self.database.name)
            pauses.refuse(paused, [one.folded.model.name for one in changes])
            stamps = [
                Stamp(one.old.partition, one.position, moved[one.old.projection, one.old.partition].change)
                for one in changes
            ]
            of_table: dict[tuple[ViewTable, bool], list[Part]] = {}
            for change, stamp in zip(changes, stamps, strict=True):
                table = self.table(change.folded.model, change.slot)
                for part, fresh in change.parts(stamp, apart=copies and not self.database.sqlite):
                    of_table.setdefault((table, fresh), []).append(part)
            live = [move for move, change in zip(moves, changes, strict=True) if change.slot == "live"]
            statements, count = [ledger.steps(self.database, moves), *news(self.database, live)], 0
            # Of all partitions at once: statements are what small batches cost.
            for (table, fresh), parts in of_table.items():
                statements += table.writing(parts, fresh=fresh, copies=copies)
                count += sum(len(part.rows) for part in parts)
                if count > _AT_ONCE:
                    self.database.send(connection, statements)
                    statements, count = [], 0
            told = [
                (change.old.projection, one)
                for change in changes
                if change.slot == "live" and change.folded.announced
                if (first := moved[change.old.projection, change.old.partition].announces_from) is not None
                for one in change.folded.announced
                if one.offset >= first
            ]
            self.database.send(connection, [*statements, *outbox.putting(told, sqlite=self.database.sqlite)])
            noted = {name for (name,) in found}
            for change, stamp in zip(changes, stamps, strict=True):
                if change.old.projection in noted or _says_more(change):
                    self._write_beside(connection, change, stamp, change.old.projection in noted)
        return moved

    def _write_beside(self, connection: Connection, change: Change, stamp: Stamp, has_deletions: bool) -> None:
        """What follows from a change but for the rows that are there, and what it announces."""
        folded, partition = change.folded, change.old.partition
        table, name = self.table(folded.model, change.slot), change.old.projection
        gone = [key for key, row in folded.rows.items() if row is None]
        table.delete(connection, gone)
        ledger.release(connection, name, change.released)
        ledger.park(connection, name, folded.parked.values())
        ledger.count_skipped(connection, name, folded.skipped.items())
        table.never_wake(connection, [key for scope, key in folded.parked if scope == "row"])
        if change.slot != "live":
            return
        if not folded.model.append_only:
            if has_deletions:
                deletions.back(connection, name, list(folded.rows))
            deletions.deleted(connection, name, [(key, partition, stamp.change, stamp.position) for key in gone])

    def _unstorable(self, changes: Sequence[Change]) -> dict[tuple[str, str], Exception]:
        failures: dict[tuple[str, str], Exception] = {}
        with self.database.write() as connection:
            for change in changes:
                table = self.table(change.folded.model, change.slot)
                stamp = Stamp(change.old.partition, change.position, 0)
                for key, row in change.folded.rows.items():
                    try:
                        with connection.begin_nested():
                            if row is not None:
                                table.write(connection, [Part([row], stamp)])
                    except (OperationalError, InterfaceError):
                        raise
                    except Exception as error:
                        told = error.orig if isinstance(error, DBAPIError) else error
                        failures[change.folded.model.name, key] = told if isinstance(told, Exception) else error
            connection.rollback()  # this only tried
        return failures

    def _beginner(self, connection: Connection, source: Source) -> Beginner:
        return Beginner(connection, self._table_of_build, source, self.database.name)

    def _table_of_build(self, projection: ReadModel[Any], slot: Slot, build: int) -> ViewTable:
        if build == 1:
            return self.table(projection, slot)
        return ViewTable(projection, sqlite=self.database.sqlite, slot=slot, build=build)


def _says_more(change: Change) -> bool:
    """Whether there is more to write of it than rows that are there and announcements: of most there is not."""
    folded = change.folded
    gone = None in folded.rows.values()
    return bool(gone or folded.parked or folded.skipped or change.released)
