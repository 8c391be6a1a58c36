"""The policy: may what a rule asks for become a follow-up, when, through which channels? Pure, an account at a time.

It knows consent by channel and purpose, what is open, how often the account was contacted lately, its time zone, and
what waits for the end of its quiet hours.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from hashlib import blake2b
from typing import Any

from msgspec import Struct

from engage.events.catalogue import type_of
from engage.events.catalogue.follow_up import (
    URGENCY,
    FollowUpCompleted,
    FollowUpDismissed,
    FollowUpExpired,
    FollowUpRequested,
    FollowUpSkipped,
    Purpose,
    SkipReason,
)
from engage.events.catalogue.profile import AccountIdentified
from engage.events.envelope import Event
from engage.rules import consent
from engage.rules.consent import Words
from engage.rules.quiet_hours import QuietHours, quiet_until, zone_of
from engage.rules.rule import MANAGER, FollowUpRequest, RuleSettings

NAME = "policy"
VERSION = 2
_NOES_KEPT = 50
_LONGEST_MATTER = 256
_MANAGER_ALONE = (MANAGER,)
_CONTACTS_KEPT = timedelta(days=30)
"""However short the window of the cap is: so that a longer one, set later, finds what it has to count."""


class PolicySettings(RuleSettings):
    """How often and when an account may be contacted, and how many accounts are left alone to measure what it brings.

    ``cap`` contacts in ``cap_window``, counting those at least as urgent. ``quiet_hours`` (None: never) by the clock of
    the account, in ``time_zone`` where its own is not known. ``holdout`` is the share of accounts, 0-1, that a rule
    leaves alone when it asks for one of ``holdout_purposes``. ValueError for a share or a zone that cannot be.
    """

    cap: int = 3
    cap_window: timedelta = timedelta(days=7)
    quiet_hours: QuietHours | None = QuietHours(time(21), time(8))
    time_zone: str = "UTC"
    holdout: float = 0.0
    holdout_purposes: tuple[Purpose, ...] = ("marketing",)

    def __post_init__(self) -> None:
        if zone_of(self.time_zone) is None:
            raise ValueError(f"no time zone is called {self.time_zone!r}: take an IANA name, such as 'Europe/Lisbon'")
        if not 0 <= self.holdout <= 1:
            raise ValueError(f"{self.holdout} is no share of the accounts to hold out: take one from 0 to 1")


class OpenMatter(Struct, frozen=True, array_like=True, gc=False):
    """An open follow-up on a subject matter; it closes when it is closed on the log or at ``expires``."""

    follow_up_id: str
    expires: datetime


class Contacted(Struct, frozen=True, array_like=True, gc=False):
    """A follow-up through a channel that reaches the account, and its rank (0 urgent - 3 low)."""

    at: datetime
    rank: int


class Zone(Struct, frozen=True, array_like=True, gc=False):
    """The account's time zone as we were told, and when: a late event does not overrule a newer one."""

    name: str
    at: datetime


class PolicyState(Struct, omit_defaults=True, gc=False):
    """What the policy remembers of one account; ``deferred`` waits for the end of quiet hours, the oldest in front."""

    consent: Words = {}
    open: dict[str, OpenMatter] = {}
    contacted: list[Contacted] = []
    noes: dict[str, SkipReason] = {}
    zone: Zone | None = None
    deferred: list[FollowUpSkipped] = []


class Yes(Struct, frozen=True, gc=False):
    """The follow-up may be asked for, through these channels."""

    channels: tuple[str, ...]


class No(Struct, frozen=True, gc=False):
    """It may not, and why; ``detail`` in words. ``until``: not now, the policy is asked again at that moment."""

    reason: SkipReason
    detail: str
    until: datetime | None = None


def matter_of(rule: str, request: FollowUpRequest) -> str:
    """The subject matter of which one follow-up may be open at a time; a hash takes the place of what is too long."""
    matter = request.matter or f"{rule}|{request.about}"
    if len(matter) <= _LONGEST_MATTER:
        return matter
    return f"{matter[: _LONGEST_MATTER - 33]}|{blake2b(matter.encode(), digest_size=16).hexdigest()}"


def decide(
    state: PolicyState,
    settings: PolicySettings,
    rule: str,
    account: str,
    request: FollowUpRequest,
    matter: str,
    base: datetime,
    now: datetime,
) -> Yes | No:
    """May ``rule`` ask for this at ``now``? ``base`` is when the request became due, ``matter`` its ``matter_of``.

    Quiet hours come before the cap, because it is in the morning that the account is contacted. Holding out comes last:
    who is held out would have been asked, so both groups can be compared.
    """
    if base + request.expires <= now:
        return No("stale", f"it could help until {base + request.expires:%Y-%m-%d %H:%M} UTC")
    known = state.open.get(matter)
    if known and known.expires > now:
        return No("duplicate", f"follow-up {known.follow_up_id} on the same matter is open")
    channels = request.channels
    if channels != _MANAGER_ALONE:
        words, purpose = state.consent, request.purpose
        if words or purpose == "marketing":  # who said nothing refused nothing
            channels = tuple([each for each in channels if consent.consents(words, each, purpose)])
        if not channels:
            return No("consent", f"no consent to {purpose} by {', '.join(request.channels)}")
    if channels != _MANAGER_ALONE:
        refusal = _quiet(state, settings, request, matter, now) or _capped(state, settings, request, now)
        if refusal:
            return refusal
    share = settings.holdout
    if share and request.purpose in settings.holdout_purposes and is_held_out(rule, account, share):
        return No("holdout", f"the account is in the {share:.0%} that {rule} leaves alone")
    return Yes(channels)


def is_held_out(rule: str, account: str, share: float) -> bool:
    """Whether the account is in the ``share`` (0-1) that ``rule`` leaves alone; who is in stays in when it grows."""
    digest = blake2b(f"{rule}\x1f{account}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def is_news(state: PolicyState, rule: str, about: str, no: No) -> bool:
    """Whether this "no" is worth a record: the last word on this rule and matter was another, or it promises more."""
    return no.until is not None or state.noes.get(f"{rule}|{about}") != no.reason


def learn(state: PolicyState, settings: PolicySettings, decision: Event[Any]) -> None:
    """Remember a decision: one just made, or one on the log when the state is folded anew."""
    data = decision.data
    noes = state.noes
    if type(data) is not FollowUpRequested:
        key = f"{data.rule}|{data.about}"
        noes.pop(key, None)  # the newest stands last
        noes[key] = data.reason
        while len(noes) > _NOES_KEPT:
            del noes[next(iter(noes))]
        if data.deferred:
            state.deferred.append(data)
        return
    if noes:
        noes.pop(f"{data.rule}|{data.about}", None)
    now = decision.time
    for known in state.open.values():
        if known.expires <= now:
            state.open = {matter: known for matter, known in state.open.items() if known.expires > now}
            break
    state.open[data.matter] = OpenMatter(decision.id, data.expires)
    if data.channels != _MANAGER_ALONE:
        since = now - max(settings.cap_window, _CONTACTS_KEPT)
        contacted = state.contacted
        if contacted and contacted[0].at <= since:  # the oldest stands first
            state.contacted = contacted = [contact for contact in contacted if contact.at > since]
        contacted.append(Contacted(now, URGENCY[data.priority]))


def begin_anew(state: PolicyState) -> None:
    """Forget what the account said, which it will be told once more; a "no" stays, and what we did and are doing."""
    consent.keep_noes(state.consent)
    state.zone = None


def release(state: PolicyState, until: datetime) -> list[FollowUpSkipped]:
    """Take out what was deferred until that moment, or an earlier one, in the order in which it was deferred."""
    over: list[FollowUpSkipped] = []
    waiting: list[FollowUpSkipped] = []
    for each in state.deferred:
        (over if each.deferred and each.deferred.until <= until else waiting).append(each)
    state.deferred = waiting
    return over


def _quiet(
    state: PolicyState, settings: PolicySettings, request: FollowUpRequest, matter: str, now: datetime
) -> No | None:
    if settings.quiet_hours is None or request.priority == "urgent":
        return None
    zone = (zone_of(state.zone.name) if state.zone else None) or zone_of(settings.time_zone)
    assert zone, "settings name a zone that exists"
    until = quiet_until(settings.quiet_hours, zone, now)
    if until is None:
        return None
    if any(each.matter == matter for each in state.deferred):
        return No("duplicate", "a follow-up on the same matter waits for the end of quiet hours")
    # By hand, in a fifth of strftime's time: every fifth decision on the demo's mix.
    local = now.astimezone(zone)
    told = f"it is {local.hour:02}:{local.minute:02} in {zone.key}: put off until {until.hour:02}:{until.minute:02} UTC"
    return No("quiet_hours", told, until)


def _capped(state: PolicyState, settings: PolicySettings, request: FollowUpRequest, now: datetime) -> No | None:
    if len(state.contacted) < settings.cap:
        return None  # mostly: nobody needs to count those at least as urgent
    rank, since = URGENCY[request.priority], now - settings.cap_window
    count = sum(1 for contact in state.contacted if contact.at > since and contact.rank <= rank)
    if count < settings.cap:
        return None
    return No("cap", f"{count} follow-ups at least as urgent in the last {_told(settings.cap_window)}")


def _told(window: timedelta) -> str:
    return f"{window.days} days" if window >= timedelta(days=1) else f"{window // timedelta(minutes=1)} minutes"


def _identified(state: PolicyState, event: Event[AccountIdentified]) -> None:
    name = event.data.time_zone
    if name and (state.zone is None or state.zone.at <= event.time):
        state.zone = Zone(name, event.time)


def _closed(state: PolicyState, event: Event[FollowUpCompleted | FollowUpDismissed | FollowUpExpired]) -> None:
    for matter, known in list(state.open.items()):
        if known.follow_up_id == event.data.follow_up_id:
            del state.open[matter]


def _said(state: PolicyState, event: Event[Any]) -> None:
    consent.LISTENERS[event.type](state.consent, event)


OBSERVERS: dict[str, Any] = {
    **dict.fromkeys(consent.LISTENERS, _said),
    type_of(AccountIdentified): _identified,
    type_of(FollowUpCompleted): _closed,
    type_of(FollowUpDismissed): _closed,
    type_of(FollowUpExpired): _closed,
}
"""What the policy listens to, by event type: ``(state, event)`` changes the state."""
