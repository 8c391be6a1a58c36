"""The pages that are written from the code say what the code says, and the README's files exist."""

import re
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


def rendering():
    loader = SourceFileLoader("render_docs", str(PROJECT / "scripts/render-docs"))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["rules.md", "events.md", "views.md", "command-line.md"])
def test_the_page_is_what_the_code_says(name):
    assert (PROJECT / "docs" / name).read_text() == rendering().PAGES[name](), (
        "run .venv/bin/python scripts/render-docs"
    )


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (PROJECT / "docs").iterdir())]
)
def test_links_lead_somewhere(page):
    text = (PROJECT / page).read_text()
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", text):
        assert ((PROJECT / page).parent / target).exists(), target
