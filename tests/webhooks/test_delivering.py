"""What an endpoint wants to hear reaches it: signed, in the account's order, again until it is taken."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.responses import Response

from engage.services.platform import Platform
from engage.services.webhooks.backoff import WINDOW
from tests.http.given import Clock
from tests.webhooks.given import Receiver, endpoint, happens, ids, refund, said, send, until


async def test_a_requested_follow_up_reaches_the_mailer_signed(platform: Platform, receiver: Receiver):
    made = await endpoint(platform, receiver.url)
    await happens(platform, refund())
    await send(platform)
    [message] = receiver.messages
    assert message.body["type"] == "follow_up.requested"
    assert message.body["data"]["rule"] == "refund-repair"
    assert message.body["data"]["channels"] == ["email"]
    assert (message.account, message.body["specversion"]) == ("customer-17", "1.0")
    assert message.body["timestamp"] == message.body["recorded"]
    assert made.secret and message.signed_by(made.secret)
    assert not message.signed_by("whsec_" + "A" * 43 + "=")
    [outcome] = await said(platform, "follow_up.delivered")
    assert outcome == {
        "follow_up_id": message.body["id"],
        "channel": "webhook",
        "endpoint": made.id,
        "attempt": 1,
    }


async def test_the_library_of_the_standard_takes_our_signature(platform: Platform, receiver: Receiver, clock: Clock):
    clock.now = datetime.now(UTC)  # the library verifies by the machine's clock
    made = await endpoint(platform, receiver.url)
    await platform.webhooks.test(made.id)
    [message] = receiver.messages
    assert made.secret
    assert Webhook(made.secret).verify(message.raw, message.headers)["type"] == "webhook.test"
    with pytest.raises(WebhookVerificationError):
        Webhook(made.secret).verify(message.raw + b" ", message.headers)


async def test_what_fails_is_sent_again_under_the_same_id_ever_more_patiently(
    platform: Platform, receiver: Receiver, clock: Clock
):
    await endpoint(platform, receiver.url)
    receiver.answer = lambda _: 503 if len(receiver.messages) < 4 else 204
    await happens(platform, refund())
    await send(platform)
    waits = []
    while len(receiver.messages) < 4:
        before, begun = len(receiver.messages), clock.now
        while len(receiver.messages) == before:
            clock.move(seconds=1)
            await send(platform)
        waits.append((clock.now - begun).total_seconds())
    assert len(set(ids(receiver.messages))) == 1
    assert 4 <= waits[0] <= 7 and 16 <= waits[1] <= 25 and 64 <= waits[2] <= 97
    failed = await said(platform, "follow_up.delivery_failed")
    assert [(one["attempt"], one["reason"], one["retried"]) for one in failed] == [
        (1, "HTTP 503", True),
        (2, "HTTP 503", True),
        (3, "HTTP 503", True),
    ]
    assert [one["attempt"] for one in await said(platform, "follow_up.delivered")] == [4]


async def test_one_account_waits_for_its_own_and_no_other_does(platform: Platform, receiver: Receiver, clock: Clock):
    await endpoint(platform, receiver.url, "Order Refunded")
    receiver.answer = lambda message: 500 if message.account == "a" else 204
    await happens(platform, refund("1", "a"), refund("2", "a"), refund("3", "b"), refund("4", "b"))
    await send(platform)
    assert _orders(receiver, "a") == ["1"]
    assert _orders(receiver, "b") == ["3", "4"]
    receiver.answer = lambda _: 204
    clock.move(minutes=1)
    await send(platform)
    assert _orders(receiver, "a") == ["1", "1", "2"]


def _orders(receiver: Receiver, account: str) -> list[str]:
    return [one.body["data"]["order_id"] for one in receiver.messages if one.account == account]


async def test_a_slow_endpoint_keeps_nobody_else_waiting(platform: Platform, receiver: Receiver, other: Receiver):
    enough = asyncio.Event()

    async def slowly() -> int:
        await enough.wait()
        return 204

    receiver.answer = lambda _: slowly()
    await endpoint(platform, receiver.url, "Order Refunded")
    await endpoint(platform, other.url, "Order Refunded")
    await happens(platform, *(refund(str(n), f"c-{n}") for n in range(20)))
    while await platform.webhooks.step(1_000):
        pass
    await until(lambda: len(other.messages) == 20)
    assert len(receiver.messages) == 4  # as many as one endpoint is sent at the same time
    enough.set()
    await send(platform)
    assert len(receiver.messages) == 20


async def test_an_endpoint_that_is_gone_is_not_asked_again(platform: Platform, receiver: Receiver, clock: Clock):
    made = await endpoint(platform, receiver.url)
    receiver.answer = lambda _: 410
    await happens(platform, refund("1", "a"), refund("2", "b"))
    await send(platform)
    clock.move(days=1)
    await send(platform)
    assert 1 <= len(receiver.messages) <= 2
    found = platform.webhooks.one(made.id)
    assert found.disabled == "HTTP 410: it wants nothing more"
    assert found.waiting == 2  # nothing is lost: enabled again, it hears what it missed
    receiver.answer = lambda _: 204
    await platform.webhooks.enable(made.id)
    await send(platform)
    assert platform.webhooks.one(made.id).waiting == 0


async def test_an_endpoint_that_is_dead_for_days_is_disabled(platform: Platform, receiver: Receiver, clock: Clock):
    made = await endpoint(platform, receiver.url)
    receiver.answer = lambda _: 500
    await happens(platform, refund())
    for _ in range(60):
        await send(platform)
        clock.move(hours=2)
    found = platform.webhooks.one(made.id)
    assert found.disabled == "every attempt of 3 days failed, the last one with: HTTP 500"
    assert 8 <= len(receiver.messages) <= 20
    assert (await said(platform, "follow_up.delivery_failed"))[-1]["retried"] is True


async def test_one_message_that_is_never_taken_is_given_up_and_its_account_goes_on(
    platform: Platform, receiver: Receiver, clock: Clock
):
    made = await endpoint(platform, receiver.url, "Order Refunded")
    receiver.answer = lambda message: 422 if message.body["data"]["order_id"] == "bad" else 204
    await happens(platform, refund("bad", "a"), refund("good", "a"))
    begun = clock.now
    while "good" not in _orders(receiver, "a"):
        assert clock.now - begun < 2 * WINDOW
        await happens(platform, refund(f"{clock.now:%d-%H}", "b"))  # others are taken: it is not the endpoint
        await send(platform)
        clock.move(hours=6)
    states = [one.state for one in platform.webhooks.deliveries(made.id, 100) if one.account == "a"]
    assert states == ["delivered", "given_up"]
    assert platform.webhooks.one(made.id).disabled is None


async def test_what_asks_for_patience_gets_it(platform: Platform, receiver: Receiver, clock: Clock):
    await endpoint(platform, receiver.url)
    receiver.answer = lambda _: Response(status_code=429, headers={"Retry-After": "3600"})
    await happens(platform, refund())
    await send(platform)
    clock.move(minutes=59)
    await send(platform)
    assert len(receiver.messages) == 1
    clock.move(minutes=2)
    await send(platform)
    assert len(receiver.messages) == 2


async def test_a_secret_is_changed_without_a_message_lost(platform: Platform, receiver: Receiver, clock: Clock):
    made = await endpoint(platform, receiver.url, "Order Refunded")
    newer = platform.webhooks.rotate(made.id, timedelta(hours=24))
    assert made.secret and newer.secret and made.secret != newer.secret
    await happens(platform, refund("1"))
    await send(platform)
    assert receiver.messages[-1].signed_by(made.secret) and receiver.messages[-1].signed_by(newer.secret)
    clock.move(hours=25)
    await happens(platform, refund("2"))
    await send(platform)
    assert not receiver.messages[-1].signed_by(made.secret) and receiver.messages[-1].signed_by(newer.secret)
    assert platform.webhooks.one(made.id).secret is None


async def test_redirects_are_not_followed(platform: Platform, receiver: Receiver, other: Receiver):
    made = await endpoint(platform, receiver.url)
    receiver.answer = lambda _: Response(status_code=307, headers={"location": other.url})
    tested = await platform.webhooks.test(made.id)
    assert (tested.taken, tested.words) == (False, "HTTP 307 (redirects are not followed)")
    assert other.messages == []


async def test_an_answer_without_end_is_not_read_to_its_end(platform: Platform, receiver: Receiver):
    made = await endpoint(platform, receiver.url)
    receiver.answer = lambda _: Response(b"x" * 5_000_000)
    assert (await platform.webhooks.test(made.id)).taken
