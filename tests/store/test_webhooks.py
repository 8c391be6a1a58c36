"""The queue of webhooks keeps each account's order, is one process's at a time, and loses nothing, on each database."""

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engage.store.master_key import MasterKeyError
from engage.store.webhook_queue import Outcome
from engage.store.webhook_standing import read_standings
from engage.store.webhooks import Cursor, CursorMovedError, Endpoint, Secret, Subscription, WebhookStore
from tests.http.given import START

KEY = bytes(range(32))
LEASE = timedelta(minutes=1)


@pytest.fixture
def store(url: str) -> Iterator[WebhookStore]:
    with closing(WebhookStore(url, lambda: [KEY])) as opened:
        add(opened)
        yield opened


def add(store: WebhookStore, identity: str = "we_1") -> None:
    endpoint = Endpoint(
        id=identity,
        url="https://mailer.example/x?key=1",
        subscription=Subscription(events=("Order Refunded",), kinds=("customer",)),
        secrets=(Secret("whsec_abc"), Secret("whsec_old", START)),
        created=START,
    )
    store.add(endpoint, [Cursor(identity, "log", 0, "g", 0)])


def row(account: str, message: str, at: datetime = START, endpoint: str = "we_1") -> dict[str, Any]:
    return {
        "endpoint": endpoint,
        "message": message,
        "account": account,
        "type": "Order Refunded",
        "partition": 0,
        "offset": 0,
        "value": b"{}",
        "state": "waiting",
        "attempts": 0,
        "queued_at": at,
    }


def step(position: int, to: int, endpoint: str = "we_1") -> dict[Cursor, Cursor]:
    return {Cursor(endpoint, "log", 0, "g", position): Cursor(endpoint, "log", 0, "g", to)}


def test_an_endpoint_is_kept_as_it_is(store: WebhookStore, url: str):
    [found] = store.endpoints()
    assert found.secrets == (Secret("whsec_abc"), Secret("whsec_old", START))
    assert found.subscription == Subscription(events=("Order Refunded",), kinds=("customer",))
    store.note("we_1", "HTTP 500", START, good=False)
    store.note("we_1", "HTTP 502", START + LEASE, good=False)
    kept = store.endpoint("we_1")
    assert kept is not None and (kept.failing_since, kept.last_answer) == (START, "HTTP 502")
    [standing] = read_standings(url)
    assert (standing.host, standing.failing_since, standing.waiting) == ("mailer.example", START, 0)
    store.note("we_1", "HTTP 204", START, good=True)
    kept = store.endpoint("we_1")
    assert kept is not None and kept.failing_since is None
    with (
        closing(WebhookStore(url, lambda: [bytes(32)])) as other,
        pytest.raises(MasterKeyError, match="another master key"),
    ):
        other.endpoints()
    assert store.remove("we_1") and not store.remove("we_1")
    assert (store.endpoints(), store.cursors(["we_1"])) == ([], [])


def test_what_is_queued_and_how_far_was_told_move_together_or_not_at_all(store: WebhookStore):
    store.tell(step(0, 5), [row("a", "m1")])
    with pytest.raises(CursorMovedError, match="no longer at 0"):
        store.tell(step(0, 7), [row("a", "m2")])
    assert store.cursors(["we_1"]) == [Cursor("we_1", "log", 0, "g", 5)]
    assert [one.message for one in store.queue.of("we_1", 10)] == ["m1"]
    with pytest.raises(CursorMovedError):
        store.tell(step(0, 1, "we_gone"), [row("a", "m3", endpoint="we_gone")])
    assert store.queue.of("we_gone", 10) == []


def test_a_claim_that_was_not_kept_passes_to_the_next_and_its_holder_can_say_nothing_more(store: WebhookStore):
    store.tell(step(0, 1), [row("a", "m1"), row("a", "m2")])
    [first] = store.queue.claim("we_1", START, START + LEASE, 10)
    assert (first.message, first.attempts) == ("m1", 1)
    assert store.queue.claim("we_1", START, START + LEASE, 10) == []
    assert store.queue.due(START) == []
    [again] = store.queue.claim("we_1", START + LEASE, START + 2 * LEASE, 10)
    assert (again.message, again.attempts, again.tried_at) == ("m1", 2, START)
    assert not store.queue.end(first, "delivered", START + LEASE, "late", Outcome("o", "a", "t", "{}", START))
    assert not store.queue.later(first, START, "late")
    assert store.queue.outcomes(10) == []
    assert store.queue.end(again, "delivered", START + LEASE, "HTTP 200", Outcome("o", "a", "t", "{}", START))
    assert [one.id for one in store.queue.outcomes(10)] == ["o"]
    store.queue.told([one.number for one in store.queue.outcomes(10)])
    assert store.queue.outcomes(10) == []
    [second] = store.queue.claim("we_1", START + LEASE, START + 2 * LEASE, 10)
    assert second.message == "m2"
    store.queue.release(START + LEASE)  # it is known that its holder is dead
    assert [one.message for one in store.queue.claim("we_1", START + LEASE, START + 3 * LEASE, 10)] == ["m2"]


def test_nothing_is_due_for_who_is_disabled_and_enabled_all_is_due_at_once(store: WebhookStore):
    store.tell(step(0, 1), [row("a", "m1")])
    [claimed] = store.queue.claim("we_1", START, START + LEASE, 10)
    store.queue.later(claimed, START + timedelta(hours=5), "HTTP 500")
    store.disable("we_1", "HTTP 410")
    assert store.queue.due(START + timedelta(days=1)) == []
    store.enable("we_1", START + LEASE, [Cursor("we_1", "log", 0, "g", 9)])
    assert store.queue.due(START + LEASE) == ["we_1"]
    assert store.cursors(["we_1"])[0].position == 9
    assert store.queue.waiting() == {"we_1": 1}


def test_many_at_once_send_each_message_once_and_each_account_in_order(store: WebhookStore, url: str):
    for number in range(30):
        store.tell(step(number, number + 1), [row(f"a{number % 3}", f"m{number:02}")])
    sent: list[tuple[str, str]] = []

    def work(worker: int) -> None:
        with closing(WebhookStore(url, lambda: [KEY])) as mine:
            for number in range(30 + worker * 10, 40 + worker * 10):
                try:
                    mine.tell(step(number, number + 1), [row(f"a{number % 3}", f"m{number:02}")])
                except CursorMovedError:
                    break
            while mine.queue.waiting():
                for one in mine.queue.claim("we_1", START, START + LEASE, 2):
                    sent.append((one.account, one.message))
                    assert mine.queue.end(one, "delivered", START, "HTTP 200")

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(work, worker) for worker in range(3)]:
            done.result(60)
    assert len(sent) == len(set(sent)) >= 30
    for account in ("a0", "a1", "a2"):
        theirs = [message for of, message in sent if of == account]
        assert theirs == sorted(theirs)


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), st.lists(st.sampled_from("abc"), max_size=4)),
        st.tuples(st.just("claim"), st.integers(1, 3)),
        st.tuples(st.sampled_from(["end", "later", "die"]), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.integers(0, 90)),
    ),
    max_size=30,
)


@settings(max_examples=20)
@given(ACTS)
def test_whatever_happens_each_account_is_told_in_order_and_in_the_end_of_everything(acts: list[tuple[str, Any]]):
    with TemporaryDirectory() as folder, closing(WebhookStore(f"sqlite:///{folder}/w.db", lambda: [KEY])) as store:
        add(store)
        now, told, position = START, 0, 0
        asked: dict[str, list[str]] = defaultdict(list)
        ended: dict[str, list[str]] = defaultdict(list)
        held: list[Any] = []

        def end(one: Any) -> None:
            if store.queue.end(one, "delivered", now, "HTTP 200"):
                ended[one.account].append(one.message)

        for act, value in acts:
            if act == "tell":
                rows = []
                for account in value:
                    told += 1
                    asked[account].append(f"m{told:03}")
                    rows.append(row(account, f"m{told:03}", now))
                store.tell(step(position, position + 1), rows)
                position += 1
            elif act == "claim":
                claimed = store.queue.claim("we_1", now, now + LEASE, value)
                assert len({one.account for one in claimed}) == len(claimed)
                held += claimed
            elif act == "wait":
                now += timedelta(seconds=value)
            elif held:
                one = held.pop(value % len(held))
                if act == "end":
                    end(one)
                elif act == "later":
                    store.queue.later(one, now + timedelta(seconds=value), "HTTP 500")
        now += 2 * LEASE
        while claimed := store.queue.claim("we_1", now, now + LEASE, 10):
            for one in claimed:
                end(one)
        assert ended == asked
        assert store.queue.waiting() == {}
        store.queue.clean(now + LEASE)
        assert store.queue.of("we_1", 10) == []
