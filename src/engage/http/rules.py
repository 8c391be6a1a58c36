"""Rules: how they stand, why they ask or do not, and the commands that let one rest and come back."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response
from msgspec import Struct

from engage.events.catalogue.base import Text
from engage.http.accounts import account_id
from engage.http.audited import who_commands
from engage.http.body import announced, read_struct
from engage.http.documents import DOCUMENTS, JSON, body_problems, problems
from engage.http.guard import guarded
from engage.http.problems import ProblemError
from engage.http.state import platform_of
from engage.rules.rule import Rule
from engage.services.known_accounts import NoSuchAccountError
from engage.services.platform import Platform
from engage.services.ruling.explaining import RulesExplained, explain_rules
from engage.services.ruling.standing import NoSuchRuleError, RuleStanding, named, read_rules
from engage.services.ruling.switching import Switched, switch

reading = APIRouter(tags=["accounts"], **guarded("read"))
operating = APIRouter(tags=["operate"], **guarded("operate"))
router = APIRouter()


class RuleList(Struct):
    """Every rule, by name."""

    rules: list[RuleStanding]


class Disabling(Struct, forbid_unknown_fields=True):
    """Why a rule is to rest; it is kept on the log, so it names nobody."""

    reason: Text | None = None


_STANDING = {
    "name": "win-back",
    "title": "Win back a customer who is silent for longer than is usual for them.",
    "version": 2,
    "settings": {"at_least": "P45D"},
    "state": "on",
    "parked": 0,
    "asked": 512,
    "skipped": {"consent": 40, "cap": 7},
}
_SAID = {
    "time": "2026-03-01T10:00:00Z",
    "asked": False,
    "what": "win back",
    "about": "order-1001",
    "reason": "consent",
    "detail": "no consent to marketing by email",
    "event_id": "0dd9f579-fe45-53e1-9666-7edecc99621c",
    "cause": "order-1001",
}
_EXPLAINED: dict[str, Any] = {
    "account": "customer-17",
    "as_of": "2026-03-02T08:00:00Z",
    "rules": [
        {
            "name": "win-back",
            "title": "Win back a customer who is silent for longer than is usual for them.",
            "version": 2,
            "on": True,
            "words": "On 2026-03-01 10:00 it wanted: win back, and did not get it (consent): no consent to marketing "
            "by email. It looks again on 2026-06-01 10:00 about order-1001.",
            "heard": 4,
            "last_heard": "2026-01-15T10:00:00Z",
            "state": {"orders": 4},
            "waits": [{"about": "order-1001", "due": "2026-06-01T10:00:00Z", "fires": "2026-06-01T10:00:00Z"}],
            "said": [_SAID],
            "stands_still": None,
        }
    ],
    "policy": {
        "consent": [{"channel": "email", "purpose": "marketing", "yes": False, "at": "2026-01-01T00:00:00Z"}],
        "open": [],
        "contacted": 1,
        "cap": 3,
        "cap_days": 7.0,
        "time_zone": "UTC",
        "quiet_until": None,
        "put_off": [],
        "held_out_of": [],
        "stands_still": None,
    },
}
_SWITCHED = {"name": "win-back", "state": "off", "changed": True}
_UNKNOWN = problems(_404="No such rule.")


@reading.get(
    "/v1/accounts/{account:path}/rules",
    summary="Why rules ask, or do not",
    response_class=Response,
    responses={
        200: DOCUMENTS.answer(RulesExplained, "Each rule, and what the policy goes by.", _EXPLAINED),
        **problems(_404="The log has nothing of this account, or there is no such rule.", _422="A parameter is wrong."),
    },
)
async def explained(
    request: Request,
    account: str,
    rule: Annotated[str | None, Query(max_length=256, description="Only this one.")] = None,
) -> Response:
    """What each rule remembers of the account, what it waits for, what was decided and why, in words too."""
    platform, name = platform_of(request), account_id(account)
    if rule is not None:
        _named(platform, rule)
    try:
        found = await explain_rules(platform.log, platform.store, platform.rules, platform.letters.source, name, rule)
    except NoSuchAccountError as error:
        raise ProblemError(404, str(error)) from error
    return Response(msgspec.json.encode(found), media_type=JSON)


@operating.get(
    "/v1/rules",
    summary="How the rules stand",
    response_class=Response,
    responses={200: DOCUMENTS.answer(RuleList, "Every rule.", {"rules": [_STANDING]})},
)
async def listed(request: Request) -> Response:
    """Version, settings, on or off, how often it asked and why it was not asked for, how many accounts stand still."""
    platform = platform_of(request)
    found = await read_rules(platform.rules.rules, platform.letters.source, platform.store)
    return Response(msgspec.json.encode(RuleList(found)), media_type=JSON)


@operating.post(
    "/v1/rules/{name}/disable",
    summary="Let a rule rest",
    response_class=Response,
    responses={200: DOCUMENTS.answer(Switched, "How it stands now.", _SWITCHED), **_UNKNOWN, **body_problems()},
    openapi_extra={
        "requestBody": DOCUMENTS.body(Disabling, {"reason": "asks too often"})["requestBody"] | {"required": False}
    },
)
async def disable(request: Request, name: str) -> Response:
    """From here on it hears nothing, nothing wakes it and it asks for nothing; across restarts, in every process."""
    asked = await read_struct(request, Disabling) if announced(request) else Disabling()
    return await _switched(request, name, False, asked.reason)


@operating.post(
    "/v1/rules/{name}/enable",
    summary="Let a rule come back",
    response_class=Response,
    responses={200: DOCUMENTS.answer(Switched, "How it stands now.", _SWITCHED | {"state": "on"}), **_UNKNOWN},
)
async def enable(request: Request, name: str) -> Response:
    """It takes in silence what came while it rested, and asks from here on."""
    return await _switched(request, name, True)


async def _switched(request: Request, name: str, on: bool, reason: str | None = None) -> Response:
    platform = platform_of(request)
    done = await switch(
        _named(platform, name),
        on,
        source=platform.letters.source,
        partitions=platform.log.partitions,
        tell=platform.command,
        actor=who_commands(request),
        time=platform.clock(),
        reason=reason,
    )
    return Response(msgspec.json.encode(done), media_type=JSON)


def _named(platform: Platform, name: str) -> Rule[Any, Any]:
    try:
        return named(platform.rules.rules, name)
    except NoSuchRuleError as error:
        raise ProblemError(404, str(error)) from error


router.include_router(reading)
router.include_router(operating)
