"""How far everything has come, as it goes on."""

import json
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from msgspec import structs

from engage.cli.status import _lines
from engage.services.status import PartitionStatus, Status, ViewStatus
from tests.cli.given import ENGAGE, PATIENCE, engage, lines, order

NOW = datetime(2026, 3, 1, tzinfo=UTC)
THEN = Status(
    generation="the log",
    log=[PartitionStatus(0, 1_000, NOW)],
    views=[ViewStatus("timeline", 1, [400], 600, 0), ViewStatus("profile", 1, [400], 600, 0)],
    desk_behind=0,
    relay_waiting=0,
    next_wake=None,
    dead_letters=0,
    files={},
    owner=None,
)


def test_rates_and_what_is_left_are_told_from_what_was_before():
    views = [ViewStatus("timeline", 1, [600], 2_400, 0), ViewStatus("profile", 1, [400], 2_600, 0)]
    now = structs.replace(THEN, log=[PartitionStatus(0, 3_000, NOW)], views=views)
    page = "\n".join(_lines(now, (10.0, THEN)))
    assert "3,000  2026-03-01 00:00        200" in page
    [timeline] = [line.split() for line in page.splitlines() if line.startswith("timeline")]
    assert timeline == ["timeline", "1", "2,400", "0", "20", "2", "min"]
    [profile] = [line.split() for line in page.splitlines() if line.startswith("profile")]
    assert profile == ["profile", "1", "2,600", "0", "0", "stands"]
    assert "records/s" not in "\n".join(_lines(now))


def test_where_a_page_is_too_long_for_the_terminal_only_what_waits_is_named():
    views = [
        ViewStatus("timeline", 1, [1_000], 0, 0),
        ViewStatus("profile", 1, [400], 600, 0),
        ViewStatus("loyalty", 1, [1_000], 0, 2),
    ]
    page = _lines(structs.replace(THEN, views=views, disk_free=75 * 10**9, disk_bytes=270 * 10**9), briefly=True)
    assert [line.split()[:2] for line in page[6:9]] == [["profile", "1"], ["loyalty", "1"], ["1", "keep"]]
    assert "disk              75.0 of 270.0 GB are free" in page


def test_it_is_watched_until_it_is_interrupted(home: Path):
    assert engage("publish", "-", stdin=lines(order())).returncode == 0
    with subprocess.Popen([str(ENGAGE), "status", "--watch", "--json"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            first, second = (json.loads(process.stdout.readline()) for _ in range(2))
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
    assert first["generation"] == second["generation"]
