"""A what-if as one page to send round: numbers by rule, follow-ups by week, and what changes, without scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape

from engage.rules.what_if import Changed, Decided
from engage.services.what_if import WhatIf
from engage.services.what_if_health import Shift

_STYLE = """body{font:16px/1.5 sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.2rem 1rem .2rem 0;text-align:left}
td.n,th.n{text-align:right}tr:nth-child(even){background:#f6f6f6}h2{margin-top:2.5rem;border-bottom:1px solid #ccc}
.b{fill:#8aa4c8}.a{fill:#d9822b}text{font:12px sans-serif;fill:#555}"""
_LISTED = 500
_WIDTH, _HEIGHT, _BELOW = 960, 240, 24


def page(found: WhatIf, supposed: Sequence[str], made: datetime, health: Shift | None = None) -> str:
    """The whole page; ``supposed`` says in words what was supposed."""
    return "".join(_page(found, supposed, made, health))


def _page(found: WhatIf, supposed: Sequence[str], made: datetime, health: Shift | None) -> Iterator[str]:
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>What if</title><style>{_STYLE}</style>'
    yield f"<h1>What if {escape('; '.join(supposed))}?</h1>"
    yield f"<p>{found.records:,} records of the log folded twice, {made:%Y-%m-%d %H:%M} UTC. Nothing was sent.</p>"
    yield "<h2>Follow-ups by rule</h2><table><tr><th>rule<th class=n>as it is<th class=n>what if<th>difference"
    for one in sorted(found.rules, key=lambda one: (not one.differences, one.rule)):
        kinds = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in one.differences.items())
        yield f"<tr><td>{escape(one.rule)}<td class=n>{one.before:,}<td class=n>{one.after:,}<td>{escape(kinds)}"
    yield "</table>"
    if found.weeks:
        yield "<h2>Follow-ups of the rules that differ, by week</h2>" + "".join(_weeks(found.weeks))
    if health is not None:
        yield from _health(health)
    yield f"<h2>What changes</h2><p>{_of(len(found.changes))}</p>"
    yield "<table><tr><th>account<th>rule<th>about<th>difference<th>as it is<th>what if"
    for change in found.changes[:_LISTED]:
        yield _row(change)
    yield "</table></html>\n"


def _of(changes: int) -> str:
    return f"{changes:,} in all" + (f"; the first {_LISTED:,} are listed" if changes > _LISTED else "")


def _row(change: Changed) -> str:
    one = change.after or change.before
    assert one is not None, "a change is of something"
    cells = (one.account, one.rule, one.about, change.difference.replace("_", " "))
    told = "".join(f"<td>{escape(cell)}" for cell in (*cells, _words(change.before), _words(change.after)))
    return f"<tr>{told}"


def _words(one: Decided | None) -> str:
    if one is None:
        return "–"
    return f"{one.at:%Y-%m-%d %H:%M}" + (f", skipped ({one.reason})" if one.reason else "")


def _weeks(weeks: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """Two bars a week, as it is and what if, over one scale."""
    most = max(max(pair) for pair in weeks.values()) or 1
    step = _WIDTH / len(weeks)
    said = "Follow-ups asked for in each week, as it is and what if"
    yield f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _BELOW}" role="img" aria-label="{said}">'
    for number, (week, pair) in enumerate(weeks.items()):
        for side, (name, count) in enumerate(zip("ba", pair, strict=True)):
            height = _HEIGHT * count / most
            left = number * step + side * step * 0.45
            yield f'<rect class="{name}" x="{left:.1f}" y="{_HEIGHT - height:.1f}" width="{step * 0.45:.1f}" '
            yield f'height="{height:.1f}"><title>week of {week}: {count:,}</title></rect>'
    first, last = min(weeks), max(weeks)
    yield f'<text x="0" y="{_HEIGHT + 16}">{first}</text>'
    yield f'<text x="{_WIDTH}" y="{_HEIGHT + 16}" text-anchor="end">{last}; highest {most:,}</text></svg>'
    yield '<p><svg width="12" height="12"><rect class="b" width="12" height="12"/></svg> as it is '
    yield '<svg width="12" height="12"><rect class="a" width="12" height="12"/></svg> what if</p>'


def _health(health: Shift) -> Iterator[str]:
    yield f"<h2>Health</h2><p>{health.moved:,} of {health.accounts:,} scores move by a point or more, "
    yield f"by {health.mean:+.2f} points on average over all.</p>"
    yield "<table><tr><th>band<th class=n>accounts"
    for change, count in health.bands.items():
        yield f"<tr><td>{escape(change.replace('_', ' '))}<td class=n>{count:,}"
    yield "</table><table><tr><th>account<th class=n>as it is<th class=n>what if"
    for one in health.most:
        yield f"<tr><td>{escape(one.account)}<td class=n>{_score(one.before)}<td class=n>{_score(one.after)}"
    yield "</table>"


def _score(score: float | None) -> str:
    return "unknown" if score is None else f"{score:.1f}"
