"""The real part of the demo: who bought what from CDNOW on which day (Fader & Hardie; see ``examples/cdnow``)."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from msgspec import Struct

FILE = "cdnow_master.txt.gz"
SOURCE = "urn:cdnow"
LABEL = FILE.removesuffix(".gz")
"""What ids are made of: ``cdnow_master.txt:<line>``, the same as ``engage import cdnow`` gives."""
FIRST_DAY = date(1997, 1, 1)
LAST_DAY = date(1998, 6, 30)
DAYS = (LAST_DAY - FIRST_DAY).days + 1


class Purchase(Struct, frozen=True, gc=False):
    """One line of the file: ``day`` counts from 0 on FIRST_DAY, ``cents`` are US cents."""

    line: int
    day: int
    cds: int
    cents: int


def data_folder() -> Path:
    """Where the CDNOW file and its mapping lie: in the installed package, or in the repository's examples."""
    here = Path(__file__).resolve()
    for folder in (here.parent / "cdnow", here.parents[3] / "examples" / "cdnow"):
        if (folder / FILE).is_file():
            return folder
    raise FileNotFoundError(f"{FILE} is neither in {here.parent / 'cdnow'} nor in examples/cdnow: install engage again")


def read_customers(path: Path) -> Iterator[tuple[str, list[Purchase]]]:
    """Each customer of the file (gzip) with their purchases by day, in the file's order within a day."""
    with gzip.open(path, "rt", encoding="ascii") as file:
        next(file)
        numbered = enumerate(map(str.split, file), start=2)
        for customer, rows in groupby(numbered, key=lambda row: row[1][0]):
            purchases = [
                Purchase(line, _day_number(day), int(cds), round(float(dollars) * 100))
                for line, (_, day, cds, dollars) in rows
            ]
            yield customer, sorted(purchases, key=lambda purchase: purchase.day)


@lru_cache(maxsize=DAYS)
def _day_number(text: str) -> int:
    return (date(int(text[:4]), int(text[4:6]), int(text[6:])) - FIRST_DAY).days
