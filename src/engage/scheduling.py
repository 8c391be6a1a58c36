"""How soon a process gets a core that others are busy on: Linux (6.12 and later) lets each thread say how long it runs.

Who asks to run for shorter goes first when it wakes, and everybody still gets the share that ``nice`` gives: a process
that folds at a stretch holds up one that answers by milliseconds otherwise, however nice it is. It needs no privilege,
and there is no function for it in Python or in the C library of most systems.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys

_CALLS = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
"""The number of ``sched_setattr`` by machine."""
AT_A_STRETCH, AT_ONCE = 0.1, 0.0001
"""Seconds: the longest and the shortest that Linux takes."""


class _Attributes(ctypes.Structure):
    """``struct sched_attr`` of Linux, in its first size."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def run_for(seconds: float) -> bool:
    """Let this thread, and those that it starts, run for so long where others wait for the core as well.

    False where that cannot be said, which changes nothing: on other systems, or for a thread that is scheduled
    otherwise than usual. An older Linux takes it and does not mind.
    """
    number = _CALLS.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return False
    try:
        if os.sched_getscheduler(0) != os.SCHED_OTHER:
            return False
    except OSError:  # musl, the C library of Alpine, does not ask the system
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    wanted = _Attributes(size=ctypes.sizeof(_Attributes), nice=nice, runtime=int(seconds * 1e9))
    return int(ctypes.CDLL(None).syscall(number, 0, ctypes.byref(wanted), 0)) == 0


def step_aside() -> None:
    """Let this thread run only where nobody else wants the core, for good: to go back takes a privilege.

    However nice a thread is, Linux takes the core it runs on for a busy one, and has all others that wake share the
    rest; that of one that has stepped aside it takes for free. No other system has it.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # musl, or where a container may not: it stays as it is
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
