"""How Python itself is set up where a process folds or decides all the time: its collector of garbage, its threads."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator

GC_THRESHOLD = 50_000
_GC_ANSWERING = 5_000, 1, 600
_GC_SELDOM = 100
_SWITCH_SECONDS = 0.0005


def tune(threshold: int = GC_THRESHOLD) -> None:
    """Set the interpreter up for a process that works through events, or is to start quickly.

    Its garbage collector looks for cycles among what a batch makes, and finds none: at the interpreter's own threshold
    that was an eighth of the engine's time, a fifth of the projector's and of the start of a command. To look through
    everything holds up whoever is to be answered for a tenth of a second, so it is done a tenth as often. And a thread
    would wait 5 ms, each time it is to run, for another one at work: a worker's reader of Kafka, or who commits while
    others are taken.

    ``threshold``: objects that can be part of a cycle, and are more than at the last look, before it is looked again.
    """
    gc.set_threshold(threshold, gc.get_threshold()[1], _GC_SELDOM)
    sys.setswitchinterval(_SWITCH_SECONDS)


def freeze() -> None:
    """What is loaded by now stays: it is not looked through for garbage, which takes half a second with many cells.

    What had stayed after an earlier call, and is of no use any more, goes.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def answer() -> None:
    """``freeze``, and look for garbage in small steps: from here on others wait for what this process answers.

    At the threshold of ``tune`` a step takes 15 ms, and 90 ms where it takes up those before it. Each second step does,
    so that what it takes up is little: where each sixth of 10,000 objects did, that took 13 to 20 ms, now 4.
    """
    freeze()
    gc.set_threshold(*_GC_ANSWERING)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage meanwhile: for a second's work that makes a million objects and drops them all again.

    To look through what it still holds was a twelfth of the projector's time with a long history.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def give_back() -> None:
    """Give the system back what is free by now: the C library keeps most of it for later, 50 MB once a load is done."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
