"""The accounts' keys, wrapped by the master key, durable before anything is sealed with them.

AES key wrap (RFC 3394) by ``cryptography``. Not a fold of the log: back this store up together with the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from sqlalchemy import BigInteger, Column, Connection, LargeBinary, MetaData, Table, Text, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from engage.events.sealing import AccountKey, new_secret
from engage.store import schema_version
from engage.store.database import Database
from engage.store.master_key import MasterKey, MasterKeyError, load_master_key

__all__ = ["KeyStore", "MasterKey", "MasterKeyError", "load_master_key"]

SCHEMA = 2
_CHUNK = 900  # accounts of one SELECT: SQLite before 3.32 takes 999 values
_PROBE = bytes(32)

_TABLES = MetaData()
_MASTERS = Table(
    "master_keys",
    _TABLES,
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("probe", LargeBinary, nullable=False, comment="32 zero bytes, wrapped: tells a wrong key"),
    comment="Which master keys wrapped the keys here; the keys themselves are elsewhere.",
)
_KEYS = Table(
    "account_keys",
    _TABLES,
    Column("account", Text, primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("master", BigInteger, nullable=False, comment="generation of the master key that wrapped it"),
    Column("wrapped", LargeBinary, comment="RFC 3394; null once it was forgotten, its generation never returns"),
    comment="A key per account and generation.",
)
_ERASURES = Table(
    "erasures",
    _TABLES,
    Column("log", Text, primary_key=True, comment="the log's generation"),
    Column("partition", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False, comment="every account.erased before it has been carried out here"),
    comment="How far the log has been read for accounts whose keys are to be forgotten.",
)


class KeyStore:
    """Keys of accounts in the database at ``url``, ``sqlite:///FILE`` or ``postgresql://…``, wrapped by ``master``.

    MasterKeyError if the keys there were wrapped by another master key. Safe for several processes.
    """

    def __init__(self, url: str, master: MasterKey) -> None:
        self.database = Database(url, synchronous="full")
        self._insert = sqlite_insert if self.database.sqlite else postgresql_insert
        self._master = master
        with self.database.set_up() as connection:
            schema_version.settle(
                connection,
                "keys",
                _TABLES,
                version=SCHEMA,
                migrations={1: _ERASURES.create},
                remedy="open them with the engage that wrote them; without the keys what is sealed stays unreadable",
            )
            self._prove(connection)

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def current(self, accounts: Iterable[str]) -> dict[str, AccountKey]:
        """The newest key of each account; those that have none get one, durable before this returns."""
        wanted = sorted(set(accounts))  # one order, so that two processes never wait in a ring
        with self.database.read() as connection:
            newest = dict(self._newest(connection, wanted))
        missing = [account for account in wanted if account not in newest or newest[account][1] is None]
        made: dict[bytes, AccountKey] = {}
        if missing:
            with self.database.write() as connection:
                # Look again, now that nobody else writes: another process may have made them meanwhile.
                newest.update(self._newest(connection, missing))
                fresh = []
                for account in missing:
                    generation, wrapped = newest.get(account, (0, None))[:2]
                    if wrapped is None:
                        key = AccountKey(generation + 1, new_secret())
                        sealed = aes_key_wrap(self._master.secret, key.secret)
                        made[sealed] = key
                        fresh.append((account, key.generation, self._master.generation, sealed))
                if fresh:
                    names = [column.name for column in _KEYS.columns]
                    rows = [dict(zip(names, values, strict=True)) for values in fresh]
                    connection.execute(self._insert(_KEYS).on_conflict_do_nothing(), rows)
                newest.update(self._newest(connection, missing))
        return {
            # What we have just wrapped need not be unwrapped; what another process wrapped first must be.
            account: made.get(wrapped) or self._unwrap(account, generation, master, wrapped)
            for account, (generation, wrapped, master) in newest.items()
            if wrapped is not None
        }

    def all_of(self, account: str) -> dict[int, AccountKey]:
        """Every key of the account that still exists, by generation."""
        columns = _KEYS.c
        held = select(columns.generation, columns.master, columns.wrapped).where(columns.account == account)
        with self.database.read() as connection:
            found = connection.execute(held.where(columns.wrapped.is_not(None))).all()
        return {generation: self._unwrap(account, generation, master, wrapped) for generation, master, wrapped in found}

    def forget(self, account: str, generation: int) -> None:
        """Destroy the account's keys up to ``generation``: what they sealed is unreadable from here on. Repeatable."""
        columns = _KEYS.c
        theirs = update(_KEYS).where(columns.account == account, columns.generation <= generation)
        with self.database.write() as connection:
            connection.execute(theirs.values(wrapped=None))
        self.database.scrub()

    def newest_generation(self, account: str) -> int:
        """The generation of the account's newest key, also of a forgotten one; 0 if it never had one."""
        with self.database.read() as connection:
            return max((kept[0] for _, kept in self._newest(connection, [account])), default=0)

    def erased_up_to(self, log: str, partition: int) -> int:
        """The position up to which erasures of this log (its generation) have been carried out here."""
        columns = _ERASURES.c
        ours = columns.log == log, columns.partition == partition
        with self.database.read() as connection:
            return connection.scalar(select(columns.position).where(*ours)) or 0

    def set_erased_up_to(self, log: str, partition: int, position: int) -> None:
        """Note that they have been; it never goes back."""
        moved = self._insert(_ERASURES).values(log=log, partition=partition, position=position)
        new = moved.excluded.position
        kept = moved.on_conflict_do_update(
            index_elements=[_ERASURES.c.log, _ERASURES.c.partition],
            set_={"position": new},
            where=_ERASURES.c.position < new,
        )
        with self.database.write() as connection:
            connection.execute(kept)

    def _newest(self, connection: Connection, accounts: Sequence[str]) -> Iterator[tuple[str, tuple[int, Any, int]]]:
        columns = _KEYS.c
        held = select(columns.account, columns.generation, columns.wrapped, columns.master)
        for start in range(0, len(accounts), _CHUNK):
            chunk = accounts[start : start + _CHUNK]
            # Ascending, so that in the dictionary the newest generation is the one that stays.
            found = held.where(columns.account.in_(chunk)).order_by(columns.account, columns.generation)
            for account, generation, wrapped, master in connection.execute(found):
                yield account, (generation, wrapped, master)

    def _unwrap(self, account: str, generation: int, master: int, wrapped: bytes) -> AccountKey:
        if master != self._master.generation:
            raise MasterKeyError(
                f"the key of {account!r} was wrapped by master key {master}, the file holds {self._master.generation}: "
                "put the file of that master key back"
            )
        try:
            return AccountKey(generation, aes_key_unwrap(self._master.secret, wrapped))
        except InvalidUnwrap as error:
            raise MasterKeyError(
                f"key {generation} of {account!r} in {self.database.name} was altered: restore it from the backup"
            ) from error

    def _prove(self, connection: Connection) -> None:
        ours = self._master.generation
        proof = {"generation": ours, "probe": aes_key_wrap(self._master.secret, _PROBE)}
        connection.execute(self._insert(_MASTERS).values(proof).on_conflict_do_nothing())
        stored: Mapping[int, bytes] = dict(connection.execute(select(_MASTERS.c.generation, _MASTERS.c.probe)).all())
        if bytes(stored[ours]) != proof["probe"]:
            raise MasterKeyError(
                f"the keys in {self.database.name} were wrapped by another master key than the one given: put the "
                "master key file that belongs to them back"
            )
