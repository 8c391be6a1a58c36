"""The client of engage's HTTP service: small, blocking, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from engage.events.validation import Fault, Refusal
from engage.log.contract import Answer, Duplicate, Taken, Token

BATCH_BYTES = 4_000_000
"""A request's body stays below this, but for a single event that is longer."""
BATCH_EVENTS = 1_000
_CONNECT_RETRIES = 3
_SECONDS = 60.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ClientError(RuntimeError):
    """The service did not do what it was asked: ``status`` is HTTP's, None if it could not be reached."""

    def __init__(self, message: str, status: int | None = None, problem: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem or {}


class Client:
    """Talks to ``url``, with an API key or a token (``key``) where it asks for one; retries only what never reached it.

    Use it in a ``with`` block, or ``close`` it.
    """

    def __init__(self, url: str, *, key: str | None = None, seconds: float = _SECONDS) -> None:
        self._url = url
        self._http = httpx.Client(
            base_url=url,
            timeout=seconds,
            headers={} if key is None else {"authorization": f"Bearer {key}"},
            transport=httpx.HTTPTransport(retries=_CONNECT_RETRIES),
            # A proxy of this machine's environment is not meant for what runs on this machine.
            trust_env=urlsplit(url).hostname not in _LOOPBACK,
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def publish(self, events: Sequence[bytes]) -> list[Answer]:
        """One answer for each event (CloudEvents structured JSON), in order; ClientError if none can be had."""
        answers: list[Answer] = []
        for batch in _batches(events):
            response = self._send(
                "POST",
                "/v1/events",
                content=b"[" + b",".join(batch) + b"]",
                headers={"content-type": "application/cloudevents-batch+json"},
            )
            body = response.json()
            if response.is_error and "results" not in body:
                raise _error(response)
            answers += [_answer(result) for result in body["results"]]
        return answers

    def account(self, account: str) -> dict[str, Any]:
        """How the account is doing, as ``GET /v1/accounts/{id}`` says; ClientError with 404 if it is unknown."""
        return self._get(f"/v1/accounts/{_segment(account)}")

    def timeline(self, account: str, *, limit: int | None = None, before: str | None = None) -> dict[str, Any]:
        """A page of the account's story, newest first."""
        return self._get(f"/v1/accounts/{_segment(account)}/timeline", limit=limit, before=before)

    def follow_ups(self, **filters: Any) -> list[dict[str, Any]]:
        """The queue; filters: status, account, rule, assignee, limit."""
        found: list[dict[str, Any]] = self._get("/v1/follow-ups", **filters)["follow_ups"]
        return found

    def act(
        self, follow_up: str, verb: str, request: dict[str, Any], *, if_version: int | None = None
    ) -> dict[str, Any]:
        """Give a follow-up a command (assign, snooze, start, complete, dismiss); its state after it."""
        headers = {} if if_version is None else {"if-match": f'"{if_version}"'}
        response = self._send("POST", f"/v1/follow-ups/{_segment(follow_up)}/{verb}", json=request, headers=headers)
        return _body(response)

    def status(self) -> dict[str, Any]:
        """How far everything has come."""
        return self._get("/v1/status")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What the service answers to a request for which there is no method here; None where it says nothing."""
        response = self._send(method, path, **({} if body is None else {"json": body}))
        if response.is_error:
            raise _error(response)
        return response.json() if response.content else None

    def _get(self, path: str, **parameters: Any) -> dict[str, Any]:
        given = {name: value for name, value in parameters.items() if value is not None}
        return _body(self._send("GET", path, params=given))

    def _send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **parts)
        except httpx.TimeoutException as error:
            raise ClientError(
                f"{self._url} did not answer in time: see whether it is busy, then do the same again; what it has "
                "taken already is not taken twice"
            ) from error
        except httpx.HTTPError as error:
            raise ClientError(
                f"{self._url} cannot be reached ({error}): see that `engage up` runs there, then do the same again"
            ) from error


def _segment(text: str) -> str:
    """One segment of a path; dots are encoded too, because ``..`` would be taken for the folder above."""
    return quote(text, safe="").replace(".", "%2E")


def _batches(events: Sequence[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for event in events:
        if batch and (size + len(event) > BATCH_BYTES or len(batch) == BATCH_EVENTS):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += len(event) + 1
    if batch:
        yield batch


def _answer(result: dict[str, Any]) -> Answer:
    if result["status"] == "refused":
        return Refusal(result["reason"], tuple(msgspec.convert(result["faults"], list[Fault])))
    partition, _, offset = result["token"].partition(":")
    token = Token(int(partition), int(offset))
    return Taken(token) if result["status"] == "taken" else Duplicate(token)


def _body(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise _error(response)
    body: dict[str, Any] = response.json()
    return body


def _error(response: httpx.Response) -> ClientError:
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    said = problem.get("detail") or problem.get("title") or response.reason_phrase
    return ClientError(str(said), response.status_code, problem)
