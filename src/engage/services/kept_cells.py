"""What of an engine is written down, and what is next: a share of the accounts at a time, so that nobody waits for all.

All cells of a partition together took 12 ms of the event loop, 10 ms of the commit that wrote them, and a burst on the
disk, and one in forty events waited for that.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from engage.events.shares import SHARES
from engage.rules.deciding import Basis

KEEP_EVERY = 20_000
"""Records of a partition after which an account's cells are written down. Until then they are what the log's tail makes
of those that were, and who takes up after a crash folds that tail: most cells change often, and are written once."""
KEEP_LIVED_EVERY = 1_500
"""A history meets other accounts all the time, and who is not written down cannot sleep: 6,000 records of the demo keep
half of all accounts awake, which takes 40 MB more. Nobody waits for it, so all are written together."""
ALL = range(SHARES)
"""Every account."""


class Kept(Struct):
    """Up to where the cells of each share are written down, the basis, and up to where shares have had their turn."""

    shares: list[int]
    basis: dict[str, Basis]
    position: int

    def behind(self, position: int, *, lived: bool) -> int:
        """How many records before ``position`` something was last written down; all of it where history is ``lived``.

        Of a history's days the rest, ticks and what is relayed, comes as ever, and has shares written in between.
        """
        return position - (min(self.shares) if lived else self.position)

    def due(self, position: int, *, lived: bool) -> Collection[int]:
        """The shares that are to be written down at ``position``, those furthest behind.

        One after the other comes in turn as the log grows, and several where much is taken in together.
        """
        behind = self.behind(position, lived=lived)
        if lived:
            return ALL if behind >= KEEP_LIVED_EVERY else ()
        count = min(SHARES, behind * SHARES // KEEP_EVERY)
        return sorted(range(SHARES), key=self.shares.__getitem__)[:count] if count else ()

    def keep(self, shares: Collection[int], position: int, basis: dict[str, Basis]) -> None:
        """These are written down as they are at ``position``."""
        for share in shares:
            self.shares[share] = position
        self.basis = dict(basis)
        turn = self.position + len(shares) * KEEP_EVERY // SHARES
        self.position = position if len(shares) == SHARES else min(position, turn)


def kept(shares: Collection[int], position: int, basis: dict[str, Basis]) -> Kept:
    """As it was read back from the file."""
    known = list(shares) or [position] * SHARES
    return Kept(known, basis, max(known))
