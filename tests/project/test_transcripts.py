"""What docs/operating.md shows of each command is what the command says."""

from pathlib import Path

from tests.project.transcripts import PAGE, run_anew


def test_every_transcript_is_what_the_command_says(tmp_path: Path):
    page = PAGE.read_text()
    assert run_anew(page, tmp_path) == page, "run .venv/bin/python -m tests.project.transcripts, and read what changed"
