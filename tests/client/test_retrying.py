"""When the client tries again: never before it was told to, never what may have been done, and not for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from engage.client import ClientError, calls
from engage.client.retrying import Patience

READ = calls.getting("/v1/status")
[PUBLISH] = calls.publishing([b"{}"])
UNLINK = calls.unlinking("visitor-9")
COMMAND = calls.commanding("x", "start", {}, None)


def busy(status: int = 503, retry_after: str | None = None) -> httpx.Response:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return httpx.Response(status, headers=headers, json={"detail": "it is busy"})


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("call", [READ, PUBLISH, COMMAND, UNLINK])
def test_a_busy_service_is_asked_again_no_sooner_than_it_says(call: calls.Call[object], status: int):
    patience = Patience(call, "http://engage", 60)
    assert 7 <= (patience.after(busy(status, "7")) or 0) < 8
    in_a_while = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    assert 18 <= (patience.after(busy(status, in_a_while)) or 0) < 21


def test_a_service_that_does_not_say_is_asked_less_and_less_often():
    patience = Patience(READ, "http://engage", 3_600)
    waits = [patience.after(busy(retry_after=said)) or 0 for said in (None, "soon", *[None] * 10)]
    assert waits[0] <= 0.1
    assert waits[-1] >= 5
    assert max(waits) <= 10


@pytest.mark.parametrize("status", [200, 207, 400, 404, 412, 422, 500, 504])
def test_an_answer_is_an_answer(status: int):
    assert Patience(PUBLISH, "http://engage", 60).after(busy(status)) is None


def test_who_asks_for_more_time_than_there_is_is_told_of_at_once():
    with pytest.raises(ClientError, match="it is busy") as error:
        Patience(PUBLISH, "http://engage", 5).after(busy(429, "60"))
    assert (error.value.status, error.value.retry_after) == (429, 60)


def test_what_would_be_done_twice_is_not_asked_again_when_its_answer_was_lost():
    lost, refused = httpx.ReadError("gone"), httpx.ConnectError("refused")
    with pytest.raises(ClientError, match="cannot be reached"):
        Patience(UNLINK, "http://engage", 60).after_failure(lost)
    assert Patience(UNLINK, "http://engage", 60).after_failure(refused) > 0
    assert Patience(COMMAND, "http://engage", 60).after_failure(lost) > 0
    assert Patience(PUBLISH, "http://engage", 60).after_failure(lost) > 0


def test_time_that_is_up_is_said():
    with pytest.raises(ClientError, match="http://engage did not answer in time"):
        Patience(READ, "http://engage", 0).after_failure(httpx.ReadTimeout("late"))
