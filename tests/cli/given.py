"""What the tests of the command line start from: files to publish, and the command itself as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engage.services.owner import find_owner

ENGAGE = Path(sys.executable).parent / "engage"
PATIENCE = 60.0


def order(number: int = 1, subject: str = "customer-17", **changes: Any) -> dict[str, Any]:
    """A CloudEvents order, with ``changes`` of its attributes."""
    return {
        "specversion": "1.0",
        "id": f"order-{number}",
        "source": "urn:shop",
        "type": "Order Completed",
        "subject": subject,
        "time": "2026-03-01T10:00:00Z",
        "data": {"order_id": f"order-{number}", "total": 59.9, "currency": "EUR"},
    } | changes


def lines(*items: dict[str, Any] | str) -> str:
    """JSON lines; texts stand as they are."""
    return "".join((item if isinstance(item, str) else json.dumps(item)) + "\n" for item in items)


def engage(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run([ENGAGE, *arguments], input=stdin, capture_output=True, text=True, timeout=PATIENCE)


@contextmanager
def running(home: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that serves, and its URL; it is ended at the end of the block if the test has not done so."""
    with subprocess.Popen([ENGAGE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while not ((owner := find_owner(home)) and owner.url and owner.pid == process.pid):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline, "it does not serve"
                time.sleep(0.05)
            yield process, owner.url
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
