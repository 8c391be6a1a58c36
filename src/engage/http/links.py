"""Signed links: made for those who send mail, and followed by those who get it, without any key."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from urllib.parse import parse_qs

import msgspec
import structlog
from fastapi import APIRouter, Depends, Request, Response
from msgspec import Meta, Raw, Struct

from engage.events.envelope import Event
from engage.events.validation import Fault, Refusal
from engage.http import link_pages
from engage.http.body import announced, read_body, read_struct
from engage.http.documents import DOCUMENTS, JSON, body_problems
from engage.http.guard import Needs, refusals
from engage.http.pressure import Pressure
from engage.http.problems import ProblemError, faulty
from engage.log.contract import Answer, Duplicate
from engage.log.topics import BrokerUnavailableError
from engage.services import link_events
from engage.services.links import BadLinkError, Clicked, Found, Link, LinkError, Links, Opened, Survey
from engage.services.platform import Platform

MOST_AT_ONCE = 1_000
_FORM_BYTES = 20_000
_FIELDS = 10
# 43 bytes: a GIF of one transparent pixel.
PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c0000000001000100000202440100") + b";"

router = APIRouter(tags=["publish"])
_log = structlog.get_logger(__name__)


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """Links to make, each of one kind."""

    links: Annotated[list[Link], Meta(min_length=1, max_length=MOST_AT_ONCE)]


class Made(Struct, frozen=True):
    """The addresses, in the order of the request."""

    urls: list[str]


_UNSUBSCRIBE = {"kind": "unsubscribe", "account": "customer-17", "list_id": "weekly"}


@router.post(
    "/v1/links",
    summary="Make signed links",
    openapi_extra=DOCUMENTS.body(Wanted, {"links": [_UNSUBSCRIBE]}),
    response_class=Response,
    dependencies=[Depends(Needs("publish"))],
    responses={
        200: DOCUMENTS.answer(Made, "The addresses.", {"urls": ["https://engage.example/l/k6F1..."]}),
        **refusals("publish"),
        **body_problems(_422="The body does not fit, or a link cannot be made."),
    },
)
async def make(request: Request) -> Response:
    """Links for a mail: to unsubscribe, withdraw consent or answer a survey, a tracking pixel, a counted redirect."""
    wanted = await read_struct(request, Wanted)
    links: Links = request.app.state.links
    urls = []
    for at, link in enumerate(wanted.links):
        try:
            urls.append(links.url(link_events.checked(link, _now(request))))
        except LinkError as error:
            raise faulty(f"link {at}: {error}", [Fault(f"/links/{at}", str(error))]) from error
    return Response(msgspec.json.encode(Made(urls)), media_type=JSON)


@router.get("/l/{token}", include_in_schema=False)
async def follow(request: Request, token: str) -> Response:
    """Show the page, lead on, or give the pixel. Mail scanners follow links too: consent never changes here."""
    found = _found(request, token)
    if found is None:
        return _unknown()
    link = found.link
    if isinstance(link, Opened):
        await _counted(request, link_events.opened(link, _now(request)) if found.holds else None)
        return Response(PIXEL, media_type="image/gif")
    if isinstance(link, Clicked):
        await _counted(request, link_events.clicked(link, _now(request)) if found.holds else None)
        return Response(status_code=302, headers={"location": link.to, "x-robots-tag": "noindex"})
    if not found.holds:
        return _expired()
    if isinstance(link, Survey):
        return link_pages.survey(link.survey, link.score)
    return link_pages.confirm("Unsubscribe", "Press the button, and you will get no more of this.", "Unsubscribe")


@router.head("/l/{token}", include_in_schema=False)
async def look(request: Request, token: str) -> Response:
    """What a GET would lead to, for programs that only see whether a link works: nothing is counted."""
    found = _found(request, token)
    if found is None:
        return Response(status_code=404)
    if isinstance(found.link, Clicked):
        return Response(status_code=302, headers={"location": found.link.to})
    return Response(status_code=200 if found.holds or isinstance(found.link, Opened) else 410)


@router.post("/l/{token}", include_in_schema=False)
async def act(request: Request, token: str) -> Response:
    """Do what the page says; mail programs do it in one click (RFC 8058)."""
    found = _found(request, token)
    if found is None:
        return _unknown()
    link = found.link
    if isinstance(link, Opened | Clicked):
        return link_pages.told("Nothing to send here", "This link is for following.", 405)
    if not found.holds:
        return _expired()
    body = await read_body(request, _FORM_BYTES)
    if not isinstance(link, Survey):
        await _published(request, link_events.unsubscribed(link, _now(request)))
        return link_pages.told("You are unsubscribed", "You will get no more of this.")
    form = _form(body)
    if "decline" in form:
        await _published(request, link_events.declined(link, _now(request)))
        return link_pages.told("Thank you", "We will not ask again about this.")
    comment = form.get("comment", "").replace("\0", "").strip()[: link_pages.MAX_COMMENT]
    try:
        event = link_events.answered(link, int(form.get("score", "")[:3]), comment or None, _now(request))
    except ValueError:
        return link_pages.survey(link.survey, link.score, "Please choose one of the numbers.")
    answer = await _published(request, event)
    if isinstance(answer, Duplicate):
        return link_pages.told("Thank you", "You had answered already, and that answer counts.")
    return link_pages.told("Thank you", "We have your answer.")


async def _counted(request: Request, event: Event[Raw] | None) -> None:
    """Take an open or a click in; where that cannot be, whoever reads the mail is not kept from it."""
    if event is None:
        return
    try:
        await _published(request, event)
    except (ProblemError, BrokerUnavailableError) as error:
        _log.warning("an open or a click was not counted", error=f"{type(error).__name__}: {error}")


async def _published(request: Request, event: Event[Raw]) -> Answer:
    platform: Platform = request.app.state.platform
    pressure: Pressure = request.app.state.pressure
    with pressure.hold(announced(request)):
        [answer] = await platform.gathering.publish([event])
    if isinstance(answer, Refusal):
        raise ProblemError(503, f"this could not be taken: {answer}")
    return answer


def _form(body: bytes) -> dict[str, str]:
    """What was filled in; nothing where the body is no form."""
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=_FIELDS)
    except ValueError:
        return {}
    return {name: values[-1] for name, values in fields.items()}


def _found(request: Request, token: str) -> Found | None:
    links: Links = request.app.state.links
    try:
        return links.read(token)
    except BadLinkError:
        return None


def _now(request: Request) -> datetime:
    platform: Platform = request.app.state.platform
    return platform.clock()


def _unknown() -> Response:
    return link_pages.told("This link does not work", "Copy it whole from the mail, and try again.", 404)


def _expired() -> Response:
    words = "It is too old. Use the link of a newer mail, or write to us."
    return link_pages.told("This link does not work any more", words, 410)
