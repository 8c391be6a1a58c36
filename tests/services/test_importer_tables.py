"""Import from CSV and columns of text by a mapping: every wrong key, row and cell is named."""

from __future__ import annotations

import asyncio
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engage.demo.purchases import data_folder
from engage.events.validation import Refusal, check
from engage.services.importer import in_time_order, load, read_table
from engage.services.lines import Line, LineFault, file_label, open_input
from engage.services.mapping import MappingError, load_mapping, parse_mapping
from tests.services.ledger import NOW, Ledger

MAPPING = """
type = "Order Completed"
source = "urn:shop"
subject = "customer-{customer}"
[time]
column = "day"
format = "%d.%m.%Y"
at = "09:30"
zone = "Europe/Berlin"
[data]
order_id = { template = "{file}-{line}" }
total = { column = "paid", kind = "float" }
currency = "EUR"
coupon = { column = "coupon", optional = true }
products = [{ product_id = { column = "product" }, quantity = { column = "pieces", kind = "int" } }]
"""
HEADER = "customer,day,paid,coupon,product,pieces\n"
GOOD = "7,01.02.2026,12.50,,cd-1,3\n"


def read(text: str | bytes, mapping: str = MAPPING) -> list[Line | LineFault]:
    content = text.encode() if isinstance(text, str) else text
    file: Any = BufferedReader(BytesIO(content))
    return list(read_table(file, parse_mapping(mapping), "shop.csv"))


def said(items: list[Line | LineFault]) -> list[str]:
    return [str(item) for item in items if isinstance(item, LineFault)]


def event(item: Line | LineFault) -> Any:
    assert isinstance(item, Line), item
    assert not isinstance(check(item.value, NOW), Refusal)
    return msgspec.json.decode(item.value)


def test_a_row_becomes_an_event_with_nested_lists_constants_and_local_time() -> None:
    [item] = read(HEADER + GOOD)
    assert event(item) == {
        "specversion": "1.0",
        "id": "shop.csv:2:e569bf666214c7a8",
        "source": "urn:shop",
        "type": "Order Completed",
        "subject": "customer-7",
        "time": "2026-02-01T09:30:00+01:00",
        "data": {
            "order_id": "shop.csv-2",
            "total": 12.5,
            "currency": "EUR",
            "products": [{"product_id": "cd-1", "quantity": 3}],
        },
    }


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("7,31.02.2026,1,,cd,1", "line 3: day: '31.02.2026' is not a date of the form '%d.%m.%Y'"),
        ("7,01.02.30000,1,,cd,1", "line 3: day: '01.02.30000' is not a date of the form '%d.%m.%Y'"),
        ("7,01.02.2026,much,,cd,1", "line 3: paid: 'much' is not a number"),
        ("7,01.02.2026,nan,,cd,1", "line 3: paid: 'nan' is not a number"),
        ("7,01.02.2026,1,,cd,1.5", "line 3: pieces: '1.5' is not a whole number"),
        ("7,01.02.2026,1,,,1", "line 3: product: is empty"),
        (",01.02.2026,1,,cd,1", "line 3: customer: is empty"),
        ("7,01.02.2026,1", "line 3: coupon: the line has 3 fields where there are 6 columns"),
        ("7,01.02.2026,1,,cd,1,8", "line 3: the line has 7 fields where there are 6 columns"),
        ('7,01.02.2026,"1"2,,cd,1', "line 3: not a row of this format: "),
    ],
)
def test_a_bad_cell_is_named_with_its_line_and_column_and_the_rows_beside_it_are_read(row: str, message: str) -> None:
    items = read(HEADER + GOOD + row + "\n" + GOOD)
    assert [item.number for item in items] == [2, 3, 4]
    assert [one.startswith(message) for one in said(items)] == [True], said(items)


def test_a_line_that_is_not_utf8_is_named_and_the_rows_beside_it_are_read() -> None:
    items = read((HEADER + GOOD).encode() + b"7,01.02.2026,1,\xe4,cd,1\n" + GOOD.encode())
    assert said(items) == ["line 3: byte 16 of the line (0xe4) is not UTF-8: re-encode the file"]
    assert sorted(item.number for item in items) == [2, 3, 4]


def test_a_missing_column_is_named_and_nothing_is_read() -> None:
    items = read("customer,day,product\n7,01.02.2026,cd\n")
    assert said(items) == ["line 1: paid: is missing; the header has: customer, day, product"]
    assert len(items) == 1


def test_an_empty_file_is_said_to_be_empty() -> None:
    assert said(read("")) == ["line 1: the file is empty: nothing was taken from it"]


def test_a_quoted_field_may_hold_the_delimiter_and_a_line_end() -> None:
    items = read(HEADER + '7,01.02.2026,1,"a,\nb",cd,1\n' + GOOD)
    assert [event(item)["data"].get("coupon") for item in items] == ["a,\nb", None]
    assert [item.number for item in items] == [3, 4]


def test_a_quote_that_never_ends_is_a_fault() -> None:
    assert "not a row of this format" in said(read(HEADER + GOOD + '7,"01.02.2026,1\n'))[0]


def test_a_file_without_a_header_has_its_columns_in_the_mapping() -> None:
    mapping = MAPPING + '[text]\nheader = false\ncolumns = ["customer", "day", "paid", "coupon", "product", "pieces"]\n'
    [item] = read(GOOD, mapping)
    assert event(item)["id"].startswith("shop.csv:1:")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[data]", "[data", "not TOML: "),
        ('type = "Order Completed"', "", "type: is missing"),
        ("[time]", 'colour = "red"\n[time]', "colour: is not known"),
        ('at = "09:30"', 'at = "noon"', "time.at: 'noon' is no time of day"),
        ("Europe/Berlin", "Europe/Nowhere", "time.zone: this machine knows no time zone 'Europe/Nowhere'"),
        ('kind = "float"', 'kind = "money"', "data.total.kind: is not one of bool, float, int, str, time: 'money'"),
        ('kind = "float"', 'type = "float"', "data.total.type: is not known: "),
        ('kind = "int"', 'kind = "time"', "data.products[0].quantity.format: a time needs its strptime format"),
        ('"customer-{customer}"', '"customer-{}"', "subject: 'customer-{}' is no template"),
        ('"{file}-{line}"', '"{file"', "data.order_id.template: '{file' is no template"),
        ("[time]", "[text]\ndelimiter = ';;'\n[time]", "text.delimiter: is ';;': give one character or 'whitespace'"),
        ("[time]", "[text]\nheader = false\n[time]", "text.columns: a file without a header needs"),
    ],
)
def test_a_wrong_mapping_is_refused_and_the_key_is_named(old: str, new: str, message: str) -> None:
    assert old in MAPPING
    with pytest.raises(MappingError) as refused:
        parse_mapping(MAPPING.replace(old, new))
    assert message in str(refused.value)


@pytest.mark.anyio
async def test_files_of_one_name_with_other_content_are_both_taken_and_neither_twice() -> None:
    ledger = Ledger()
    january, february = HEADER + GOOD, HEADER + GOOD.replace("12.50", "80.00")
    first, second = [await load(read(text), ledger.publish) for text in (january, february)]
    assert (first.taken, second.taken) == (1, 1)
    appended = await load(read(january + GOOD), ledger.publish)
    assert (appended.taken, appended.duplicates) == (1, 1)


@pytest.mark.anyio
async def test_an_id_that_the_mapping_gives_is_taken_at_its_word() -> None:
    ledger, mapping = Ledger(), 'id = "{file}:{line}"\n' + MAPPING
    assert (await load(read(HEADER + GOOD, mapping), ledger.publish)).taken == 1
    assert [event.id for event in ledger.events.values()] == ["shop.csv:2"]


def test_a_wrong_mapping_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(MappingError, match=r"shop\.toml: "):
        load_mapping(path)


def test_the_cdnow_file_becomes_orders_in_the_order_of_time_and_a_second_run_takes_none_twice() -> None:
    folder = data_folder()
    name = str(folder / "cdnow_master.txt.gz")
    mapping = load_mapping(folder / "mapping.toml")
    with open_input(name) as file:
        items = list(in_time_order(read_table(file, mapping, file_label(name))))
    assert len(items) == 69_659
    first, last = event(items[0]), event(items[-1])
    assert (first["time"], last["time"]) == ("1997-01-01T12:00:00Z", "1998-06-30T12:00:00Z")
    assert first["id"] == first["data"]["order_id"] == "cdnow_master.txt:2"
    assert first["data"]["products"] == [{"product_id": "cd", "category": "music", "quantity": 1}]
    ledger = Ledger()
    assert asyncio.run(load(items, ledger.publish)).taken == 69_659
    customers = {subject for subject, _, _ in ledger.events}
    assert len(customers) == 23_570
    again = asyncio.run(load(items[:3_000], ledger.publish, resume=lambda number: number % 3 > 0))
    assert (again.taken, again.refused, again.duplicates + again.skipped) == (0, 0, 3_000)
