"""Bodies as they come: packed, broken, endless, slow or too many; each is told so, in bounded memory and time."""

import asyncio
import gzip
import json
import time
import tracemalloc
from collections.abc import Callable

import httpx
import pytest
from backports import zstd
from fastapi import FastAPI

from engage.http import body
from engage.http.pressure import Pressure
from tests.http.given import order

EVENTS = "/v1/events"
JSON = {"content-type": "application/json"}
PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}


def packed(coding: str) -> dict[str, str]:
    return JSON | {"content-encoding": coding}


async def test_packed_bodies_are_taken_in_several_parts_too(http: httpx.AsyncClient):
    for number, (coding, pack) in enumerate(PACK.items()):
        plain = json.dumps([order(f"o-{number}-{place}") for place in range(50)]).encode()
        half = len(plain) // 2
        whole = await http.post(EVENTS, content=pack(plain), headers=packed(coding))
        again = await http.post(EVENTS, content=pack(plain[:half]) + pack(plain[half:]), headers=packed(coding))
        assert (whole.json()["taken"], again.json()["duplicate"]) == (50, 50)


async def test_a_packed_body_that_is_broken_is_400_and_an_unknown_packing_415(http: httpx.AsyncClient):
    plain = json.dumps(order()).encode()
    for coding, pack in PACK.items():
        for broken in (pack(plain)[:-5], plain, b"", pack(plain)[:8] + b"\xff" * 40, pack(plain) + b"rest"):
            answer = await http.post(EVENTS, content=broken, headers=packed(coding))
            assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), broken
    for coding in ("br", "deflate", "gzip, gzip", "gzip;q=1"):
        answer = await http.post(EVENTS, content=plain, headers=packed(coding))
        assert answer.status_code == 415
        assert answer.headers["accept-encoding"] == "gzip, zstd"


async def test_a_bomb_is_413_and_costs_no_more_than_a_body_may(http: httpx.AsyncClient):
    inner = gzip.compress(bytes(40_000_000))
    bombs = {"gzip": inner * 200, "zstd": zstd.compress(bytes(40_000_000)) * 200}
    for coding, bomb in bombs.items():
        tracemalloc.start()
        answer = await http.post(EVENTS, content=bomb, headers=packed(coding))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert answer.status_code == 413
        assert peak < 5 * body.MAX_BYTES, f"{coding}: {peak:,} bytes"


async def test_a_body_of_a_million_empty_parts_costs_no_time(http: httpx.AsyncClient):
    for coding, pack in PACK.items():
        began = time.process_time()
        answer = await http.post(EVENTS, content=pack(b"") * (4_000_000 // len(pack(b""))), headers=packed(coding))
        assert answer.status_code == 400
        assert time.process_time() - began < 2


async def test_a_body_that_trickles_is_given_up(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch):
    async def trickle():
        while True:
            yield b" "
            await asyncio.sleep(0.005)

    monkeypatch.setattr(body, "SECONDS", 0.1)
    answer = await http.post(EVENTS, content=trickle(), headers=JSON)
    assert (answer.status_code, answer.headers["connection"]) == (408, "close")


async def test_what_comes_too_fast_is_sent_away_and_taken_when_it_comes_again(http: httpx.AsyncClient, app: FastAPI):
    app.state.pressure = pressure = Pressure(most_bytes=40_000, most_requests=3)
    contents = [json.dumps([order(f"o-{number}-{n}") for n in range(50)]) for number in range(4)]
    answers = await asyncio.gather(*(http.post(EVENTS, content=content, headers=JSON) for content in contents))
    sent_away = [answer for answer in answers if answer.status_code == 429]
    assert 0 < len(sent_away) < len(answers)
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in sent_away)
    assert (pressure.requests, pressure.size) == (0, 0)
    taken = 0
    for content in contents:
        again = (await http.post(EVENTS, content=content, headers=JSON)).json()
        taken += again["taken"]
    assert taken == 50 * len(sent_away)


async def test_a_body_that_outgrows_the_room_is_sent_away_while_it_comes(http: httpx.AsyncClient, app: FastAPI):
    app.state.pressure = pressure = Pressure(most_bytes=100_000)

    async def endless():
        while True:
            yield b" " * 10_000

    assert (await http.post(EVENTS, content=endless(), headers=JSON)).status_code == 429
    assert (pressure.requests, pressure.size) == (0, 0)
