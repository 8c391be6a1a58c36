"""The shop's 40 partners, all simulated: agreements, deliveries, invoices, disputes, and a few who slip or fall silent.

Every partner is identified on the first days; what is dated ahead (dues, ends) has the moved dates.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

from engage.demo.dealings import negotiate, register_deals
from engage.demo.people import company, manager_of, place
from engage.demo.purchases import DAYS
from engage.demo.story import DAY_MICROS, HOUR, Entry, Story
from engage.events.catalogue.agreements import (
    AgreementBreached,
    AgreementEnded,
    AgreementRenewed,
    AgreementSigned,
    Term,
)
from engage.events.catalogue.conversations import MeetingHeld
from engage.events.catalogue.deliveries import DeliveryPromised, DeliveryReceived, QualityInspected
from engage.events.catalogue.disputes import (
    DisputeAcknowledged,
    DisputeEscalated,
    DisputeOpened,
    DisputeSettled,
    SettlementProposed,
)
from engage.events.catalogue.invoices import InvoiceDirection, InvoiceIssued, InvoiceOverdue, InvoicePaid
from engage.events.catalogue.profile import AccountIdentified, AccountKind
from engage.events.catalogue.service_levels import RequestAnswered, RequestMade

_COUNTS: tuple[tuple[AccountKind, int], ...] = (("supplier", 14), ("vendor", 12), ("distributor", 8), ("partner", 6))
_SLIPPING = frozenset({"supplier-01", "supplier-05", "supplier-09", "vendor-03"})
_SLIP_DAYS = 100
"""For how long before the last day the slipping ones have been getting worse."""
_NEW = frozenset({"partner-01", "vendor-05"})
"""Partners only since the history begins; the others have been for years."""
_SILENT = frozenset({"partner-01", "distributor-06"})
_SILENT_DAYS = 50
"""For how long before the last day nothing has happened between us and the silent ones."""
_FEWEST = 4

_ON_TIME = Term(
    name="on-time", kind="expectation", measure="delivered_on_time", limit=0.95, direction="at_least", unit="share"
)
_DEFECTS = Term(name="defects", kind="boundary", measure="defective", limit=0.03, direction="at_most", unit="share")
_PAYMENT = Term(name="payment", kind="expectation", measure="days_to_pay", limit=30, direction="at_most", unit="days")
_TERMS = {"supplier": (_ON_TIME, _DEFECTS), "vendor": (_ON_TIME, _PAYMENT)}


def accounts(scale: float = 1.0) -> list[tuple[str, AccountKind]]:
    """The partners' ids and kinds: all 40, or the share ``scale`` of them (four at least, one of each kind)."""
    everyone = [
        (f"{kind}-{number:02}", kind)
        for number in range(1, _COUNTS[0][1] + 1)
        for kind, count in _COUNTS
        if number <= count
    ]
    return everyone[: max(_FEWEST, round(scale * len(everyone)))]


def work(first_day: datetime, scale: float, seed: int) -> list[Entry]:
    """Everything that the shop's partners do, in no order; the same for the same arguments."""
    entries: list[Entry] = []
    for number, (account, kind) in enumerate(accounts(scale)):
        partner = _Partner(account, kind, number, first_day, seed)
        partner.introduce()
        partner.agree()
        if kind in ("supplier", "vendor"):
            partner.deliver()
        else:
            partner.buy()
        partner.talk()
        partner.dispute()
        negotiate(partner.story, partner.rng)
        if kind in ("distributor", "partner"):
            register_deals(partner.story, partner.rng)
        until = (DAYS - _SILENT_DAYS if account in _SILENT else DAYS) * DAY_MICROS
        entries += [entry for entry in partner.story.entries if entry.time < until]
    return entries


class _Partner:
    def __init__(self, account: str, kind: AccountKind, number: int, first_day: datetime, seed: int) -> None:
        self.story = Story(account)
        self.account = account
        self.kind = kind
        self.number = number
        self.first_day = first_day
        self.rng = Random(f"{seed}:{account}")
        self.agreement = f"agreement-{account}-1"
        self.began = self.rng.uniform(8, 17) * HOUR

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def moment(self, at: float) -> datetime:
        """``at`` (days since the first midnight) with moved dates, to the second."""
        return self.first_day + timedelta(seconds=int(at * 86_400))

    def office(self, day: float) -> float:
        """A moment in the working hours of ``day``."""
        return int(day) + self.rng.uniform(8, 17) * HOUR

    def introduce(self) -> None:
        country, zone = place(self.rng)
        name = company(int(self.account[-2:]), self.kind)
        before = self.rng.uniform(100, 2_000)
        self.story.add(
            self.began,
            AccountIdentified(
                kind=self.kind,
                name=name,
                email=f"office@{name.replace(' ', '-').lower()}.example",
                time_zone=zone,
                country=country,
                manager=manager_of(self.account),
                since=self.moment(0 if self.account in _NEW else -before),
            ),
        )

    def agree(self) -> None:
        """A first agreement, renewed before it ends more often than not; a quarter end soon after the last day."""
        length, notice = self.rng.choice((182, 365)), self.rng.choice((30, 60, 90))
        ends = self.rng.uniform(60, length)
        if self.number % 4 == 0:
            ends = DAYS + self.rng.uniform(5, 80)
            while ends > length + 20:
                ends -= length
        at, version = self.office(self.rng.uniform(1, 20)), 1
        while at < DAYS:
            agreement = f"agreement-{self.account}-{version}"
            self.agreement = agreement if version == 1 else self.agreement
            self.story.add(
                at,
                AgreementSigned(
                    agreement_id=agreement,
                    title=f"Framework agreement {version}",
                    starts=self.moment(int(at)),
                    ends=self.moment(int(max(ends, at + 30))),
                    notice_days=notice,
                    terms=_TERMS.get(self.kind, (_PAYMENT,)),
                ),
            )
            ends = max(ends, at + 30)
            while ends < DAYS and self.chance(0.85):
                renewed = self.office(ends - self.rng.uniform(2, notice * 1.2))
                ends += length
                self.story.add(
                    max(renewed, at + 1), AgreementRenewed(agreement_id=agreement, ends=self.moment(int(ends)))
                )
            if ends >= DAYS:
                return
            at = self.story.add(int(ends), AgreementEnded(agreement_id=agreement, reason="expired"))
            at, ends, version = self.office(at + self.rng.uniform(10, 30)), ends + length, version + 1

    def slipping(self, day: float) -> float:
        """0-1: how far the account has slipped by ``day``."""
        return max(0.0, (day - (DAYS - _SLIP_DAYS)) / _SLIP_DAYS) if self.account in _SLIPPING else 0.0

    def deliver(self) -> None:
        """A delivery every week, invoiced to us every second."""
        weekday = self.rng.randint(0, 4)
        for week, day in enumerate(range(14 + weekday, DAYS, 7)):
            delivery, order = f"delivery-{self.account}-{week}", f"po-{self.account}-{week}"
            promised, slip = day + 12 * HOUR, self.slipping(day)
            units = self.rng.randint(10, 80) * 25
            self.story.add(
                self.office(day - 10),
                DeliveryPromised(
                    delivery_id=delivery, promised=self.moment(promised), order_ref=order, units_ordered=units
                ),
            )
            late = self.chance(0.06 + 0.8 * slip)
            at = promised + (self.rng.uniform(0.3, 1.5 + 6 * slip) if late else -self.rng.uniform(1, 30) * HOUR)
            short = self.chance(0.04 + 0.3 * slip)
            self.story.add(
                at,
                DeliveryReceived(
                    delivery_id=delivery,
                    promised=self.moment(promised),
                    received=self.moment(at),
                    units_ordered=units,
                    units_received=int(units * self.rng.uniform(0.75, 0.98)) if short else units,
                    order_ref=order,
                ),
            )
            if self.chance(0.4):
                defective = sum(self.chance(0.012 + 0.07 * slip) for _ in range(50))
                self.story.add(at + 3 * HOUR, QualityInspected(delivery_id=delivery, inspected=50, defective=defective))
            if week % 2:
                self.invoice(at + 1, f"invoice-{self.account}-{week}", units * 4.5, order, we_owe=True)
            if week % 4 == 3 and slip > 0.4:
                self.story.add(
                    at + 2,
                    AgreementBreached(
                        agreement_id=self.agreement,
                        term=_ON_TIME.name,
                        measured=round(0.95 - 0.5 * slip, 2),
                        limit=_ON_TIME.limit,
                        unit=_ON_TIME.unit,
                        by="them",
                    ),
                )

    def buy(self) -> None:
        """Distributors and media partners buy from us every week."""
        weekday = self.rng.randint(0, 4)
        for week, day in enumerate(range(3 + weekday, DAYS, 7)):
            total = self.rng.randint(40, 900) * 10.0
            self.invoice(self.office(day), f"invoice-{self.account}-{week}", total, None, we_owe=False)

    def invoice(self, at: float, invoice: str, total: float, order: str | None, *, we_owe: bool) -> None:
        due = int(at) + 30
        direction: InvoiceDirection = "payable" if we_owe else "receivable"
        self.story.add(
            at,
            InvoiceIssued(
                invoice_id=invoice,
                direction=direction,
                total=total,
                currency="USD",
                due=self.moment(due),
                order_ref=order,
            ),
        )
        paid = self.office(due + (self.rng.uniform(2, 20) if self.chance(0.12) else -self.rng.uniform(1, 20)))
        if paid > due + 7:
            self.story.add(
                due + 7, InvoiceOverdue(invoice_id=invoice, outstanding=total, currency="USD", days_overdue=7)
            )
        self.story.add(
            paid,
            InvoicePaid(invoice_id=invoice, paid=total, currency="USD", direction=direction, due=self.moment(due)),
        )

    def talk(self) -> None:
        """A request a month, most of them answered, and a meeting a quarter."""
        for month, day in enumerate(range(5, DAYS, 30)):
            request, at = f"request-{self.account}-{month}", self.office(day + self.rng.randint(0, 20))
            self.story.add(at, RequestMade(request_id=request, topic="forecast"))
            if self.chance(0.95):
                waited = self.rng.expovariate(1 / (0.6 + 3 * self.slipping(at)))
                self.story.add(
                    at + waited, RequestAnswered(request_id=request, waited=round(waited * 86_400), topic="forecast")
                )
            if month % 3 == 1:
                self.story.add(
                    self.office(day + 25),
                    MeetingHeld(
                        meeting_id=f"meeting-{self.account}-{month}", duration=3_600.0, topic="quarterly_review"
                    ),
                )

    def dispute(self) -> None:
        """Now and then the two sides do not agree; who slips has one that is still open."""
        for number in range(self.rng.randint(0, 2)):
            self.quarrel(self.office(self.rng.uniform(40, DAYS - 60)), f"dispute-{self.account}-{number}", settled=True)
        if self.account in _SLIPPING:
            self.quarrel(self.office(DAYS - self.rng.uniform(8, 25)), f"dispute-{self.account}-late", settled=False)

    def quarrel(self, at: float, dispute: str, *, settled: bool) -> None:
        amount = self.rng.randint(5, 80) * 100.0
        topic = self.rng.choice(("quality", "late_delivery")) if self.kind in _TERMS else "price"
        self.story.add(at, DisputeOpened(dispute_id=dispute, topic=topic, amount=amount, currency="USD", by="us"))
        at = self.story.add(at + self.rng.uniform(0.5, 4), DisputeAcknowledged(dispute_id=dispute, by="them"))
        if not settled:
            return
        offer = round(amount * self.rng.uniform(0.3, 0.9), 2)
        at = self.story.add(
            at + self.rng.uniform(2, 12),
            SettlementProposed(dispute_id=dispute, amount=offer, currency="USD", by="them"),
        )
        if self.chance(0.25):
            at = self.story.add(at + 5, DisputeEscalated(dispute_id=dispute, level="management", by="us"))
        self.story.add(
            at + self.rng.uniform(1, 10),
            DisputeSettled(dispute_id=dispute, outcome="credited", amount=offer, currency="USD"),
        )
