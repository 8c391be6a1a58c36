"""How long a thread runs before others that wait have their turn: the folding process long, who answers short."""

import errno
import os
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engage.scheduling import AT_A_STRETCH, AT_ONCE, run_for, step_aside


def slice_of(thread: int) -> int:
    """The nanoseconds that it asks for, as Linux tells them to those who debug its scheduler."""
    told = Path(f"/proc/self/task/{thread}/sched")
    found = re.search(r"se\.slice\s*:\s*(\d+)", told.read_text()) if told.exists() else None
    if found is None:
        pytest.skip("this system does not tell")
    return int(found[1])


@pytest.mark.parametrize("seconds", [AT_A_STRETCH, AT_ONCE])
def test_a_thread_and_those_that_it_starts_run_for_so_long_and_stay_as_nice_as_they_were(seconds: float):
    found: list[tuple[bool, int, int]] = []

    def look(said: bool) -> None:
        found.append((said, slice_of(threading.get_native_id()), os.getpriority(os.PRIO_PROCESS, 0)))

    def run() -> None:
        said = run_for(seconds)
        look(said)
        started = threading.Thread(target=look, args=(said,))
        started.start()
        started.join()

    slice_of(threading.get_native_id())
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [(True, round(seconds * 1e9), os.getpriority(os.PRIO_PROCESS, 0))] * 2


def test_where_threads_are_scheduled_otherwise_nothing_is_said():
    said: list[bool] = []

    def run() -> None:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        said.append(run_for(AT_ONCE))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert said == [False]


def test_where_the_c_library_does_not_say_how_threads_are_scheduled_nothing_is_said(monkeypatch: pytest.MonkeyPatch):
    def as_musl(pid: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "sched_getscheduler", as_musl)
    assert not run_for(AT_ONCE)


@pytest.mark.skipif(sys.platform != "linux", reason="no other system has it")
def test_who_steps_aside_does_so_for_itself_alone():
    def policy() -> int:
        return os.sched_getscheduler(threading.get_native_id())

    before = policy()
    with ThreadPoolExecutor(1, initializer=step_aside) as aside, ThreadPoolExecutor(1) as usual:
        assert aside.submit(policy).result() == os.SCHED_IDLE
        assert usual.submit(policy).result() == before
    assert policy() == before
