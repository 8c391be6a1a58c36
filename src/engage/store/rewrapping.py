"""Wraps the accounts' keys anew, by another master key, while others make and read keys.

From ``begin`` on new keys are wrapped by the new master key. ``wrap`` goes through the others in small transactions and
may be broken off anywhere. ``finish`` takes the old master key's name out of the store in a transaction that nobody who
wraps a key can be beside, so nothing is left that only the old one opens. All three may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from msgspec import Struct
from sqlalchemy import Connection, bindparam, delete, func, literal, select, tuple_, update

from engage.store.key_tables import KEYS, MASTERS
from engage.store.keys import KeyStore
from engage.store.master_key import MasterKey

_CHUNK = 500
"""Keys of one transaction: a few milliseconds for which whoever publishes waits."""


class Held(Struct, frozen=True):
    """One key of an account: its generation, the master key's, and whether it still exists."""

    generation: int
    master: int
    exists: bool


def masters(store: KeyStore) -> dict[int, int]:
    """How many keys each master key wraps that the store knows."""
    with store.database.read() as connection:
        known = connection.scalars(select(MASTERS.c.generation)).all()
        counted = select(KEYS.c.master, func.count(KEYS.c.wrapped).label("held")).group_by(KEYS.c.master)
        found = {row.master: row.held for row in connection.execute(counted)}
    return {generation: found.get(generation, 0) for generation in known}


def keys_of(store: KeyStore, account: str) -> list[Held]:
    """Every key that the account ever had, the oldest first."""
    columns = KEYS.c
    theirs = select(columns.generation, columns.master, columns.wrapped.is_not(None)).where(columns.account == account)
    with store.database.read() as connection:
        return [Held(*row) for row in connection.execute(theirs.order_by(columns.generation))]


def begin(store: KeyStore, master: MasterKey) -> None:
    """Have ``master`` wrap new keys; MasterKeyError if another one of its generation does already."""
    with store.database.write() as connection:
        store.prove(connection, master)


def wrap(store: KeyStore, master: MasterKey) -> Iterator[int]:
    """Wrap by ``master`` what others wrap: how many keys, transaction by transaction."""
    after: tuple[str, int] = ("", 0)
    columns = KEYS.c
    others = select(KEYS).where(columns.master != master.generation, columns.wrapped.is_not(None))
    while True:
        behind = tuple_(columns.account, columns.generation) > tuple_(*map(literal, after))
        with store.database.write() as connection:
            found = connection.execute(
                others.where(behind).order_by(columns.account, columns.generation).limit(_CHUNK)
            ).all()
            done = _wrap(store, connection, master, found)
        if not found:
            return
        after = found[-1].account, found[-1].generation
        yield done


def finish(store: KeyStore, master: MasterKey) -> int:
    """Let no other master key be known here; how many keys had to be wrapped still."""
    with store.database.write() as connection:
        # Whoever wraps a key holds these rows, shared, until it is there: so this waits for them, and they for this.
        connection.execute(select(MASTERS).with_for_update()).all()
        left = select(KEYS).where(KEYS.c.master != master.generation, KEYS.c.wrapped.is_not(None))
        done = _wrap(store, connection, master, connection.execute(left).all())
        connection.execute(delete(MASTERS).where(MASTERS.c.generation != master.generation))
    store.database.scrub(KEYS.name)
    return done


def _wrap(store: KeyStore, connection: Connection, master: MasterKey, rows: Sequence[Any]) -> int:
    anew = [
        {
            "theirs": row.account,
            "which": row.generation,
            "anew": aes_key_wrap(
                master.secret, store.unwrap(row.account, row.generation, row.master, row.wrapped).secret
            ),
        }
        for row in rows
    ]
    if anew:
        theirs = update(KEYS).where(
            KEYS.c.account == bindparam("theirs"),
            KEYS.c.generation == bindparam("which"),
            KEYS.c.wrapped.is_not(None),  # a key that was forgotten meanwhile stays forgotten
        )
        connection.execute(theirs.values(master=master.generation, wrapped=bindparam("anew")), anew)
    return len(anew)
