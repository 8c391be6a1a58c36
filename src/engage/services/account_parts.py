"""What the read models know of one account, beside its health: each its row, or its rows, by the model's name.

A read model joins by a line here. What a fold only keeps for itself is left out; ``/v1/views`` shows all of it.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from engage.store.asking import Answers
from engage.store.reader import ViewMissingError
from engage.store.views import ViewStore
from engage.views.asking import Condition, Order, Question
from engage.views.projection import ReadModel
from projections.customers.account_satisfaction import account_satisfaction
from projections.customers.engagement import engagement
from projections.customers.interests import interests
from projections.customers.loyalty import loyalty
from projections.customers.tickets import tickets
from projections.partners.agreements import agreements
from projections.partners.disputes import disputes
from projections.partners.partner_scorecard import partner_scorecard
from projections.shared.identities import identities
from projections.shared.profile import profile

MOST_ROWS = 50
"""Of a model with several rows an account: the latest of them."""

Row = dict[str, Any]


class Part(Struct, frozen=True):
    """A read model of which an account has a row or, the ``latest`` by a column first, several."""

    model: ReadModel[Any]
    latest: str | None = None
    without: tuple[str, ...] = ()


PARTS = (
    Part(profile, without=("told_at",)),
    Part(account_satisfaction),
    Part(engagement, "last_reached", ("account_channel", "things", "reached_sum", "responded_sum", "recent")),
    Part(interests, without=("whole",)),
    Part(tickets, "opened_at", ("account_ticket", "resolutions")),
    Part(loyalty, without=("tier_told_at", "lots", "lapsed", "latest_orders")),
    Part(
        partner_scorecard,
        without=("answer_hours", "deliveries_lately", "invoices_lately", "disputes_unsettled", "evidence"),
    ),
    Part(agreements, "status_since", ("agreement", "agreed_last", "invoices_seen")),
    Part(disputes, "opened_at", ("dispute",)),
    Part(identities, "linked_at"),
)


class Known(Struct, frozen=True):
    """Rows by the read model's name, null or none where there is nothing; ``not_yet`` are models still being folded."""

    rows: dict[str, Row | list[Row] | None]
    not_yet: list[str]


class AccountParts:
    """Reads the parts of accounts from ``store``; blocking."""

    def __init__(self, store: ViewStore) -> None:
        self._answers = Answers(store)

    def of(self, account: str) -> Known:
        """All that is known of an account."""
        rows: dict[str, Row | list[Row] | None] = {}
        not_yet = []
        for part in PARTS:
            try:
                rows[part.model.name] = self._read(part, account)
            except ViewMissingError:
                not_yet.append(part.model.name)
        return Known(rows, not_yet)

    def _read(self, part: Part, account: str) -> Row | list[Row] | None:
        names = tuple(
            name for name in part.model.row.__struct_fields__ if name not in part.without and name != "account"
        )
        ours = (Condition("account", "eq", account),)
        order = () if part.latest is None else (Order(part.latest, descending=True),)
        found = self._answers.page(part.model, Question(names, ours, order, limit=MOST_ROWS))
        rows = [dict(zip(names, values, strict=True)) for values, _ in found]
        return rows if part.latest is not None else next(iter(rows), None)
