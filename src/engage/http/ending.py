"""How a service ends: first it says that it is not ready, then it takes nothing new, and answers what it has."""

from __future__ import annotations


class Ending:
    """What is the case by now: ``announced`` means that it ends soon, ``closed`` that it takes no new requests."""

    def __init__(self) -> None:
        self.announced = False
        self.closed = False
