"""A manager's portfolio counts what waits and what is near, on its day, and moves with the account."""

from typing import Any

import pytest

from engage.events.catalogue.account import ManagerAssigned
from engage.events.catalogue.agreements import AgreementEnded, AgreementRenewed, AgreementSigned
from engage.events.catalogue.commerce import OrderCompleted, OrderRefunded
from engage.events.catalogue.disputes import DisputeOpened, DisputeSettled
from engage.events.catalogue.follow_up import (
    Cause,
    FollowUpCompleted,
    FollowUpDismissed,
    FollowUpExpired,
    FollowUpOpened,
    FollowUpRequested,
)
from engage.events.catalogue.health import HealthBandCrossed
from engage.events.catalogue.profile import AccountIdentified, AccountKind
from engage.events.envelope import Event
from engage.testing.events import happened, moment
from engage.testing.projections import given
from projections.shared.managed_accounts import managed_accounts
from projections.shared.portfolio import portfolio

ANA, BO = "manager ana", "manager bo"


def identified(at: str, manager: str | None = "ana", kind: AccountKind | None = None, **more: Any) -> Event[Any]:
    return happened(AccountIdentified(manager=manager, kind=kind), at=at, **more)


def requested(at: str, due: str, follow_up: str = "f-1") -> Event[Any]:
    data = FollowUpRequested(
        rule="win-back",
        rule_version=1,
        about="lapse",
        what="win back",
        why="silence",
        purpose="marketing",
        priority="normal",
        channels=("manager",),
        matter="m",
        due=moment(due),
        expires=moment("2027-01-01"),
        cause=Cause(id="e", source="test", partition=0, offset=0),
        decided_at=0,
    )
    return happened(data, at=at, id=follow_up)


def opened(at: str, due: str, follow_up: str = "f-1") -> Event[Any]:
    data = FollowUpOpened(
        follow_up_id=follow_up,
        rule="by hand",
        about="call",
        what="call them",
        why="they asked",
        purpose="service",
        priority="high",
        channels=("manager",),
        due=moment(due),
        expires=moment("2027-01-01"),
    )
    return happened(data, at=at)


def order(at: str, order_id: str = "o-1", total: float = 40, **more: Any) -> Event[Any]:
    return happened(OrderCompleted(order_id=order_id, total=total, currency="EUR"), at=at, **more)


def test_accounts_are_counted_by_manager_kind_and_band() -> None:
    fell = HealthBandCrossed(before="steady", band="slipping", score=30, component="purchasing", value=20)
    told = given(
        portfolio,
        identified("2026-01-01", kind="customer"),
        identified("2026-01-01", kind="supplier", subject="acc-2"),
        order("2026-01-01", subject="acc-3"),
        happened(fell, at="2026-01-05"),
    )
    told.then(
        ANA,
        manager="ana",
        accounts=2,
        kinds={"customer": 1, "supplier": 1},
        bands={"slipping": 1, "unknown": 1},
        kinds_and_bands={"customer|slipping": 1, "supplier|unknown": 1},
    )
    told.then("nobody", manager=None, accounts=1, kinds={"unknown": 1}, value={"EUR": 40.0})
    assert given(portfolio, identified("2026-01-01", "nobody")).rows["manager nobody"].manager == "nobody"


def test_an_account_takes_all_that_is_its_own_to_its_next_manager() -> None:
    told = given(portfolio, identified("2026-01-01"), order("2026-01-02"), requested("2026-01-03", "2026-01-05"))
    told.then(ANA, accounts=1, open_follow_ups=1, value={"EUR": 40.0})
    told.when(happened(ManagerAssigned(manager="bo"), at="2026-01-04")).then_no_row(ANA)
    told.then(BO, accounts=1, open_follow_ups=1, value={"EUR": 40.0})
    told.when(identified("2026-01-03", "ana", recorded="2026-01-06")).then(BO, accounts=1)


def test_a_follow_up_is_overdue_from_its_due_moment_on_until_it_is_closed() -> None:
    told = given(portfolio, identified("2026-01-01"), requested("2026-01-02", "2026-01-05"))
    told.when(opened("2026-01-02T00:01", "2026-01-05")).then(ANA, open_follow_ups=1, overdue_follow_ups=0)
    told.until("2026-01-05").then(ANA, overdue_follow_ups=0)
    told.until("2026-01-05T00:01").then(ANA, open_follow_ups=1, overdue_follow_ups=1)
    told.when(happened(FollowUpCompleted(follow_up_id="f-1", outcome="reached"), at="2026-01-06"))
    told.then(ANA, open_follow_ups=0, overdue_follow_ups=0)


@pytest.mark.parametrize(
    "closing", [FollowUpExpired(follow_up_id="f-1"), FollowUpDismissed(follow_up_id="f-1", reason="no")]
)
def test_what_is_closed_stays_closed_when_its_opening_is_told_late(closing: Any) -> None:
    told = given(portfolio, identified("2026-01-01"), requested("2026-01-02", "2026-01-05"))
    told.when(happened(closing, at="2026-01-02"), opened("2026-01-03", "2026-01-05")).then(ANA, open_follow_ups=0)


def test_disputes_are_open_until_they_are_settled() -> None:
    told = given(
        portfolio, identified("2026-01-01"), happened(DisputeOpened(dispute_id="d", topic="price"), at="2026-01-02")
    )
    told.then(ANA, open_disputes=1)
    told.when(happened(DisputeSettled(dispute_id="d"), at="2026-01-03")).then(ANA, open_disputes=0)


def test_an_agreement_is_to_be_renewed_in_its_last_ninety_days() -> None:
    signed = AgreementSigned(agreement_id="a", title="supply", starts=moment("2026-01-01"), ends=moment("2026-07-01"))
    told = given(portfolio, identified("2026-01-01"), happened(signed, at="2026-01-01")).then(ANA, renewals=0)
    told.until("2026-04-01T23:59").then(ANA, renewals=0).until("2026-04-02").then(ANA, renewals=1)
    renewed = AgreementRenewed(agreement_id="a", ends=moment("2027-07-01"))
    told.when(happened(renewed, at="2026-05-01")).then(ANA, renewals=0).until("2027-06-01").then(ANA, renewals=1)
    told.until("2027-07-01").then(ANA, renewals=0)
    told.when(happened(AgreementEnded(agreement_id="a"), at="2027-07-02")).then(ANA, renewals=0)


def test_value_is_that_of_twelve_months_less_what_went_back() -> None:
    told = given(portfolio, identified("2026-01-01"), order("2026-01-15"), order("2026-03-15", "o-2", 25))
    told.when(happened(OrderRefunded(order_id="o-2", total=5, currency="EUR"), at="2026-04-01"))
    told.then(ANA, value={"EUR": 60.0}).until("2026-12-31").then(ANA, value={"EUR": 60.0})
    told.until("2027-01-01").then(ANA, value={"EUR": 20.0}).until("2027-03-01").then(ANA, value={})


def test_an_order_that_is_told_years_late_is_worth_nothing_today() -> None:
    late = happened(OrderCompleted(order_id="o", total=10), at="2020-01-01", recorded="2026-01-01")
    row = given(managed_accounts, late).rows["acc-1"]
    assert (row.value_cents, row.months, row.next_at) == ({}, {}, None)
