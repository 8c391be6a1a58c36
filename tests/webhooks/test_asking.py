"""Operators manage endpoints over HTTP and on the command line, and are told what is wrong with what they ask for."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from engage.cli.main import app as commands
from engage.events.catalogue import type_of
from engage.events.catalogue.command import CommandGiven
from engage.http.app import create_app
from engage.services.platform import Platform
from tests.webhooks.given import Receiver, happens, refund, said, send


@pytest.fixture
async def http(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(platform, local_only=True), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080/v1") as client:
        yield client


async def test_an_endpoint_from_its_beginning_to_its_end(
    http: httpx.AsyncClient, platform: Platform, receiver: Receiver
):
    made = await http.post(
        "/webhooks", json={"url": receiver.url, "on": ["follow_up.requested"], "channels": ["email"]}
    )
    assert made.status_code == 201 and made.json()["secret"].startswith("whsec_")
    path = f"/webhooks/{made.json()['id']}"
    assert made.headers["location"] == f"/v1{path}"
    assert (await http.get("/webhooks")).json()["webhooks"] == [made.json() | {"secret": None}]
    assert (await http.post(f"{path}/test")).json() == {"taken": True, "status": 204, "words": "HTTP 204"}
    await happens(platform, refund())
    await send(platform)
    [delivery] = (await http.get(f"{path}/deliveries")).json()["deliveries"]
    assert (delivery["state"], delivery["account"], delivery["answer"]) == ("delivered", "customer-17", "HTTP 204")
    assert (await http.post(f"{path}/disable")).json()["disabled"] == "an operator disabled it"
    [standing] = (await http.get("/status")).json()["webhooks"]
    assert (standing["disabled"], standing["waiting"]) == ("an operator disabled it", 0)
    assert (await http.get("http://127.0.0.1:8080/readyz")).status_code == 200
    assert (await http.post(f"{path}/enable")).json()["disabled"] is None
    assert (await http.post(f"{path}/enable", json={"from_now": True})).status_code == 200
    rotated = await http.post(f"{path}/rotate", json={"keep_hours": 0})
    assert rotated.json()["secret"] not in (None, made.json()["secret"])
    assert (await http.get(path)).json()["last_answer"] == "HTTP 204"
    assert (await http.delete(path)).status_code == 204
    for gone in (await http.get(path), await http.delete(path), await http.post(f"{path}/test")):
        assert gone.status_code == 404 and "engage webhooks list" in gone.json()["detail"]
    await platform.settle()
    done = [(one["command"], one["thing"], one["outcome"]) for one in await said(platform, type_of(CommandGiven))]
    assert done[0] == ("POST /v1/webhooks", made.json()["id"], "done")
    assert done[-1] == ("POST /v1/webhooks/{webhook}/test", made.json()["id"], "failed")


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"on": ["follow_up.requestd"]}, "/on", "did you mean 'follow_up.requested'?"),
    ({"on": ["view:timeline"]}, "/on", "is no view whose changes can be followed"),
    ({"on": ["clock.ticked"]}, "/on", "is no event type that engage knows"),
    ({"on": []}, "/on", "it would hear of nothing"),
    ({"url": "http://mailer.example/"}, "/url", "is not encrypted"),
    ({"url": "https://169.254.169.254/"}, "/url", "private network"),
    ({"rules": ["win-bak"]}, "/rules", "did you mean 'win-back'?"),
    ({"kinds": ["alien"]}, "/kinds", "is no kind of account"),
    ({"purposes": ["fun"]}, "/purposes", "is no purpose"),
    ({"in_clear": ["name"]}, "/in_clear", "is no personal field of these event types"),
    ({"onn": []}, "/onn", "onn"),
]


async def test_an_endpoint_that_cannot_be_is_refused_with_a_pointer(http: httpx.AsyncClient):
    for wrong, pointer, words in WRONG:
        asked = {"url": "https://mailer.example/", "on": ["follow_up.requested"], **wrong}
        answer = await http.post("/webhooks", json=asked)
        assert answer.status_code == 422, wrong
        assert words in answer.json()["detail"]
        assert answer.json()["faults"][0]["pointer"] == pointer
    assert (await http.get("/webhooks")).json() == {"webhooks": []}


def test_the_command_line_does_the_same(home: Path):
    def run(*arguments: str, code: int = 0):
        result = CliRunner().invoke(commands, ["webhooks", *arguments])
        assert result.exit_code == code, result.output
        return result

    made = json.loads(run("add", "http://127.0.0.1:9/", "--on", "follow_up.requested", "--json").stdout)
    assert "cannot be reached" in run("test", made["id"], code=1).stdout
    assert json.loads(run("disable", made["id"], "--json").stdout)["disabled"] == "an operator disabled it"
    shown = CliRunner().invoke(commands, ["status"]).stdout
    assert f"webhook           {made['id']} to 127.0.0.1:9: DISABLED: an operator disabled it, 0 waiting" in shown
    listed = run("list").output
    assert "follow_up.requested" in listed and made["secret"] not in listed
    assert "nothing here" in run("deliveries", made["id"]).stdout
    assert "is not encrypted" in run("add", "http://x.example/", "--on", "follow_up.requested", code=2).stderr
    run("remove", made["id"], "--actor", "grace")
    deeds = json.loads(CliRunner().invoke(commands, ["audit", "--json"]).stdout)["commands"]
    assert [one["command"] for one in deeds if one["actor"] == "grace"] == ["webhooks remove"]
    assert [one["thing"] for one in deeds if one["command"] == "webhooks add"] == ["/v1/webhooks", made["id"]]
    assert "there is no webhook" in run("show", made["id"], code=4).stderr
