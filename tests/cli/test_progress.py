"""Progress that no terminal shows is a line for each tenth, with what is left, stage after stage."""

import pytest

from engage.cli.progress import Progress


def test_a_line_for_each_tenth_and_each_stage(capsys: pytest.CaptureFixture[str]):
    with Progress("timeline") as bar:
        bar.records(5, 100, 50.0)
        bar.records(50, 100, 50.0)
        bar.records(55, 100, 50.0)
        bar.stage("timeline, proving")
        bar.records(20, 100, 0.5)
        bar.stage("timeline, proving")
        bar.records(25, 100, 0.5)
    assert capsys.readouterr().err.splitlines() == [
        "timeline: 50 %, 50 records/s, 0 min left",
        "timeline, proving: 20 %, 0 records/s, 1 min left",
    ]
