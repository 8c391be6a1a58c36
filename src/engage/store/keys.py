"""The accounts' keys, wrapped by the master key, durable before anything is sealed with them.

AES key wrap (RFC 3394) by ``cryptography``. Not a fold of the log: back this store up together with the log.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeVar

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from sqlalchemy import Connection, func, inspect, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from engage.events.sealing import AccountKey, new_secret
from engage.store import schema_version
from engage.store.database import Database, Statement
from engage.store.key_tables import ERASURES, KEYS, MASTERS, TABLES
from engage.store.master_key import MasterKey, MasterKeyError, MasterKeyFile, load_master_key

__all__ = ["KeyStore", "MasterKey", "MasterKeyError", "MasterKeyFile", "load_master_key"]

SCHEMA = 2
_CHUNK = 900  # accounts of one SELECT: SQLite before 3.32 takes 999 values
_PROBE = bytes(32)
# As the driver takes it, which saves a fifth of a look-up; ascending, so that a dictionary holds the newest generation.
_HELD = "SELECT account, generation, wrapped, master FROM account_keys WHERE {} ORDER BY generation"
_WRAPPING = "SELECT max(generation) FROM master_keys"
_NEW = "INSERT INTO account_keys (account, generation, master, wrapped) VALUES (?, ?, ?, ?)"
_AT_HAND = 64
"""Keys that are read on an event loop at most: some tens of microseconds, and 5 for each to be unwrapped."""
Keys = TypeVar("Keys")
Newest = dict[str, tuple[int, Any, int]]
"""Of each account's newest key its generation, itself as it is kept (None: forgotten), and that of its master key."""


def count_forgotten(url: str) -> int:
    """How many keys in the database at ``url`` are gone; it needs no master key and changes nothing there."""
    with closing(Database(url, synchronous="full", read_only=True)) as database:
        if not inspect(database.engine).has_table(KEYS.name):
            return 0
        with database.read() as connection:
            gone = select(func.count()).select_from(KEYS).where(KEYS.c.wrapped.is_(None))
            return int(connection.scalar(gone) or 0)


class KeyStore:
    """Keys of accounts in the database at ``url``, ``sqlite:///FILE`` or ``postgresql://…``, wrapped by ``masters``.

    MasterKeyError if the keys there were wrapped by another master key. Safe for several processes, also while the
    master key is rotated (``engage.store.rewrapping``).
    """

    def __init__(self, url: str, masters: MasterKeyFile) -> None:
        self.database = Database(url, synchronous="full")
        self._insert = sqlite_insert if self.database.sqlite else postgresql_insert
        self.masters = masters
        with self.database.set_up() as connection:
            schema_version.settle(
                connection,
                "keys",
                TABLES,
                version=SCHEMA,
                migrations={1: ERASURES.create},
                remedy="open them with the engage that wrote them; without the keys what is sealed stays unreadable",
            )
            self._prove_all(connection)

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def current(self, accounts: Iterable[str]) -> dict[str, AccountKey]:
        """The newest key of each account; those that have none get one, durable before this returns."""
        asked = tuple(accounts)
        return self._settled(lambda: self._current(asked))

    def at_hand(self, accounts: Collection[str]) -> dict[str, AccountKey]:
        """``current`` of those that have one, without waiting: nothing in PostgreSQL, and of many accounts at once.

        To have a thread look takes ten times as long beside a busy event loop, where it is let in now and then.
        """
        if not self.database.sqlite or len(accounts) > _AT_HAND:
            return {}
        return self._settled(lambda: self._at_hand(accounts))

    def all_of(self, account: str) -> dict[int, AccountKey]:
        """Every key of the account that still exists, by generation."""
        return self._settled(lambda: self._all_of(account))

    def forget(self, account: str, generation: int) -> None:
        """Destroy the account's keys up to ``generation``: what they sealed is unreadable from here on. Repeatable."""
        columns = KEYS.c
        theirs = update(KEYS).where(columns.account == account, columns.generation <= generation)
        with self.database.write() as connection:
            connection.execute(theirs.values(wrapped=None))
        self.database.scrub(KEYS.name)

    def newest_generation(self, account: str) -> int:
        """The generation of the account's newest key, also of a forgotten one; 0 if it never had one."""
        with self.database.read() as connection:
            return max((kept[0] for _, kept in self._newest(connection, [account])), default=0)

    def erased_up_to(self, log: str, partition: int) -> int:
        """The position up to which erasures of this log (its generation) have been carried out here."""
        columns = ERASURES.c
        ours = columns.log == log, columns.partition == partition
        with self.database.read() as connection:
            return connection.scalar(select(columns.position).where(*ours)) or 0

    def set_erased_up_to(self, log: str, partition: int, position: int) -> None:
        """Note that they have been; it never goes back."""
        moved = self._insert(ERASURES).values(log=log, partition=partition, position=position)
        new = moved.excluded.position
        kept = moved.on_conflict_do_update(
            index_elements=[ERASURES.c.log, ERASURES.c.partition],
            set_={"position": new},
            where=ERASURES.c.position < new,
        )
        with self.database.write() as connection:
            connection.execute(kept)

    def _settled(self, read: Callable[[], Keys]) -> Keys:
        try:
            return read()
        except MasterKeyError:
            # A rotation may have ended between what was read and the look at the file: then both are new now.
            return read()

    def _current(self, accounts: Iterable[str]) -> dict[str, AccountKey]:
        wanted = sorted(set(accounts))  # one order, so that two processes never wait in a ring
        newest, made = self._kept_in_sqlite(wanted) if self.database.sqlite else self._kept(wanted)
        return {
            # What we have just wrapped need not be unwrapped; what another process wrapped first must be.
            account: made.get(wrapped) or self.unwrap(account, generation, master, wrapped)
            for account, (generation, wrapped, master) in newest.items()
            if wrapped is not None
        }

    def _kept(self, wanted: Sequence[str]) -> tuple[Newest, dict[bytes, AccountKey]]:
        """What is kept of each account's newest key, those that have none given one; and those, by their wrapping."""
        with self.database.read() as connection:
            newest = dict(self._newest(connection, wanted))
        made: dict[bytes, AccountKey] = {}
        if missing := _missing(wanted, newest):
            with self.database.write() as connection:
                # Look again, now that nobody else writes: another process may have made them meanwhile.
                newest.update(self._newest(connection, missing))
                rows, made = _new_ones(_missing(missing, newest), newest, self.wrapping(connection))
                if rows:
                    names = [column.name for column in KEYS.columns]
                    values = [dict(zip(names, row, strict=True)) for row in rows]
                    connection.execute(self._insert(KEYS).on_conflict_do_nothing(), values)
                newest.update(self._newest(connection, missing))  # another process may have been first all the same
        return newest, made

    def _kept_in_sqlite(self, wanted: Sequence[str]) -> tuple[Newest, dict[bytes, AccountKey]]:
        """``_kept`` as the driver does it, in a fifth of the time: who publishes waits for it."""
        made: dict[bytes, AccountKey] = {}
        with self.database.driver() as driver:
            newest = dict(self._newest_in(driver, wanted))
            if missing := _missing(wanted, newest):
                driver.execute("BEGIN IMMEDIATE")
                newest.update(self._newest_in(driver, missing))
                [(generation,)] = driver.execute(_WRAPPING).fetchall()
                rows, made = _new_ones(_missing(missing, newest), newest, self.master(generation))
                driver.executemany(_NEW, rows)
                driver.execute("COMMIT")
        return newest, made

    def _at_hand(self, accounts: Collection[str]) -> dict[str, AccountKey]:
        among, values = self.database.among("account", accounts)
        newest = {account: kept for account, *kept in self.database.look(_HELD.format(among), values)}
        return {
            account: self.unwrap(account, generation, master, wrapped)
            for account, (generation, wrapped, master) in newest.items()
            if wrapped is not None
        }

    def _all_of(self, account: str) -> dict[int, AccountKey]:
        columns = KEYS.c
        held = select(columns.generation, columns.master, columns.wrapped).where(columns.account == account)
        with self.database.read() as connection:
            found = connection.execute(held.where(columns.wrapped.is_not(None))).all()
        return {generation: self.unwrap(account, generation, master, wrapped) for generation, master, wrapped in found}

    def _newest(self, connection: Connection, accounts: Sequence[str]) -> Iterator[tuple[str, tuple[int, Any, int]]]:
        for statement in self._looks(accounts):
            [found] = self.database.ask(connection, [statement])
            for account, generation, wrapped, master in found:
                yield account, (generation, wrapped, master)

    def _newest_in(self, driver: Any, accounts: Sequence[str]) -> Iterator[tuple[str, tuple[int, Any, int]]]:
        for statement in self._looks(accounts):
            for account, generation, wrapped, master in driver.execute(*statement):
                yield account, (generation, wrapped, master)

    def _looks(self, accounts: Sequence[str]) -> Iterator[Statement]:
        for start in range(0, len(accounts), _CHUNK):
            among, values = self.database.among("account", accounts[start : start + _CHUNK])
            yield _HELD.format(among), values

    def wrapping(self, connection: Connection) -> MasterKey:
        """The master key that wraps new keys, for as long as the transaction lasts."""
        # Shared: a rotation cannot let go of it before what is wrapped here is there to be wrapped anew.
        stored = select(MASTERS.c.generation).order_by(MASTERS.c.generation.desc()).with_for_update(read=True)
        generations = connection.scalars(stored).all()
        return self.master(generations[0])

    def master(self, generation: int) -> MasterKey:
        """The master key of this generation; MasterKeyError where the file does not hold it."""
        found = self.masters.of(generation)
        if found is None:
            held = " and ".join(str(key.generation) for key in self.masters.keys)
            raise MasterKeyError(
                f"the keys in {self.database.name} are wrapped by master key {generation}, {self.masters.path} holds "
                f"{held}: put the file of that master key there, from the backup or from where it was rotated"
            )
        return found

    def unwrap(self, account: str, generation: int, master: int, wrapped: bytes) -> AccountKey:
        """The account's key of ``generation``; MasterKeyError if it was altered or its master key is not there."""
        try:
            return AccountKey(generation, aes_key_unwrap(self.master(master).secret, wrapped))
        except InvalidUnwrap as error:
            raise MasterKeyError(
                f"key {generation} of {account!r} in {self.database.name} was altered: restore it from the backup"
            ) from error

    def prove(self, connection: Connection, ours: MasterKey) -> None:
        """Note that ``ours`` wraps keys here; MasterKeyError if another master key of its generation does."""
        proof = {"generation": ours.generation, "probe": probe_of(ours)}
        connection.execute(self._insert(MASTERS).values(proof).on_conflict_do_nothing())
        probe = connection.scalar(select(MASTERS.c.probe).where(MASTERS.c.generation == ours.generation))
        if probe is None or bytes(probe) != proof["probe"]:
            raise MasterKeyError(
                f"the keys in {self.database.name} were wrapped by another master key than the one given: put the "
                "master key file that belongs to them back"
            )

    def _prove_all(self, connection: Connection) -> None:
        generations = connection.scalars(select(MASTERS.c.generation).order_by(MASTERS.c.generation.desc())).all()
        for generation in generations or [self.masters.newest.generation]:
            self.prove(connection, self.master(generation))


def _missing(accounts: Iterable[str], newest: Newest) -> list[str]:
    return [account for account in accounts if account not in newest or newest[account][1] is None]


def _new_ones(
    accounts: Iterable[str], newest: Newest, master: MasterKey
) -> tuple[list[tuple[str, int, int, bytes]], dict[bytes, AccountKey]]:
    """Rows of a new key for each account, and the keys by how they are wrapped; ``newest`` holds them from here on."""
    rows: list[tuple[str, int, int, bytes]] = []
    made: dict[bytes, AccountKey] = {}
    for account in accounts:
        key = AccountKey(newest[account][0] + 1 if account in newest else 1, new_secret())
        sealed = aes_key_wrap(master.secret, key.secret)
        made[sealed] = key
        rows.append((account, key.generation, master.generation, sealed))
        newest[account] = key.generation, sealed, master.generation
    return rows, made


def probe_of(master: MasterKey) -> bytes:
    """What is kept of a master key to tell it from another: 32 zero bytes, wrapped by it."""
    return aes_key_wrap(master.secret, _PROBE)
