"""Tell the manager when an agreement ran out and nobody renewed it: both sides go on working with nothing to rely on.

It takes no event to lapse: most systems do not report that nobody did anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.agreements import AgreementEnded, AgreementRenewed, AgreementSigned
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

_REMEMBERED = 20
_RUNNING = 200
_TITLE = 80


class Settings(RuleSettings):
    """The manager is told ``grace`` after the end, for the papers of a renewal come late more often than not.

    ``unintended`` are the reasons of an end that nobody chose. ``expires``: how long a new agreement can mend it.
    """

    grace: timedelta = timedelta(days=7)
    unintended: tuple[str, ...] = ("expired", "lapsed")
    expires: timedelta = timedelta(days=60)


class Term(Struct, omit_defaults=True, gc=False):
    """The latest term of an agreement that we know of."""

    ends: datetime
    title: str = ""
    told: bool = False


class State(Struct, omit_defaults=True, gc=False):
    """The terms by agreement, and the latest agreements that were ended on purpose."""

    terms: dict[str, Term] = {}
    ended: list[str] = []


rule = Rule("agreement-lapsed", version=1, settings=Settings(), state=State)


@rule.on(AgreementSigned)
def signed(state: State, event: Event[AgreementSigned], settings: Settings) -> Iterable[Effect]:
    """A term that may run out."""
    return _run(state, event.data.agreement_id, event.data.ends, event.data.title[:_TITLE], settings)


@rule.on(AgreementRenewed)
def renewed(state: State, event: Event[AgreementRenewed], settings: Settings) -> Iterable[Effect]:
    """It goes on; a renewal that comes after the end mends the lapse."""
    return _run(state, event.data.agreement_id, event.data.ends, "", settings)


@rule.on(AgreementEnded)
def ended(state: State, event: Event[AgreementEnded], settings: Settings) -> Iterable[Effect]:
    """It ran out, and then there is still the grace to renew it; or it was ended, and then that is what was wanted."""
    agreement, reason = event.data.agreement_id, event.data.reason
    term = state.terms.get(agreement)
    if reason in settings.unintended or (reason is None and term is not None and term.ends <= event.time):
        if term is None:
            yield from _run(state, agreement, event.time, "", settings)
        return
    state.terms.pop(agreement, None)
    state.ended = [*[each for each in state.ended if each != agreement], agreement][-_REMEMBERED:]
    yield Forget(agreement)


@rule.on_wake
def lapsed(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """It is over, and no renewal came."""
    term = state.terms[wake.about]
    term.told = True
    yield FollowUpRequest(
        what="agreement lapsed",
        why=f"{f'“{term.title}”' if term.title else wake.about} ended on {term.ends.date()} and was not renewed: "
        "nothing that was agreed in it binds either side any more.",
        about=wake.about,
        purpose="partnership",
        priority="high",
        due=timedelta(days=3),
        expires=settings.expires,
    )


def _run(state: State, agreement: str, ends: datetime, title: str, settings: Settings) -> Iterable[Effect]:
    if agreement in state.ended:
        return
    term = state.terms.get(agreement)
    if term is not None and term.ends >= ends:
        term.title = term.title or title
        return
    state.terms[agreement] = Term(ends, title or (term.title if term else ""))
    yield Wake(ends + settings.grace, about=agreement)
    told = [known for known, each in state.terms.items() if each.told]
    running = [known for known, each in state.terms.items() if not each.told]
    for known in told[:-_REMEMBERED] + running[:-_RUNNING]:
        del state.terms[known]
        yield Forget(known)
