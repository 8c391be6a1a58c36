"""Rotating the master key: a new one wraps every account's key anew, and the old one is let go.

What is sealed on the log stays as it is: the accounts' own keys do not change. Others publish and read meanwhile,
for until all is wrapped both master keys are known. Broken off anywhere, the same command goes on.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from engage.store import rewrapping
from engage.store.keys import KeyStore
from engage.store.master_key import MasterKey, MasterKeyError
from engage.store.rewrapping import Held
from engage.store.webhooks import WebhookStore

LINKS = "links"
"""What links in mails are signed with: they hold for long, so the key for it outlives the master key."""

Told = Callable[[int, int], None]
"""How many keys are wrapped anew so far, of how many."""


class Master(Struct, frozen=True):
    """A master key: its ``name`` tells it from others, None where the file does not hold it; what it wraps."""

    generation: int
    name: str | None
    keys: int
    wraps_new: bool


class Rotated(Struct, frozen=True):
    """What a rotation did: the master key in force and its name, those let go, what was wrapped anew."""

    generation: int
    name: str
    let_go: tuple[int, ...]
    keys: int
    webhooks: int


def masters(keys: KeyStore) -> list[Master]:
    """Every master key that the store or the file knows, the newest first."""
    stored = rewrapping.masters(keys)
    held = {key.generation: key.name for key in keys.masters.keys}
    in_force = max(stored)
    return [
        Master(
            generation=generation,
            name=held.get(generation),
            keys=stored.get(generation, 0),
            wraps_new=generation == in_force,
        )
        for generation in sorted(stored.keys() | held.keys(), reverse=True)
    ]


def keys_of(keys: KeyStore, account: str) -> list[Held]:
    """Every key that the account ever had, the oldest first; empty if it never had one."""
    return rewrapping.keys_of(keys, account)


def prepare(keys: KeyStore) -> Master:
    """Put a new master key into the file, beside the one in force, and wrap nothing yet; again, it is the same."""
    with keys.masters.rotating():
        _new_one(keys)
    return masters(keys)[0]


def rotate(
    keys: KeyStore,
    webhooks: WebhookStore | None = None,
    *,
    keep_links: bool = True,
    told: Told | None = None,
) -> Rotated:
    """Wrap everything by the new master key, a prepared one or one made now, then let go of the old.

    ``keep_links`` False: links in mails that were sent before lead nowhere any more. MasterKeyError if the file cannot
    be used, or is rotated by another process.
    """
    with keys.masters.rotating():
        new, made = _new_one(keys)
        try:
            rewrapping.begin(keys, new)
        except MasterKeyError:
            if made:  # another machine was first, with another key: ours has wrapped nothing
                keys.masters.drop(new.generation)
            raise
        total = sum(held for generation, held in rewrapping.masters(keys).items() if generation != new.generation)
        done = 0
        for wrapped in rewrapping.wrap(keys, new):
            done += wrapped
            if told is not None:
                told(done, max(done, total))
        endpoints = webhooks.seal_anew() if webhooks is not None else 0
        done += rewrapping.finish(keys, new)
        old = tuple(key.generation for key in keys.masters.keys if key.generation != new.generation)
        keys.masters.let_go(keep=(LINKS,) if keep_links else ())
    return Rotated(new.generation, new.name, old, done, endpoints)


def _new_one(keys: KeyStore) -> tuple[MasterKey, bool]:
    """The master key that is to wrap everything, and whether it was made now: what was begun is gone on with."""
    newest, *older = keys.masters.keys
    return (newest, False) if older else (keys.masters.add(), True)
