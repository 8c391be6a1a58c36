"""Who hears what: by type, filter and view, from the moment it was added; never twice, and never what must not be."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from engage import bootstrap
from engage.services.linking import link, unlink
from engage.services.platform import Platform
from engage.settings import Settings
from tests.http.given import START, Clock
from tests.webhooks.conftest import MODELS
from tests.webhooks.given import Receiver, endpoint, happens, refund, said, send


def event(kind: str, data: dict[str, Any], subject: str = "customer-17", number: int = 1, at=START) -> dict[str, Any]:
    return refund(f"{kind}-{number}", subject) | {"type": kind, "data": data, "time": at.isoformat()}


async def test_a_new_endpoint_hears_what_comes_from_now_on_or_all_if_asked(
    platform: Platform, receiver: Receiver, other: Receiver
):
    await happens(platform, refund("1"))
    await endpoint(platform, receiver.url, "Order Refunded")
    await endpoint(platform, other.url, "Order Refunded", from_start=True)
    await happens(platform, refund("2"))
    await send(platform)
    assert [one.body["data"]["order_id"] for one in receiver.messages] == ["2"]
    assert [one.body["data"]["order_id"] for one in other.messages] == ["1", "2"]


async def test_filters_choose_among_follow_ups_their_closing_events_too(
    platform: Platform, receiver: Receiver, other: Receiver, clock: Clock
):
    on = ("follow_up.requested", "follow_up.completed")
    await endpoint(platform, receiver.url, *on, channels=("email",))
    await endpoint(platform, other.url, *on, rules=("refund-repair",), channels=("manager",))
    await happens(platform, refund("small", "a"), refund("large", "b", total=500))
    for one in (await said(platform, "follow_up.opened"))[:2]:
        platform.desk.complete(UUID(one["follow_up_id"]), "reached", "ada", clock())
    await platform.settle()
    await send(platform)
    heard = {"a": receiver.bodies, "b": other.bodies}
    # What was closed before it was sent is not sent, its closing is.
    assert heard == {"a": [("follow_up.completed", "a")], "b": [("follow_up.completed", "b")]}
    reasons = [one["reason"] for one in await said(platform, "follow_up.delivery_failed")]
    assert reasons == ["closed", "closed"]


async def test_accounts_are_chosen_by_their_kind(platform: Platform, receiver: Receiver):
    await endpoint(platform, receiver.url, "Order Refunded", kinds=("distributor",))
    identified = event("Account Identified", {"kind": "distributor"}, "d-1")
    await happens(platform, identified, refund("1", "d-1"), refund("2", "c-1"))
    await send(platform)
    assert receiver.bodies == [("Order Refunded", "d-1")]


async def test_a_follow_up_is_not_sent_once_consent_is_withdrawn(platform: Platform, receiver: Receiver):
    await endpoint(platform, receiver.url)
    withdrawn = event("Consent Withdrawn", {"channel": "email", "purpose": "service"}, at=START + timedelta(seconds=1))
    await happens(platform, refund())
    await happens(platform, withdrawn)
    await send(platform)
    assert receiver.messages == []
    assert [one["reason"] for one in await said(platform, "follow_up.delivery_failed")] == ["consent"]


async def test_a_follow_up_that_has_expired_meanwhile_is_not_sent(platform: Platform, receiver: Receiver, clock: Clock):
    await endpoint(platform, receiver.url)
    receiver.answer = lambda _: 500
    await happens(platform, refund())
    await send(platform)
    receiver.answer = lambda _: 204
    clock.move(days=15)
    await send(platform)
    assert len(receiver.messages) == 1
    assert (await said(platform, "follow_up.delivery_failed"))[-1]["reason"] == "expired"


async def test_what_is_personal_is_left_out_unless_it_was_declared(
    platform: Platform, receiver: Receiver, other: Receiver
):
    await endpoint(platform, receiver.url, "Account Identified")
    await endpoint(platform, other.url, "Account Identified", in_clear=("name",))
    traits = {"kind": "customer", "name": "Ada Lovelace", "email": "ada@example.org", "shoe_size": 38}
    await happens(platform, event("Account Identified", traits))
    await send(platform)
    assert receiver.messages[0].body["data"] == {"kind": "customer"}
    assert other.messages[0].body["data"] == {"kind": "customer", "name": "Ada Lovelace"}


async def test_the_changes_of_a_view_are_told(platform: Platform, receiver: Receiver):
    await happens(platform, refund("1", "before"))
    await endpoint(platform, receiver.url, "view:follow_ups")
    await happens(platform, refund("2", "a"))
    await send(platform)
    [message] = receiver.messages
    assert message.body["type"] == "view.changed" and message.account == "a"
    data = message.body["data"]
    assert (data["view"], data["row"]["status"], data["row"]["rule"]) == ("follow_ups", "open", "refund-repair")


async def test_a_rebuild_and_a_restart_send_nothing_again(
    tmp_path: Path, platform: Platform, receiver: Receiver, clock: Clock
):
    await endpoint(platform, receiver.url, "follow_up.requested", "view:follow_ups")
    await happens(platform, refund())
    await send(platform)
    sent = len(receiver.messages)
    assert sent >= 2
    await platform.projector.rebuild(MODELS[1])
    await send(platform)
    assert len(receiver.messages) == sent
    await platform.webhooks.close()


async def test_a_view_store_that_is_made_anew_sends_nothing_again(tmp_path: Path, receiver: Receiver, clock: Clock):
    settings = Settings(home=str(tmp_path))
    async with bootstrap.platform(settings, clock=clock, models=MODELS) as platform:
        await endpoint(platform, receiver.url, "view:follow_ups")
        await happens(platform, refund("1"))
        await send(platform)
    sent = len(receiver.messages)
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"views.db{suffix}").unlink(missing_ok=True)
    async with bootstrap.platform(settings, clock=clock, models=MODELS) as platform:
        await platform.settle()
        await send(platform)
        assert len(receiver.messages) == sent
        await happens(platform, refund("2"))
        await send(platform)
        assert len(receiver.messages) == sent + 1


async def test_what_happened_while_it_was_disabled_is_told_unless_it_is_to_be_passed_over(
    platform: Platform, receiver: Receiver, other: Receiver
):
    first = await endpoint(platform, receiver.url, "Order Refunded")
    second = await endpoint(platform, other.url, "Order Refunded")
    for one in (first, second):
        platform.webhooks.disable(one.id)
    await happens(platform, refund("1"))
    await platform.webhooks.enable(first.id)
    await platform.webhooks.enable(second.id, from_now=True)
    await happens(platform, refund("2"))
    await send(platform)
    assert [one.body["data"]["order_id"] for one in receiver.messages] == ["1", "2"]
    assert [one.body["data"]["order_id"] for one in other.messages] == ["2"]


async def test_no_secret_is_kept_in_plain_words(tmp_path: Path, platform: Platform, receiver: Receiver):
    made = await endpoint(platform, receiver.url)
    assert made.secret
    kept = b"".join((tmp_path / name).read_bytes() for name in ("webhooks.db", "webhooks.db-wal"))
    assert made.id.encode() in kept
    assert made.secret.removeprefix("whsec_").encode() not in kept
    assert made.secret not in json.dumps([repr(platform.webhooks.store.endpoint(made.id))])


async def test_what_is_told_once_more_of_a_linked_visitor_is_told_to_nobody(platform: Platform, receiver: Receiver):
    await endpoint(platform, receiver.url, "Order Refunded")
    await happens(platform, refund("1", "anonymous:1"), refund("2", "c-1"))
    await link(platform, "anonymous:1", "c-1")
    await happens(platform, refund("3", "anonymous:1"))
    await unlink(platform, "anonymous:1")
    await platform.settle()
    await send(platform)
    assert sorted(one.body["data"]["order_id"] for one in receiver.messages) == ["1", "2", "3"]
