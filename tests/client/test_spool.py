"""The spool keeps what it acknowledged, in order, whatever happens to the process, and says when it is full."""

from __future__ import annotations

from pathlib import Path

import pytest

from engage.client import Spool, SpoolError, SpoolFullError, spool


def lines(first: int, last: int) -> bytes:
    return b"".join(b'{"id":"%d"}\n' % number for number in range(first, last))


def sent(kept: Spool, most: int = 3) -> list[bytes]:
    """Everything that waits, sent in small batches."""
    found = []
    while batch := kept.next(1_000, most):
        found += batch
        kept.done(batch)
    return found


def test_what_is_kept_is_sent_in_order_across_restarts(tmp_path: Path):
    first = Spool(tmp_path)
    first.append(lines(0, 5))
    first.done(first.next(1_000, 2))
    first.close()
    second = Spool(tmp_path)
    second.append(lines(5, 7))
    assert b"\n".join(sent(second)) + b"\n" == lines(2, 7)
    assert second.waiting == 0
    second.close()


def test_what_was_sent_and_not_noted_is_sent_again(tmp_path: Path):
    first = Spool(tmp_path)
    first.append(lines(0, 3))
    assert len(first.next(1_000, 3)) == 3
    first.close()
    second = Spool(tmp_path)
    assert len(sent(second)) == 3
    second.close()


def test_half_a_line_that_a_crash_left_is_cut_off(tmp_path: Path):
    first = Spool(tmp_path)
    first.append(lines(0, 2))
    first.close()
    [file] = tmp_path.glob("*.ndjson")
    file.write_bytes(file.read_bytes() + b'{"id":"ha')
    second = Spool(tmp_path)
    second.append(lines(2, 3))
    assert b"\n".join(sent(second)) + b"\n" == lines(0, 3)
    second.close()


def test_files_that_were_sent_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spool, "_SEGMENT_BYTES", 40)
    kept = Spool(tmp_path)
    for number in range(50):
        kept.append(lines(number, number + 1))
    assert len(list(tmp_path.glob("*.ndjson"))) > 10
    kept.done(kept.next(1_000, 2))
    kept.close()
    again = Spool(tmp_path)
    assert b"\n".join(sent(again)) + b"\n" == lines(2, 50)
    assert len(list(tmp_path.glob("*.ndjson"))) == 1
    again.close()


def test_a_line_that_is_longer_than_a_batch_goes_alone(tmp_path: Path):
    kept = Spool(tmp_path)
    kept.append(b"x" * 50 + b"\n" + lines(0, 1))
    assert [len(line) for line in kept.next(10, 9)] == [50]
    kept.close()


def test_a_full_spool_says_so_and_keeps_nothing_of_what_is_too_much(tmp_path: Path):
    kept = Spool(tmp_path, most_bytes=30)
    kept.append(lines(0, 2))
    with pytest.raises(SpoolFullError, match=r"wait in .* for engage, and 30 may"):
        kept.append(lines(2, 4))
    assert b"\n".join(sent(kept)) + b"\n" == lines(0, 2)
    kept.append(lines(2, 4))
    kept.close()


def test_a_spool_has_one_owner(tmp_path: Path):
    kept = Spool(tmp_path)
    with pytest.raises(SpoolError, match="another process's spool"):
        Spool(tmp_path)
    kept.close()
    Spool(tmp_path).close()


def test_a_note_of_another_spool_is_refused(tmp_path: Path):
    Spool(tmp_path).close()
    (tmp_path / "sent").write_bytes(b"%020d" % 77)
    with pytest.raises(SpoolError, match="remove `sent`"):
        Spool(tmp_path)
