"""The client against a service that really listens."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import engage
from engage.client import BATCH_BYTES, Client, ClientError
from engage.events.validation import Refusal
from engage.log.contract import Duplicate, Taken
from tests.cli.given import PATIENCE, running
from tests.http.given import order


async def test_awaited_it_does_the_same(home: Path):
    with running(home, "up", "--port", "0") as (_, url):
        async with engage.AsyncClient(url) as client:
            [taken, refused] = await client.publish([order(), {"odd": 1}])
            assert isinstance(taken, Taken)
            assert isinstance(refused, Refusal)
            found = await client.account("customer-17", wait_for=str(taken.token))
            assert found["account"] == "customer-17"
            assert (await client.timeline("customer-17", limit=5))["entries"][-1]["event_id"] == "order-1"
            assert isinstance(await client.follow_ups(account="customer-17"), list)
            with pytest.raises(ClientError, match="there is no account"):
                await client.account("nobody")


@pytest.fixture
def client(home: Path) -> Iterator[Client]:
    with running(home, "up", "--port", "0") as (_, url), Client(url) as opened:
        yield opened


def test_every_event_gets_its_answer_however_many_and_however_long(client: Client):
    events = [json.dumps(order(f"o-{number}")).encode() for number in range(1_500)]
    long = [
        json.dumps(order(f"long-{n}", data={"order_id": "x", "total": 1, "odd": "y" * 900_000})).encode()
        for n in range(8)
    ]
    assert sum(map(len, long)) > BATCH_BYTES
    answers = client.publish([*events, *long, events[0], b'{"odd": 1}'])
    assert [type(answer) for answer in answers] == [Taken] * 1_508 + [Duplicate, Refusal]
    refusal = answers[-1]
    assert isinstance(refusal, Refusal)
    assert refusal.faults[0].pointer == "/specversion"


def test_what_was_published_can_be_read_with_any_id(client: Client):
    client.publish([json.dumps(order(subject=subject)).encode() for subject in ("a/b 😀", "..")])
    deadline = time.monotonic() + PATIENCE
    while any(view["behind"] for view in client.status()["views"]):
        assert time.monotonic() < deadline
    assert client.account("a/b 😀")["account"] == "a/b 😀"
    assert client.account("..")["account"] == ".."
    assert client.timeline("a/b 😀", limit=5)["entries"][-1]["event_id"] == "order-1"
    assert all(one["account"] == "a/b 😀" for one in client.follow_ups(account="a/b 😀", status="open"))


def test_what_the_service_refuses_is_said_in_its_words(client: Client):
    with pytest.raises(ClientError, match="there is no account 'nobody'") as unknown:
        client.account("nobody")
    assert unknown.value.status == 404
    with pytest.raises(ClientError, match="there is no follow-up 'x'"):
        client.act("x", "start", {"actor": "ada"})


def test_a_service_that_is_away_is_named(home: Path):
    with running(home, "up", "--port", "0") as (_, url):
        pass
    with Client(url, patience=0.3) as away, pytest.raises(ClientError, match=f"{url} cannot be reached") as error:
        away.status()
    assert error.value.status is None
