"""The engine compiled and as plain Python: the same to the byte, and never compiled of other sources than there are."""

import os
import runpy
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.streams_load import PARTITIONS, lived
from engage import compiled
from engage.events import codec
from engage.log.partitioning import partition_of
from engage.rules.engine import Engine
from engage.services.partition_runner import activated
from streams import RULES
from tests.rules.told_beside import Told, told
from tests.servers import PROJECT
from tests.test_equivalence import START, deliveries

PLAIN = os.environ | {compiled.PURE: "1"}
needs_compiled = pytest.mark.skipif(
    not compiled.found(), reason=f"the engine runs {compiled.told()}, so there is nothing to hold against it"
)


@pytest.fixture(scope="module")
def beside():
    """Asks a process in which the sources run what it makes of records."""
    command = [sys.executable, "-m", "tests.rules.told_beside"]
    with subprocess.Popen(command, cwd=PROJECT, env=PLAIN, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:

        def asked(values):
            process.stdin.write(msgspec.json.encode(values) + b"\n")
            process.stdin.flush()
            return msgspec.json.decode(process.stdout.readline(), type=Told)

        assert b"plain Python" in process.stdout.readline()
        yield asked
        process.stdin.close()


def recorded(batches):
    """A history as it stands on the log, behind the activation of every rule."""
    events = [activated(one, 0, 0, START) for one in Engine(0, RULES).activations()]
    for event in events:
        event.recorded = START
    for moment, batch in batches:
        for event in batch:
            event.recorded = moment
            events.append(event)
    return [codec.encode(event) for event in events]


@needs_compiled
@settings(max_examples=25)
@given(st.data())
def test_any_history_is_decided_on_compiled_as_by_the_sources(beside, data):
    values = recorded(data.draw(deliveries()))
    assert told(values) == beside(values)


@needs_compiled
def test_the_demos_events_are_decided_on_compiled_as_by_the_sources(beside):
    values = [
        codec.encode(event)
        for event in lived(12_000)
        if event.subject == "partition:0" or partition_of(event.subject, PARTITIONS) == 0
    ]
    ours = told(values)
    assert len(ours.decisions) > 1_000
    assert ours == beside(values)


def test_the_tests_of_timers_policy_and_parking_hold_for_the_sources_too():
    files = [f"tests/rules/test_{name}.py" for name in ("timers", "policy", "parking", "deferral", "activation")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=PROJECT, env=PLAIN, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def copy(tmp_path):
    """The package as it stands here, in a folder of its own, with what is compiled of it."""
    shutil.copytree(PROJECT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "scripts").mkdir()
    shutil.copy(PROJECT / "scripts/compile_core.py", tmp_path / "scripts")
    return tmp_path


def file_of(module, copy):
    script = f"import {module} as module; print(module.__file__)"
    command = [sys.executable, "-c", script]
    env = os.environ | {"PYTHONPATH": str(copy / "src")}
    return Path(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip())


@needs_compiled
@pytest.mark.parametrize("changed", ["policy.py", "cells.pxd"])
def test_what_was_compiled_of_other_sources_is_not_run(copy, changed):
    assert file_of("engage.rules.engine", copy).suffix != ".py"
    with (copy / "src/engage/rules" / changed).open("a") as file:
        file.write("# changed\n")
    assert file_of("engage.rules.engine", copy) == copy / "src/engage/rules/engine.py"


def test_without_a_compiler_it_is_said_that_the_sources_run(copy):
    with (copy / "src/engage/rules/policy.py").open("a") as file:
        file.write("# changed\n")
    command = [sys.executable, copy / "scripts/compile_core.py"]
    done = subprocess.run(command, env=os.environ | {"CC": "no-such-compiler"}, capture_output=True, text=True)
    assert done.returncode == 0
    assert "setup: the engine runs as plain Python, up to a quarter slower" in done.stderr
    assert "no-such-compiler" in done.stderr


@pytest.fixture
def script(copy, monkeypatch):
    """The script of that copy; what it would compile stands there at once."""
    script = runpy.run_path(str(copy / "scripts/compile_core.py"))

    def build(names):
        for name in names:
            made = Path("lib", *name.split(".")[:-1], name.rpartition(".")[2] + EXTENSION_SUFFIXES[0])
            made.parent.mkdir(parents=True, exist_ok=True)
            made.write_text("compiled anew")

    monkeypatch.setitem(script["main"].__globals__, "_build", build)
    return script


def cell_in(folder):
    return folder / f"cell{EXTENSION_SUFFIXES[0]}"


def test_compiling_leaves_alone_what_other_pythons_and_running_processes_run(copy, script):
    folder = copy / "src/engage/_compiled"
    shutil.rmtree(folder, ignore_errors=True)
    current = folder / script["_compiled"]().digest()
    for one in (current, folder / "of-older-sources", folder / "long-gone"):
        one.mkdir(parents=True)
        cell_in(one).write_text("compiled before")
    others = [folder / "of-older-sources" / "cell.another-python.so", current / "cell.another-python.so"]
    for one in others:
        one.write_text("another's")
    with cell_in(current).open() as running:
        script["compile_core"](folder)
        assert running.read() == "compiled before"
    assert cell_in(current).read_text() == "compiled anew"
    assert sorted(folder.glob("*/cell.*")) == sorted([cell_in(current), *others])
    assert not (folder / "long-gone").exists()


def test_a_changed_way_of_compiling_is_heeded_though_the_sources_are_the_same(copy, script):
    folder = copy / "src/engage/_compiled"
    script["compile_core"](folder)
    cell = cell_in(folder / script["_compiled"]().digest())
    cell.write_text("as it was")
    script["main"]()
    assert cell.read_text() == "as it was"
    later = cell.stat().st_mtime + 10
    os.utime(copy / "scripts/compile_core.py", (later, later))
    script["main"]()
    assert cell.read_text() == "compiled anew"


def test_an_installation_of_which_nothing_is_compiled_needs_no_word_on_types(copy):
    shutil.rmtree(copy / "src/engage/_compiled", ignore_errors=True)
    for file in (copy / "src/engage/rules").glob("*.pxd"):
        file.unlink()
    assert file_of("engage.rules.engine", copy) == copy / "src/engage/rules/engine.py"
