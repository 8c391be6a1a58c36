"""The OpenAPI document holds: whatever is asked of its routes, no answer is a 500 and none is undocumented."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.cli.given import PATIENCE, running
from tests.conftest import SOAK
from tests.http.given import order

EXAMPLES = 300 if SOAK else 3
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
KNOWN = {"account": "customer-17", "type": "Order%20Completed", "name": "account_health", "key": "customer-17"}


def asked(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, known: dict[str, str]) -> str | None:
    """Ask one operation a few things that fit its description, or do not; what was wrong with the answers, if any.

    ``known`` are values of path parameters with which there is something to be found.
    """

    @seed(1)
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: schemathesis.Case[Any]) -> None:
        case.path_parameters = {**case.path_parameters, **{n: v for n, v in known.items() if n in case.path_parameters}}
        # What never ends is read for as long as it says nothing.
        case.call_and_validate(timeout=2 if operation.path.startswith("/v1/changes/") else 20, checks=CHECKS)

    try:
        ask()
    except Unsatisfiable:  # nothing can be wrong with what has no parts
        return None
    except FailureGroup as failures:
        return "\n".join(f"{operation.label}: {one}" for one in failures.exceptions)
    return None


def bad_word() -> dict[str, Any]:
    """What the managers are asked to see to at once."""
    said = {"survey_id": "s-1", "kind": "nps", "score": 0}
    return order("s-1", type="Survey Answered", time=datetime.now(UTC).isoformat(), data=said)


def ways(
    operation: APIOperation[Any, Any, Any, Any], known: dict[str, str]
) -> list[tuple[GenerationMode, dict[str, str]]]:
    """How to ask an operation: in a quick run what misfits only where that is found quickly, not in ids alone."""
    fit, misfit = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
    if SOAK:
        return [(mode, found) for mode in (fit, misfit) for found in (known, {})]
    return [(fit, known), (misfit if len(operation.query) or len(operation.body) else fit, {})]


def wait_for_queue(url: str) -> list[dict[str, Any]]:
    deadline = time.monotonic() + PATIENCE
    while not (queue := httpx.get(f"{url}/v1/follow-ups").json().get("follow_ups", [])):
        assert time.monotonic() < deadline, "no follow-up was asked for"
        time.sleep(0.05)
    found: list[dict[str, Any]] = queue
    return found


@pytest.mark.timeout(7_200 if SOAK else 300)
def test_every_answer_is_one_that_the_document_announces(home: Path) -> None:
    with running(home, "up", "--port", "0") as (_, url):
        httpx.post(f"{url}/v1/events", json=[order(), bad_word()])
        queue = wait_for_queue(url)
        document = schemathesis.openapi.from_url(f"{url}/openapi.json")
        operations = [found.ok() for found in document.get_all_operations() if isinstance(found, Ok)]
        assert len(operations) >= 20
        found_out = KNOWN | {"follow_up": queue[0]["follow_up"]}
        wrong = [asked(operation, *way) for operation in operations for way in ways(operation, found_out)]
    found = "\n\n".join(one for one in wrong if one)
    assert not found, found
