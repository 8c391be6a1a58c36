"""Folds histories, one a line, and says what was decided and kept: as a program, beside another that runs otherwise."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import msgspec

from engage import compiled
from engage.events import codec
from engage.rules.engine import ACTIVATED, Engine
from streams import RULES

_BATCH = 50


class Told(msgspec.Struct):
    """What an engine made of a history: decisions, changed cells and failures, each as it is written down."""

    decisions: list[bytes]
    cells: list[tuple[str, str, bytes | None]]
    failures: list[tuple[str, str, str]]


def told(values: Sequence[bytes]) -> Told:
    """What an engine with all rules makes of these records of the log."""
    engine = Engine(0, RULES)
    read = codec.reader(engine.wanted)
    said = Told([], [], [])
    for offset, value in enumerate(values):
        event = read(value)
        event.partition, event.offset = 0, offset
        said.decisions += map(codec.encode, engine.fold(event))
        if event.type == ACTIVATED:
            engine.activate(event, engine.predecessor(event.data))
        if offset % _BATCH == 0:
            said.cells += engine.cells.changes()
    said.cells += engine.cells.changes()
    said.failures += [(one.rule, one.account, one.event_id) for one in engine.failures]
    return said


def main(lines: Iterable[bytes]) -> None:
    """Answer each line, a JSON list of records, with a line."""
    out = sys.stdout.buffer
    out.write(msgspec.json.encode(compiled.told()) + b"\n")
    out.flush()
    for line in lines:
        out.write(msgspec.json.encode(told(msgspec.json.decode(line, type=list[bytes]))) + b"\n")
        out.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer)
