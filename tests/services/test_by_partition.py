"""A process a partition: each says what it made, or why not, and none is left, however it ends."""

import multiprocessing
import os
import signal
import threading
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection

import pytest

from engage.log.contract import LogGapError
from engage.services.by_partition import PartitionUnfoldedError, by_partition
from tests.services.killing import killed_and_nobody_is_left


def squared(partition: int, end: int, told) -> tuple[int, int]:
    for position in range(1, end + 1):
        told(position)
    return partition, end**2


def failing(partition: int, end: int, told) -> None:
    if partition == 1:
        raise LogGapError("partition 1 has no record 7")
    signal.pause()


class TwoWordsError(Exception):
    """One that a process cannot send as it is."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


def failing_strangely(partition: int, end: int, told) -> None:
    raise TwoWordsError("it", "will not")


def killed(partition: int, end: int, told) -> None:
    if partition == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def interrupted(partition: int, end: int, told) -> bool:
    told(1)
    return signal.sigtimedwait({signal.SIGINT}, 20) is not None


def endless(partition: int, end: int, told) -> None:
    told(1)
    signal.pause()


@contextmanager
def another_thread():
    """So that they are no forks."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_each_is_folded_up_to_its_end_and_what_came_of_it_stands_in_order():
    far: list[tuple[int, int]] = []
    expected = [(0, 9), (1, 0), (2, 10_000), (3, 1)]
    assert by_partition(squared, [3, 0, 100, 1], lambda *told: far.append(told)) == expected
    assert far[-1] == (104, 104)
    assert far == sorted(far)
    with another_thread():
        assert by_partition(squared, [3, 0, 100, 1]) == expected


def test_what_a_partition_fails_of_is_raised_and_nobody_is_left():
    with pytest.raises(LogGapError, match="partition 1 has no record 7"):
        by_partition(failing, [1, 2])
    with pytest.raises(RuntimeError, match="TwoWordsError: it: will not"):
        by_partition(failing_strangely, [1, 2])
    assert multiprocessing.active_children() == []


def test_one_that_is_killed_is_named_and_nobody_is_left():
    with pytest.raises(PartitionUnfoldedError, match=r"partition 1 was not folded: its process ended with signal 9"):
        by_partition(killed, [1, 2])
    assert multiprocessing.active_children() == []


def test_ctrl_c_is_for_who_asked(capfd: pytest.CaptureFixture[str]):
    def progress(done: int, of: int) -> None:
        for child in multiprocessing.active_children():
            assert child.pid
            os.kill(child.pid, signal.SIGINT)

    assert by_partition(interrupted, [1, 1], progress) == [True, True]
    assert capfd.readouterr().err == ""


def test_interrupted_nobody_is_left():
    def progress(done: int, of: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        by_partition(endless, [1, 2], progress)
    assert multiprocessing.active_children() == []


def abandoned(there: Connection, partition: int, end: int, told) -> None:
    """Goes on until nobody hears of it; ``there`` is open for as long as it lives, which is 30 seconds at most."""
    signal.alarm(30)
    while True:
        told(1)


def asking_until_killed(there: Connection) -> None:
    by_partition(partial(abandoned, there), [1, 1, 1], lambda done, of: os.kill(os.getpid(), signal.SIGKILL))


def test_who_asked_is_killed_and_nobody_is_left():
    killed_and_nobody_is_left(asking_until_killed)
