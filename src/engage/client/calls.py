"""What is sent to engage and how its answers are read, the same for those who wait and those who await."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
import msgspec
from msgspec import Struct

from engage.events.validation import Fault, Refusal
from engage.log.contract import Answer, Duplicate, Taken, Token

BATCH_BYTES = 4_000_000
"""A request's body stays below this, but for a single event that is longer."""
BATCH_EVENTS = 1_000

Given = bytes | Mapping[str, Any] | Struct
"""An event as it may be given: CloudEvents structured JSON, or what becomes that when it is encoded."""
T = TypeVar("T")
encode = msgspec.json.Encoder().encode


class ClientError(RuntimeError):
    """The service did not do what it was asked: ``status`` is HTTP's, None if it could not be reached.

    ``retry_after`` is how many seconds it asked to be left alone, None if it did not.
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        problem: dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem or {}
        self.retry_after = retry_after


class Call(Struct, Generic[T], frozen=True):
    """A request, how its answer is read, and whether it may be sent again when nobody knows what became of it."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    repeatable: bool = True
    parts: dict[str, Any] = {}


def publishing(events: Sequence[Given]) -> Iterator[Call[list[Answer]]]:
    """Calls that publish ``events`` in order, in batches that the service takes."""
    for batch in _batches(events):
        content, headers = b"[" + b",".join(batch) + b"]", {"content-type": "application/cloudevents-batch+json"}
        yield Call("POST", "/v1/events", _answers, parts={"content": content, "headers": headers})


def getting(path: str, **parameters: Any) -> Call[dict[str, Any]]:
    """A call that reads ``path``; parameters that are None are left out."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return Call("GET", path, body_of, parts={"params": given})


def account(account: str, wait_for: str | None) -> Call[dict[str, Any]]:
    """One account."""
    return getting(f"/v1/accounts/{segment(account)}", wait_for=wait_for)


def timeline(account: str, limit: int | None, before: str | None) -> Call[dict[str, Any]]:
    """A page of an account's story."""
    return getting(f"/v1/accounts/{segment(account)}/timeline", limit=limit, before=before)


def commanding(follow_up: str, verb: str, request: Mapping[str, Any], if_version: int | None) -> Call[dict[str, Any]]:
    """A command upon a follow-up; by its key it is done once, however often it is sent."""
    headers = {"idempotency-key": str(uuid4())} | ({} if if_version is None else {"if-match": f'"{if_version}"'})
    path = f"/v1/follow-ups/{segment(follow_up)}/{verb}"
    return Call("POST", path, body_of, parts={"json": request, "headers": headers})


def erasing(account: str) -> Call[dict[str, Any]]:
    """A call that destroys an account's keys; done twice, it is done."""
    return Call("DELETE", f"/v1/privacy/{segment(account)}", body_of)


def linking(visitor: str, account: str) -> Call[dict[str, Any]]:
    """A call that links a visitor to an account; done twice, it is done."""
    return Call("POST", "/v1/identities", body_of, parts={"json": {"visitor": visitor, "account": account}})


def unlinking(visitor: str) -> Call[dict[str, Any]]:
    """A call that takes that back; done twice, the second one finds nothing to do."""
    return Call("DELETE", f"/v1/identities/{segment(visitor)}", body_of, repeatable=False)


def asking(method: str, path: str, body: Any) -> Call[Any]:
    """A request for which there is no other call; only a ``GET`` is sent again when its answer is lost."""
    return Call(method, path, _any_body, repeatable=method == "GET", parts={} if body is None else {"json": body})


def body_of(response: httpx.Response) -> dict[str, Any]:
    """The answer's body; ClientError in the service's words if it is a problem."""
    if response.is_error:
        raise error_of(response)
    body: dict[str, Any] = response.json()
    return body


def _any_body(response: httpx.Response) -> Any:
    if response.is_error:
        raise error_of(response)
    return response.json() if response.content else None


def error_of(response: httpx.Response) -> ClientError:
    """What a problem says."""
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    said = problem.get("detail") or problem.get("title") or response.reason_phrase
    return ClientError(str(said), response.status_code, problem, asked_for(response))


def asked_for(response: httpx.Response) -> float | None:
    """``Retry-After`` in seconds, whether it names seconds or a moment (RFC 9110, 10.2.3)."""
    said = response.headers.get("retry-after", "")
    if said.isdecimal():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None


def segment(text: str) -> str:
    """One segment of a path; dots are encoded too, because ``..`` would be taken for the folder above."""
    return quote(text, safe="").replace(".", "%2E")


def _batches(events: Sequence[Given]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for given in events:
        event = given if isinstance(given, bytes) else encode(given)
        if batch and (size + len(event) > BATCH_BYTES or len(batch) == BATCH_EVENTS):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += len(event) + 1
    if batch:
        yield batch


def _answers(response: httpx.Response) -> list[Answer]:
    try:
        results = response.json()["results"]
    except (ValueError, LookupError, TypeError):
        raise error_of(response) from None
    return [_answer(result) for result in results]


def _answer(result: dict[str, Any]) -> Answer:
    if result["status"] == "refused":
        return Refusal(result["reason"], tuple(msgspec.convert(result["faults"], list[Fault])))
    partition, _, offset = result["token"].partition(":")
    token = Token(int(partition), int(offset))
    return Taken(token) if result["status"] == "taken" else Duplicate(token)
