"""We pay in time because we are warned before, and who owes us is asked kindly, then firmly."""

from engage.events.catalogue.invoices import (
    InvoiceCancelled,
    InvoiceIssued,
    InvoiceOverdue,
    InvoicePaid,
    PaymentDisputed,
)
from engage.testing.events import happened, moment
from engage.testing.rules import given, requested, skipped
from streams.partners.invoice_overdue import rule

WARN, PAY = "pay an invoice in time", "pay an overdue invoice"
REMIND, SPEAK = "remind of an invoice", "speak about an overdue invoice"


def issued(at="2026-03-01", direction="receivable", due="2026-03-31", invoice="i-1", total=1234.5, **more):
    data = InvoiceIssued(invoice_id=invoice, direction=direction, total=total, currency="EUR", due=moment(due))
    return happened(data, at=at, **more)


def paid(at, outstanding=0.0, **more):
    fields = {name: more.pop(name) for name in ("direction", "due") if name in more}
    return happened(InvoicePaid(invoice_id="i-1", paid=1.0, outstanding=outstanding, **fields), at=at, **more)


def test_who_owes_us_is_reminded_by_mail_after_a_week_and_called_after_thirty_days():
    (
        given(rule, issued())
        .when(time="2026-04-06T23:59")
        .then_nothing()
        .when(time="2026-04-07")
        .then(
            requested(
                REMIND,
                about="i-1",
                purpose="partnership",
                priority="normal",
                channels=["email"],
                why="They owe us invoice i-1 over 1,234.50 EUR since 2026-03-31, for 7 days: "
                "ask whether anything is in the way.",
                expires="2026-04-30",
            )
        )
        .when(time="2026-04-29T23:59")
        .then_nothing()
        .when(time="2026-04-30")
        .then(requested(SPEAK, about="i-1", priority="high", channels=["manager"]))
        .when(time="2026-12-31")
        .then_nothing()
    )


def test_we_are_warned_three_days_before_we_have_to_pay_and_on_the_day():
    (
        given(rule, issued(direction="payable"))
        .when(time="2026-03-27T23:59")
        .then_nothing()
        .when(time="2026-03-28")
        .then(
            requested(
                WARN,
                channels=["manager"],
                why="We have to pay invoice i-1 over 1,234.50 EUR by 2026-03-31 and have not yet: "
                "late money costs us their trust.",
                expires="2026-03-31",
            )
        )
        .when(time="2026-03-31")
        .then(requested(PAY, priority="high", channels=["manager"]))
        .when(time="2026-12-31")
        .then_nothing()
    )


def test_a_paid_cancelled_or_disputed_invoice_is_not_asked_for():
    for end in (
        paid("2026-03-20"),
        happened(InvoiceCancelled(invoice_id="i-1"), at="2026-03-20"),
        happened(PaymentDisputed(invoice_id="i-1"), at="2026-03-20"),
    ):
        given(rule, issued(), end).when(time="2026-12-31").then_nothing()
        late = issued(recorded="2026-03-21")
        given(rule, end, late).when(time="2026-12-31").then_nothing()


def test_an_invoice_paid_after_the_reminder_is_spoken_of_no_more():
    (
        given(rule, issued())
        .when(time="2026-04-07")
        .then(requested(REMIND))
        .when(paid("2026-04-10"), time="2026-12-31")
        .then_nothing()
    )


def test_a_part_that_is_paid_leaves_the_rest_to_be_asked_for():
    (
        given(rule, issued(), paid("2026-03-20", outstanding=200.0), paid("2026-03-19", 700.0, recorded="2026-03-21"))
        .when(time="2026-04-07")
        .then(
            requested(
                REMIND,
                why="They owe us invoice i-1 over 200.00 EUR since 2026-03-31, for 7 days: "
                "ask whether anything is in the way.",
            )
        )
    )
    part = paid("2026-03-20", 200.0, direction="receivable", due=moment("2026-03-31"))
    given(rule, part).when(time="2026-04-07").then(requested(REMIND))
    given(rule, paid("2026-03-20", 200.0)).when(time="2026-12-31").then_nothing()


def test_an_overdue_invoice_that_nobody_told_us_of_is_asked_for_at_once():
    late = happened(InvoiceOverdue(invoice_id="i-1", direction="receivable", days_overdue=10), at="2026-04-10")
    (
        given(rule)
        .when(late)
        .then(
            requested(
                REMIND,
                why="They owe us invoice i-1 since 2026-03-31, for 7 days: ask whether anything is in the way.",
            )
        )
        .when(issued(recorded="2026-04-11"), time="2026-04-30")
        .then(
            requested(
                SPEAK,
                why="They owe us invoice i-1 over 1,234.50 EUR since 2026-03-31, for 30 days: "
                "ask whether anything is in the way.",
            )
        )
    )


def test_a_report_that_an_invoice_is_overdue_asks_nothing_new():
    late = happened(InvoiceOverdue(invoice_id="i-1", direction="receivable", days_overdue=3), at="2026-04-03")
    given(rule, issued(), late).then_nothing().when(time="2026-04-07").then(requested(REMIND))
    unknown = happened(InvoiceOverdue(invoice_id="i-2", days_overdue=3), at="2026-04-03")
    given(rule, unknown).when(time="2026-12-31").then_nothing()


def test_the_same_invoice_twice_is_asked_for_once():
    (
        given(rule, issued(), issued(id="again"))
        .when(time="2026-04-07")
        .then(requested(REMIND))
        .when(issued(id="once more", recorded="2026-04-08"), time="2026-04-29")
        .then_nothing()
    )


def test_nobody_waits_for_a_credit_note():
    given(rule, issued(total=-50.0)).when(time="2026-12-31").then_nothing()


def test_an_invoice_that_we_learn_of_when_it_is_long_overdue_goes_straight_to_the_manager():
    (
        given(rule, issued(direction="payable", recorded="2026-04-10"))
        .when(time="2026-04-10T01:00")
        .then(skipped(WARN, reason="stale"), requested(PAY))
    )


def test_settled_invoices_are_forgotten_in_the_end():
    pairs = [
        event
        for n in range(70)
        for event in (
            issued(at=f"2026-03-01T00:{n % 60:02}:{n // 60 * 30:02}", invoice=f"i-{n}"),
            happened(InvoiceCancelled(invoice_id=f"i-{n}"), at=f"2026-03-01T00:{n % 60:02}:{n // 60 * 30 + 1:02}"),
        )
    ]
    story = given(rule, *sorted(pairs, key=lambda event: event.time))
    assert story.state(rule).invoices == {}
    assert len(story.state(rule).settled) == 50
