"""Which partition an account belongs to: murmur2 of the subject, as Kafka's Java clients and aiokafka compute it."""

from __future__ import annotations

from functools import lru_cache

from aiokafka.partitioner import murmur2


@lru_cache(maxsize=65_536)
def partition_of(subject: str, partitions: int) -> int:
    """The partition, 0 to ``partitions`` - 1, that holds all records of ``subject``."""
    digest: int = murmur2(subject.encode())
    return (digest & 0x7FFFFFFF) % partitions
