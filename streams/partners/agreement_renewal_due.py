"""Ask the manager to talk about renewal well before an agreement ends, while notice can still be given.

An agreement that runs out by oversight costs a partner; one that renews itself by oversight costs the better terms.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.agreements import AgreementEnded, AgreementRenewed, AgreementSigned
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

_REMEMBERED = 20
_TITLE = 80


class Settings(RuleSettings):
    """The manager is asked ``lead`` before the end, or ``margin`` before the last day of notice if that is earlier.

    Never in the first half of the term. With ``near`` or less until the last day of notice it is of high priority.
    """

    lead: timedelta = timedelta(days=90)
    margin: timedelta = timedelta(days=30)
    near: timedelta = timedelta(days=14)


class Term(Struct, omit_defaults=True, gc=False):
    """The term that runs: until ``ends``, as said at ``said``; ``asked`` once the manager was asked about it."""

    said: datetime
    ends: datetime
    title: str = ""
    notice_days: int = 0
    asked: bool = False


class State(Struct, omit_defaults=True, gc=False):
    """The running terms by agreement, and the latest agreements that ended."""

    terms: dict[str, Term] = {}
    ended: list[str] = []


rule = Rule("agreement-renewal-due", version=1, settings=Settings(), state=State)


@rule.on(AgreementSigned)
def signed(state: State, event: Event[AgreementSigned], settings: Settings) -> Iterable[Effect]:
    """A first term."""
    data = event.data
    known = state.terms.get(data.agreement_id)
    title = data.title[:_TITLE]
    if known and (known.said > event.time or known.ends == data.ends):
        known.title, known.notice_days = title, known.notice_days or data.notice_days
        return ()
    return _run(state, data.agreement_id, Term(event.time, data.ends, title, data.notice_days), data.starts, settings)


@rule.on(AgreementRenewed)
def renewed(state: State, event: Event[AgreementRenewed], settings: Settings) -> Iterable[Effect]:
    """Another term; notice stays as it was unless it says otherwise."""
    data = event.data
    known = state.terms.get(data.agreement_id) or Term(event.time, event.time)
    if known.said > event.time or known.ends == data.ends:
        return ()
    notice_days = known.notice_days if data.notice_days is None else data.notice_days
    return _run(state, data.agreement_id, Term(event.time, data.ends, known.title, notice_days), event.time, settings)


@rule.on(AgreementEnded)
def ended(state: State, event: Event[AgreementEnded], settings: Settings) -> Iterable[Effect]:
    """Nothing left to renew."""
    state.terms.pop(event.data.agreement_id, None)
    state.ended = [*state.ended, event.data.agreement_id][-_REMEMBERED:]
    yield Forget(event.data.agreement_id)


@rule.on_wake
def renewal_due(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """The term comes to its end."""
    term = state.terms[wake.about]
    term.asked = True
    last_notice = term.ends - timedelta(days=term.notice_days)
    near = last_notice - wake.now <= settings.near
    notice = f", notice has to be given by {last_notice.date()}" if term.notice_days else ""
    yield FollowUpRequest(
        what="agreement renewal",
        why=f"{f'“{term.title}”' if term.title else wake.about} ends on {term.ends.date()}, "
        f"in {(term.ends - wake.now).days} days{notice}.",
        about=wake.about,
        purpose="partnership",
        priority="high" if near else "normal",
        due=timedelta(days=3) if near else timedelta(days=14),
        expires=term.ends - wake.due,
    )


def _run(state: State, agreement_id: str, term: Term, starts: datetime, settings: Settings) -> Iterable[Effect]:
    if agreement_id in state.ended:
        return
    state.terms[agreement_id] = term
    lead = max(settings.lead, timedelta(days=term.notice_days) + settings.margin)
    yield Wake(max(term.ends - lead, starts + (term.ends - starts) / 2), about=agreement_id)
