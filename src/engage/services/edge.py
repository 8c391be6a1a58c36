"""The edge: what comes from outside is checked and its personal fields sealed before anything else sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from typing import Any, Protocol

from msgspec import UNSET, Raw

from engage.events import linking, sealing
from engage.events.envelope import Event
from engage.events.ours import is_ours
from engage.events.sealing import AccountKey
from engage.events.validation import Fault, Opened, Refusal, check, check_event, clean


class Keyring(Protocol):
    """The accounts' keys; nobody keeps what it returns beyond a batch."""

    def current(self, accounts: Iterable[str]) -> dict[str, AccountKey]:
        """The newest key of each account, made where there is none yet."""
        ...

    def all_of(self, account: str) -> dict[int, AccountKey]:
        """Every key of the account that still exists, by generation."""
        ...


class EdgeKeyring(Keyring, Protocol):
    """A keyring that an event loop may ask as well."""

    def at_hand(self, accounts: Collection[str]) -> dict[str, AccountKey]:
        """The newest keys of those accounts that have one, as far as that can be known without waiting."""
        ...


class Looked:
    """Events that were checked; those of accounts ``without`` a key at hand cannot be sealed yet."""

    def __init__(self, checked: Sequence[Event[Raw] | Refusal], keyring: EdgeKeyring, shapes: Opened) -> None:
        self._checked = checked
        self._found, owners = _exposed(checked, shapes)
        self._keys = keyring.at_hand(owners) if owners else {}
        self.without = owners - self._keys.keys() if owners else owners

    def sealed(self, keys: Mapping[str, AccountKey]) -> list[Event[Raw] | Refusal]:
        """For each event, in order, a copy as it may enter the log, or why it may not; ``keys`` are of those without.

        To be asked once.
        """
        return _sealed(self._checked, self._found, {**self._keys, **keys} if keys else self._keys)


class Edge:
    """Checks and seals batches of events from outside.

    ``window`` is for how long the log they go to tells duplicates, None for ever: what happened before it is refused.
    """

    def __init__(self, keyring: EdgeKeyring, clock: Callable[[], datetime], window: timedelta | None = None) -> None:
        self._keyring = keyring
        self._clock = clock
        self._window = window
        self._wanted: set[str] = set()
        self._next: asyncio.Task[dict[str, AccountKey]] | None = None
        self._asking = asyncio.Lock()

    async def take(self, events: Sequence[bytes | Event[Raw]]) -> list[Event[Raw] | Refusal]:
        """For each event, in order, a copy as it may enter the log, or why it may not.

        Keys that are not at hand are asked for in a thread: one that is new has to be on the disk before it is used.
        """
        looked = self.look(events)
        return looked.sealed(await self.keys(looked.without) if looked.without else {})

    def look(self, events: Sequence[bytes | Event[Raw]]) -> Looked:
        """The same as far as it can be known at once."""
        now = self._clock()
        opened: Opened = {}
        checked = [
            check(event, now, opened) if isinstance(event, bytes) else check_event(copy(event), now, opened)
            for event in events
        ]
        if self._window is not None:
            checked = [(isinstance(each, Event) and too_old(each, now, self._window)) or each for each in checked]
        return Looked(checked, self._keyring, opened)

    async def keys(self, owners: set[str]) -> dict[str, AccountKey]:
        """The keys of these accounts, made where there are none.

        All who come while others are asked for are asked for together: each time is a sync.
        """
        self._wanted |= owners
        if self._next is None:
            self._next = asyncio.create_task(self._ask())
        try:
            return await asyncio.shield(self._next)
        except Exception:  # it may be the fault of another's
            return await asyncio.to_thread(self._keyring.current, owners)

    async def _ask(self) -> dict[str, AccountKey]:
        async with self._asking:
            wanted, self._wanted, self._next = self._wanted, set(), None
            return await asyncio.to_thread(self._keyring.current, wanted)

    def copies(self, events: Sequence[tuple[Event[Raw], str]], *, retold: bool) -> list[Event[Raw]]:
        """Copies of records, each told of the account beside it, with what is sealed in them sealed for that one.

        ``retold``: they are told once more, else they have just come in. The keys are looked up once for all of them.
        """
        copied = [linking.copied(event, account, retold=retold) for event, account in events]
        moved = [
            (copy, event.subject)
            for copy, (event, account) in zip(copied, events, strict=True)
            if account != event.subject and sealing.holds_sealed(copy)
        ]
        if moved:
            theirs = {owner: self._keyring.all_of(owner) for _, owner in moved}
            keys = self._keyring.current(copy.subject for copy, _ in moved)
            for copy, owner in moved:
                sealing.seal_anew(copy, theirs[owner], owner, keys[copy.subject])
        return copied

    def seal(self, checked: Sequence[Event[Raw]]) -> list[Event[Raw] | Refusal]:
        """The same events with what is personal sealed; the keys are looked up once for the batch."""
        found, owners = _exposed(checked, {})
        return _sealed(checked, found, self._keyring.current(owners) if owners else {})


def too_old(event: Event[Raw], now: datetime, window: timedelta) -> Refusal | None:
    """Why an event may not enter a log that tells duplicates for the ``window`` before ``now``; None if it may.

    Engage's own may be as old as the last commands that a relay missed: what a person was told is done is not lost.
    """
    if now - event.time <= window or is_ours(event):
        return None
    said = (
        f"{event.time.isoformat()} is more than {window // timedelta(days=1)} days ago, for which a log on Kafka knows "
        "no duplicates: set ENGAGE_WINDOW_DAYS to more for whoever publishes and the workers, or load it into an "
        "embedded engage, and bring that over by export and restore"
    )
    return Refusal("too_old", (Fault("/time", said),))


Exposed = Mapping[int, dict[str, Any]]
"""What must be sealed of those events of which something must be, by their place and by field."""


def _exposed(checked: Sequence[Event[Raw] | Refusal], shapes: Opened) -> tuple[Exposed, set[str]]:
    """What must be sealed, and of which accounts; ``shapes`` is what checking has read of the data, if anything."""
    found: dict[int, dict[str, Any]] = {}
    owners: set[str] = set()
    for place, event in enumerate(checked):
        if not isinstance(event, Event):  # the other way round it takes ten times as long to say no
            continue
        exposed = sealing.exposed(clean(event), shapes.get(id(event), UNSET))
        if exposed:
            found[place] = exposed
            owners.add(event.subject)
    return found, owners


def _sealed(
    checked: Sequence[Event[Raw] | Refusal], found: Exposed, keys: Mapping[str, AccountKey]
) -> list[Event[Raw] | Refusal]:
    sealed = list(checked)
    for place, open_fields in found.items():
        event = checked[place]
        assert isinstance(event, Event), "nothing is exposed of what is refused"
        sealed[place] = sealing.seal(event, open_fields, keys[event.subject])
    return sealed
