"""CONTRIBUTING.md, followed to the letter in a copy of the tree: what it promises a newcomer works."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
FAMILIES = "src/engage/events/catalogue/__init__.py"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The tree with every file of the text in it, and the one line that the text asks for."""
    folder = tmp_path_factory.mktemp("newcomer")
    for part in ("src", "streams", "projections"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for block in re.findall(r"```python\n# file: (\S+)\n(.*?)```", TEXT, re.DOTALL):
        path = folder / block[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block[1])
    families = folder / FAMILIES
    text = families.read_text()
    assert '"customers": (' in text
    text = text.replace('"customers": (', '"customers": (\n        gifts,', 1)
    families.write_text(text.replace("import (", "import (\n    gifts,", 1))
    return folder


def run(copy, *command, stdin=None):
    # The copy comes first on the path, before the tree that the environment has installed.
    environment = {**os.environ, "PYTHONPATH": f"{copy / 'src'}:{copy}", "ENGAGE_HOME": str(copy / "home")}
    done = subprocess.run(
        [sys.executable, *command], cwd=copy, env=environment, input=stdin, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tests_in_the_text_pass(copy):
    shown = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert "3 passed" in shown


def test_the_new_type_is_checked_sealed_and_folded_by_the_new_read_model(copy):
    event = json.loads(re.search(r"```json\n(.*?)```", TEXT, re.DOTALL)[1])
    answer = json.loads(run(copy, "-m", "engage", "publish", "-", "--json", stdin=json.dumps(event) + "\n"))
    assert answer["taken"] == 1
    assert b"Happy birthday" not in b"".join(file.read_bytes() for file in (copy / "home").iterdir() if file.is_file())
    status = json.loads(run(copy, "-m", "engage", "status", "--json"))
    assert "gift_cards" in json.dumps(status)


def test_the_new_rule_is_found_by_itself(copy):
    names = run(copy, "-c", "import streams; print([rule.name for rule in streams.RULES])")
    assert "gift-thanks" in names
