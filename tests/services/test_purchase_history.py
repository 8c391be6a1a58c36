"""A file of purchases is read line by line; what cannot be read is named."""

import gzip
from datetime import date
from pathlib import Path

import pytest

from engage.services.purchase_history import Period, Purchase, by_customer, in_order, read, split


def test_who_is_known_and_who_of_them_came_back() -> None:
    bought = [(3, "late", 9), (1, "back", 1), (2, "gone", 3), (4, "back", 6), (5, "after", 2), (6, "after", 8)]
    purchases = in_order(Purchase(line, customer, date(2026, 1, day), 1.0) for line, customer, day in bought)
    known, came_back = split(Period(date(2026, 1, 3), date(2026, 1, 6)), by_customer(purchases))
    assert dict(zip(known, came_back, strict=True)) == {"after": False, "back": True, "gone": False}
    assert [purchase.line for history in known.values() for purchase in history] == [5, 1, 2]


def test_a_line_is_a_purchase_whatever_its_amount(tmp_path: Path) -> None:
    file = tmp_path / "purchases.txt"
    file.write_text(" customer_id date number dollars\n 00001 19970101 1 11.77\n\n 00001 19970101 1 0.00\n")
    assert list(read(file)) == [
        Purchase(2, "00001", date(1997, 1, 1), 11.77),
        Purchase(4, "00001", date(1997, 1, 1), 0.0),
    ]


@pytest.mark.parametrize("line", ["00001 19970101 1", "00001 19971301 1 2.0", "00001 19970101 1 much"])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "purchases.txt"
    file.write_text(f"00001 19970101 1 11.77\n{line}\n")
    with pytest.raises(ValueError, match=r"line 2 is not customer, day, pieces and dollars"):
        list(read(file))


def test_a_truncated_file_is_said_to_be_unreadable(tmp_path: Path) -> None:
    file = tmp_path / "purchases.txt.gz"
    file.write_bytes(gzip.compress(b"00001 19970101 1 11.77\n" * 1000)[:-12])
    with pytest.raises(ValueError, match="cannot be read"):
        list(read(file))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing\.txt cannot be read"):
        list(read(tmp_path / "missing.txt"))
