"""Import from files: what is good is taken, what is bad is named by line and field, and nothing ends in a traceback."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import Iterable
from io import BufferedReader, BytesIO
from typing import Any

import msgspec
import pytest

from engage.events import codec
from engage.services.importer import DETAILED_FAULTS, Summary, in_time_order, load, read_events
from engage.services.lines import Line, LineFault, file_label, open_input
from tests.services.ledger import Ledger


def order(number: int, **changes: Any) -> dict[str, Any]:
    event = {
        "specversion": "1.0",
        "id": f"o-{number}",
        "source": "shop",
        "type": "Order Completed",
        "subject": f"customer-{number}",
        "time": f"2026-03-01T10:{number % 60:02}:00Z",
        "data": {"order_id": f"o-{number}", "total": 10.0},
    } | changes
    return {name: value for name, value in event.items() if value is not None}


def line(event: object) -> bytes:
    return json.dumps(event).encode()


def opened(content: bytes) -> BufferedReader:
    return BufferedReader(BytesIO(content))


def run(lines: Iterable[bytes], ledger: Ledger | None = None, **options: Any) -> Summary:
    items = read_events(opened(b"\n".join(lines)))
    return asyncio.run(load(items, (ledger or Ledger()).publish, **options))


def said(summary: Summary) -> list[str]:
    return [str(fault) for fault in summary.faults]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"{nonsense", "line 2: not JSON: "),
        (b'"a text"', "line 2: is JSON, but not an object"),
        (b'{"data": ' + b"[" * 10_000, "line 2: not JSON: "),
        (b'{"subject": "\xff"}', "line 2: byte 14 of the line (0xff) is not UTF-8"),
        (line(order(2, subject=None)), "line 2: /subject: is missing"),
        (line(order(2, data={"order_id": "o", "total": "ten"})), "line 2: /data/total: is a text, a number is needed"),
        (line(order(2, time="30000-01-01T00:00:00Z")), "line 2: /time: "),
        (line(order(2, time="2026-04-01T00:00:00Z")), "line 2: /time: 2026-04-01T00:00:00+00:00 lies ahead of"),
        (line(order(2, subject="a@example.com")), "line 2: /subject: looks like an e-mail address"),
        (line(order(2, data={"text": "x" * 2_000_000})), "line 2: has more than the 1,000,000 bytes"),
        (line(order(2, specversion=None)), "line 2: /specversion: is missing"),
    ],
)
def test_a_bad_line_is_named_with_its_field_and_the_good_ones_beside_it_are_taken(bad: bytes, message: str) -> None:
    ledger = Ledger()
    summary = run([line(order(1)), bad, line(order(3))], ledger)
    assert (summary.taken, summary.refused) == (2, 1)
    assert [event.id for event in ledger.events.values()] == ["o-1", "o-3"]
    assert said(summary)[0].startswith(message)


def test_every_fault_of_a_line_is_said() -> None:
    assert said(run([line(order(1, data={"total": "x"}))])) == [
        "line 1: /data/order_id: is missing; /data/total: is a text, a number is needed: 'x'"
    ]


def test_an_unknown_type_is_taken() -> None:
    assert run([line(order(1, type="Lamp Lit", data={"lamp": 7}))]).taken == 1


def test_a_second_run_takes_nothing_twice() -> None:
    ledger = Ledger()
    lines = [line(order(number)) for number in range(5)]
    assert run(lines[:3], ledger).taken == 3
    second = run(lines, ledger)
    assert (second.taken, second.duplicates, second.refused) == (2, 3, 0)


def test_an_empty_file_is_said_to_be_empty() -> None:
    assert said(run([])) == ["line 1: the file is empty: nothing was taken from it"]


def test_an_empty_gzip_file_is_said_to_be_empty() -> None:
    assert said(run([gzip.compress(b"")])) == ["line 1: the file is empty: nothing was taken from it"]


def test_gzip_is_told_by_its_first_bytes() -> None:
    assert run([gzip.compress(b"\n".join(line(order(number)) for number in range(100)))]).taken == 100


def test_a_truncated_gzip_gives_the_lines_before_the_break_and_a_second_run_finishes() -> None:
    lines = [line(order(number, data={"order_id": f"{number * 7919}", "total": 1.0})) for number in range(5_000)]
    whole, ledger = gzip.compress(b"\n".join(lines)), Ledger()
    first = run([whole[: len(whole) // 2]], ledger)
    assert 0 < first.taken < 5_000
    assert said(first)[0].startswith(f"line {first.taken + 1}: gzip breaks off after line {first.taken:,}")
    second = run([whole], ledger)
    assert (second.duplicates, second.taken, second.refused) == (first.taken, 5_000 - first.taken, 0)


@pytest.mark.parametrize("at", [20, -6])
def test_of_a_damaged_gzip_nothing_is_taken_and_that_is_the_only_fault(at: int) -> None:
    whole = bytearray(gzip.compress(b"\n".join(line(order(number)) for number in range(3_000))))
    whole[at] ^= 0xFF
    summary = run([bytes(whole)])
    assert (summary.taken, summary.refused) == (0, 1)
    assert "gzip damaged at or before line" in said(summary)[0]
    assert summary.faults[0].of_file


def test_the_fault_of_a_file_is_said_first_whatever_else_is_wrong() -> None:
    broken = gzip.compress(b"bad\n" * 30 + b"\n".join(line(order(number)) for number in range(3_000)))[:-9]
    summary = run([broken])
    assert "gzip breaks off" in said(summary)[0]
    assert (len(summary.faults), summary.refused) == (DETAILED_FAULTS, 31)


def test_an_array_is_one_fault_with_the_way_out() -> None:
    summary = run([b"", b"[", b"  {", b'    "specversion": "1.0"', b"  }", b"]"])
    assert (summary.taken, summary.refused) == (0, 1)
    assert "jq -c" in said(summary)[0]


@pytest.mark.parametrize("content", [bytes(range(256)) * 20, b"PK\x03\x04\x00\n" * 50, bytes(range(1, 256))])
def test_what_is_no_text_is_one_fault(content: bytes) -> None:
    summary = run([content])
    assert (summary.taken, summary.refused) == (0, 1)
    assert "no text" in said(summary)[0]


def test_blank_lines_and_windows_line_ends_and_a_byte_order_mark_do_no_harm() -> None:
    summary = run([b"\xef\xbb\xbf" + line(order(1)) + b"\r", b"", b"  ", line(order(2)) + b"\r", b""])
    assert (summary.taken, summary.refused) == (2, 0)


def test_a_line_that_is_too_long_is_not_held_in_memory() -> None:
    class Endless(BytesIO):
        """A line of 300 MB, made while it is read."""

        left = 300_000_000

        def read1(self, size: int | None = -1, /) -> bytes:
            self.left -= 65_536
            return b"x" * 65_536 if self.left > 0 else b""

        def peek(self, size: int = 0, /) -> bytes:
            return b"xx"

    tracemalloc.start()
    items = list(read_events(Endless()))  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [str(item) for item in items] == [
        "line 1: has more than the 1,000,000 bytes an event may have: store the rest elsewhere and link it"
    ]
    assert peak < 8_000_000


def test_events_are_published_in_chunks_and_progress_is_told_after_each() -> None:
    ledger, told = Ledger(), list[tuple[int, int]]()
    run(
        [line(order(number)) for number in range(10)],
        ledger,
        chunk=4,
        progress=lambda summary: told.append((summary.lines, summary.taken)),
    )
    assert ledger.calls == [4, 4, 2]
    assert told == [(4, 4), (8, 8), (10, 10)]


def test_lines_known_to_be_done_are_skipped_without_asking_the_log() -> None:
    ledger = Ledger()
    summary = run([line(order(number)) for number in range(10)], ledger, resume=lambda number: number <= 7)
    assert (summary.skipped, summary.taken, ledger.calls) == (7, 3, [3])


def test_only_the_first_faults_are_kept_word_for_word() -> None:
    summary = run([b"x"] * 100)
    assert (len(summary.faults), summary.refused, summary.unlisted) == (DETAILED_FAULTS, 100, 100 - DETAILED_FAULTS)


def test_segment_messages_and_cloudevents_are_told_apart_line_by_line() -> None:
    ledger = Ledger()
    message = {
        "type": "track",
        "event": "Order Completed",
        "messageId": "m-1",
        "userId": "customer-9",
        "timestamp": "2026-03-01T10:00:00Z",
        "properties": {"order_id": "o-9", "total": 5},
    }
    bad = message | {"messageId": None}
    summary = run([line(order(1)), line(message), line({"batch": [message | {"messageId": "m-2"}, bad]})], ledger)
    assert [event.id for event in ledger.events.values()] == ["o-1", "m-1", "m-2"]
    assert said(summary)[0].startswith("line 3: /batch/1/messageId: is missing")


def test_history_is_given_in_the_order_of_time_with_its_own_line_numbers() -> None:
    lines = [line(order(number, time=f"2026-03-0{9 - number}T00:00:00Z")) for number in range(1, 5)]
    items = list(in_time_order(read_events(opened(b"\n".join([*lines, b"x", line(order(9, time="never"))])))))
    assert isinstance(items[0], LineFault)
    assert [item.number for item in items] == [5, 6, 4, 3, 2, 1]


def test_ids_are_made_of_the_file_name_without_gz() -> None:
    assert [file_label(name) for name in ("a/b.csv.gz", "b.csv", "-")] == ["b.csv", "b.csv", "stdin"]


def test_a_file_that_is_not_there_is_an_os_error_for_the_command_to_say() -> None:
    with pytest.raises(FileNotFoundError):
        open_input("no-such-file.ndjson")


def test_what_a_reader_gives_is_published_as_it_stands() -> None:
    event = codec.decode(line(order(1)))
    [item] = read_events(opened(codec.encode(event)))
    assert isinstance(item, Line)
    assert msgspec.json.decode(item.value)["id"] == "o-1"
