"""Into which share of its partition an account belongs: what is known of a share is written down together."""

from __future__ import annotations

from zlib import crc32

SHARES = 16
"""Into so many shares the accounts of a partition are divided."""


def share_of(account: str) -> int:
    """Which share the account belongs to; it stands in stored keys and positions, so it stays what it is."""
    return crc32(account.encode()) % SHARES
