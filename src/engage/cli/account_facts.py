"""What ``engage account`` says of an account beside its health: a line for each thing that is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from engage.cli.output import moment
from engage.services.reading import Account

_CLOSED = frozenset({"resolved", "settled", "ended", "lapsed"})


def facts(account: Account) -> list[tuple[str, str]]:
    """What it is about and what there is to say of it, only where there is something."""
    lines: dict[str, Callable[[Any], Iterable[str | None]]] = {
        "profile": _profile,
        "account_satisfaction": _satisfaction,
        "engagement": _engagement,
        "interests": lambda row: [f"{taste.category} {taste.share:.0%}" for taste in row["tastes"][:5]],
        "tickets": lambda rows: _counted(rows, "status"),
        "loyalty": _loyalty,
        "partner_scorecard": _scorecard,
        "agreements": lambda rows: _counted(rows, "status"),
        "disputes": lambda rows: _counted(rows, "stage"),
        "identities": lambda rows: [f"was {row['visitor']}" for row in rows],
    }
    found = []
    for name, words in lines.items():
        if known := account.rows.get(name):
            told = ", ".join(filter(None, words(known)))
            if told:
                found.append((name.rpartition("_")[2], told))
    return found


def _profile(row: Any) -> list[str | None]:
    told = [row[name] for name in ("country", "language", "industry", "plan")]
    return [
        *told,
        row["manager"] and f"looked after by {row['manager']}",
        row["last_interaction"] and f"{row['interactions']} interactions, the last {moment(row['last_interaction'])}",
    ]


def _satisfaction(row: Any) -> list[str | None]:
    return [
        None if row["nps"] is None else f"NPS {row['nps']:.0f}",
        None if row["csat"] is None else f"CSAT {row['csat']:.0f}",
        None if row["review"] is None else f"{row['review']:.0f} stars",
        f"{row['answers']} answers to {row['asked']} surveys",
    ]


def _engagement(rows: Any) -> list[str]:
    return [f"{row['channel']} {row['responded']} of {row['reached']}" for row in rows]


def _loyalty(row: Any) -> list[str | None]:
    return [
        row["tier"] and f"tier {row['tier']}",
        None if row["balance"] is None else f"{row['balance']:,} points",
        row["rfm"] and f"RFM {row['rfm']}",
        row["orders"] and f"{row['orders']} orders",
    ]


def _scorecard(row: Any) -> list[str | None]:
    share, trust = row["on_time_in_full_share"], row["trust"]
    return [
        None if share is None else f"{share:.0%} of {row['deliveries']} deliveries on time in full",
        None if row["defects_ppm"] is None else f"{row['defects_ppm']:,.0f} defects in a million",
        None if trust is None else f"trust {trust:.0f}",
        row["breaches"] and f"{row['breaches']} breaches",
    ]


def _counted(rows: Any, column: str) -> list[str]:
    running = [row for row in rows if row[column] not in _CLOSED]
    counts: dict[str, int] = {}
    for row in running:
        counts[row[column]] = counts.get(row[column], 0) + 1
    closed = len(rows) - len(running)
    return [f"{count} {name.replace('_', ' ')}" for name, count in counts.items()] + (
        [f"{closed} over"] if closed else []
    )
