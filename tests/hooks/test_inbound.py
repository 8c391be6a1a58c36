"""What other systems send is taken when it is signed, as the mapping says, once, and else told what is wrong."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from standardwebhooks import Webhook
from typer.testing import CliRunner

from engage import bootstrap
from engage.cli.main import app as commands
from engage.events import codec
from engage.http.app import create_app
from engage.services.api_keys import ApiKeys
from engage.services.hooks.mapping import load_hooks
from engage.services.mapping import MappingError
from engage.services.platform import Platform
from engage.settings import Settings
from tests.project.test_docs import PROJECT

SECRET = "whsec_" + base64.b64encode(b"h" * 32).decode()
OLDER = "whsec_" + base64.b64encode(b"o" * 32).decode()
PAYMENTS = "shared secret"
TICKET = {
    "kind": "ticket.created",
    "customer": {"id": "customer-17"},
    "ticket": {"number": 4711, "created_at": "2026-03-01T10:00:00+01:00", "priority": "high"},
}
ANSWERS = {
    "kind": "survey.closed",
    "survey": "s-1",
    "answers": [
        {"customer": "c-1", "stars": 5, "at": 1772352000},
        {"customer": "c-2", "stars": 9, "at": 1772352000},
        {"customer": None, "stars": 4, "at": 1772352000},
    ],
}
REFUND = {
    "type": "charge.refunded",
    "created": 1772352000,
    "data": {"amount": 1999, "currency": "eur", "metadata": {"customer": "c-9", "order": "o-1"}},
}


def documented() -> str:
    """The mapping that docs/webhooks.md shows."""
    [found] = re.findall(r"```toml\n(.*?)```", (PROJECT / "docs/webhooks.md").read_text(), re.DOTALL)
    return str(found)


def environment(name: str) -> str | None:
    return {"HELPDESK_SECRET": SECRET}.get(name)


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    (tmp_path / "payments.secret").write_text(PAYMENTS + "\n")
    path = tmp_path / "hooks.toml"
    path.write_text(documented())
    return path


@pytest.fixture
async def platform(tmp_path: Path, mapping: Path) -> AsyncIterator[Platform]:
    async with bootstrap.platform(Settings(home=str(tmp_path)), models=()) as opened:
        yield opened


@pytest.fixture
async def http(platform: Platform, mapping: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(platform, hooks=load_hooks(mapping, environment))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080/v1/hooks") as client:
        yield client


def signed(body: Any, *, secret: str = SECRET, at: datetime | None = None, name: str = "msg_1") -> dict[str, Any]:
    raw = json.dumps(body)
    at = at or datetime.now(UTC)
    signature = Webhook(secret).sign(name, at, raw)
    headers = {"webhook-id": name, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}
    return {"content": raw, "headers": headers}


async def on_the_log(platform: Platform) -> list[dict[str, Any]]:
    found = []
    for partition in range(platform.log.partitions):
        for record in (await platform.log.read(partition, 0, 100)).records:
            event = codec.decode(record.value)
            if event.source.startswith("urn:"):
                found.append(
                    {
                        "id": event.id,
                        "source": event.source,
                        "type": event.type,
                        "subject": event.subject,
                        "time": event.time,
                        "data": msgspec.json.decode(event.data),
                    }
                )
    return sorted(found, key=lambda one: one["subject"])


async def test_a_signed_message_becomes_the_event_that_the_mapping_says_and_a_redelivery_is_a_duplicate(
    http: httpx.AsyncClient, platform: Platform
):
    first = await http.post("/helpdesk", **signed(TICKET))
    assert (first.status_code, first.json()["taken"]) == (200, 1)
    again = await http.post("/helpdesk", **signed(TICKET))
    assert (again.json()["duplicate"], again.json()["taken"]) == (1, 0)
    [event] = await on_the_log(platform)
    assert event == {
        "id": "ticket:4711",
        "source": "urn:helpdesk",
        "type": "Ticket Opened",
        "subject": "customer-17",
        "time": datetime(2026, 3, 1, 9, tzinfo=UTC),
        "data": {"ticket_id": "4711", "priority": "high", "channel": "email"},
    }


async def test_one_body_gives_an_event_for_each_item_and_a_bad_one_sinks_no_other(
    http: httpx.AsyncClient, platform: Platform
):
    answer = await http.post("/helpdesk", **signed(ANSWERS, name="msg_2"))
    assert answer.status_code == 422
    assert [one["status"] for one in answer.json()["results"]] == ["taken", "refused", "refused"]
    _, scale, nobody = answer.json()["results"]
    assert "not 9" in scale["faults"][0]["message"]
    assert nobody["reason"] == "mapping"
    assert nobody["faults"][0] == {
        "pointer": "/helpdesk/events/1/subject",
        "message": "'item.customer' is missing: a text is needed",
    }
    [event] = await on_the_log(platform)
    assert (event["subject"], event["data"]["score"]) == ("c-1", 5)
    again = await http.post("/helpdesk", **signed(ANSWERS, name="msg_2"))
    assert [one["status"] for one in again.json()["results"]] == ["duplicate", "refused", "refused"]
    another = await http.post("/helpdesk", **signed(ANSWERS, name="msg_3"))
    assert another.json()["taken"] == 1  # another message is another answer


async def test_what_means_nothing_here_is_taken_for_nothing(http: httpx.AsyncClient, platform: Platform):
    answer = await http.post("/helpdesk", **signed({"kind": "ping"}))
    assert (answer.status_code, answer.json()["results"]) == (200, [])
    assert await on_the_log(platform) == []


SPOILED: list[dict[str, str]] = [
    {"webhook-signature": "v1," + base64.b64encode(b"x" * 32).decode()},
    {"webhook-signature": "v1,not base64"},
    {"webhook-signature": "nonsense"},
    {"webhook-signature": ""},
    {"webhook-timestamp": str(int((datetime.now(UTC) - timedelta(minutes=6)).timestamp()))},
    {"webhook-timestamp": str(int((datetime.now(UTC) + timedelta(minutes=6)).timestamp()))},
    {"webhook-timestamp": "nan"},
    {"webhook-timestamp": "soon"},
    {"webhook-id": "msg_other"},
    {"webhook-id": ""},
]


async def test_what_is_not_signed_by_who_should_have_is_not_taken(http: httpx.AsyncClient):
    for spoiled in SPOILED:
        message = signed(TICKET)
        answer = await http.post("/helpdesk", content=message["content"], headers=message["headers"] | spoiled)
        assert answer.status_code == 401, spoiled
        assert "is not taken" in answer.json()["detail"]
        assert SECRET not in answer.text


async def test_a_body_that_was_changed_or_recorded_long_ago_is_not_taken(http: httpx.AsyncClient):
    message = signed(TICKET)
    changed = await http.post("/helpdesk", content=message["content"] + " ", headers=message["headers"])
    old = await http.post("/helpdesk", **signed(TICKET, at=datetime.now(UTC) - timedelta(hours=1)))
    binary = await http.post("/helpdesk", content=b"\xff\xfe", headers=message["headers"])
    assert [changed.status_code, old.status_code, binary.status_code] == [401, 401, 401]


async def test_a_plain_hmac_of_the_body_is_verified_too(http: httpx.AsyncClient, platform: Platform):
    raw = json.dumps(REFUND).encode()
    right = hmac.new(PAYMENTS.encode(), raw, hashlib.sha256).hexdigest()
    for wrong in ({}, {"X-Signature": right}, {"X-Signature": "sha256=" + "0" * 64}, {"X-Signature": "sha256=zz"}):
        assert (await http.post("/payments", content=raw, headers=wrong)).status_code == 401
    for status in ("taken", "duplicate"):
        answer = await http.post(
            "/payments", content=raw, headers={"X-Signature": f"sha256={right}", "webhook-id": status}
        )
        assert answer.json()["results"][0]["status"] == status  # an id that is not signed makes no other message of it
    [event] = await on_the_log(platform)
    assert event["data"] == {"order_id": "o-1", "total": 19.99, "currency": "EUR"}
    assert event["time"] == datetime(2026, 3, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize("name", ["stripe", "slack", "shopify", "github"])
async def test_the_forms_of_well_known_systems(tmp_path: Path, name: str):
    path = tmp_path / "known.toml"
    path.write_text(
        f'[it]\nsource = "urn:it"\nverify = "{name}"\nsecrets = [{{ env = "IT" }}]\n'
        '[[it.events]]\ntype = "Account Identified"\nsubject = "who"\n'
    )
    hook = load_hooks(path, {"IT": "s3cret"}.get)["it"]
    assert hook.verify is not None
    now = datetime.now(UTC)
    stamp, body = str(int(now.timestamp())), b'{"who":"a"}'

    def mac(text: bytes) -> bytes:
        return hmac.new(b"s3cret", text, hashlib.sha256).digest()

    headers = {
        "stripe": {"stripe-signature": f"t={stamp},v1={'00' * 32},v1={mac(stamp.encode() + b'.' + body).hex()}"},
        "slack": {
            "x-slack-request-timestamp": stamp,
            "x-slack-signature": "v0=" + mac(b"v0:" + stamp.encode() + b":" + body).hex(),
        },
        "shopify": {"x-shopify-hmac-sha256": base64.b64encode(mac(body)).decode()},
        "github": {"x-hub-signature-256": "sha256=" + mac(body).hex()},
    }[name]
    hook.verify(headers, body, now)
    with pytest.raises(ValueError, match="is not taken"):
        hook.verify(headers, body + b" ", now)
    if name in ("stripe", "slack"):
        with pytest.raises(ValueError, match="more than 5 minutes"):
            hook.verify(headers, body, now + timedelta(minutes=6))


async def test_where_an_api_key_is_asked_for_it_is_brought_and_publishes_as_its_own_sources(
    tmp_path: Path, platform: Platform
):
    text = "[it]\nsource='urn:it'\nverify='key'\n[[it.events]]\ntype='Account Identified'\nsubject='who'\n"
    mapping = tmp_path / "keyed.toml"
    mapping.write_text(text)
    with closing(bootstrap.access_store(Settings(home=str(tmp_path)))) as store:
        keys = ApiKeys(store, "ada", lambda: datetime.now(UTC))
        secrets = [keys.create(source, ["publish"], [f"urn:{source}"])[1] for source in ("it", "bank")]
        secrets.append(keys.create("reader", ["read"], [])[1])
    app = create_app(platform, hooks=load_hooks(mapping, environment))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080/v1/hooks") as client:
        assert (await client.post("/it", json={"who": "c-1"})).status_code == 401
        headers = [{"authorization": f"Bearer {secret}"} for secret in secrets]
        answers = [await client.post("/it", json={"who": "c-1"}, headers=one) for one in headers]
    assert [one.status_code for one in answers] == [200, 422, 403]
    assert answers[1].json()["results"][0]["reason"] == "source"


async def test_what_is_no_json_or_no_hook_is_told_so(http: httpx.AsyncClient):
    unknown = await http.post("/nobody", content=b"{}")
    assert unknown.status_code == 404 and "'nobody'" in unknown.json()["detail"]
    for raw in (b"", b"{", b"[" * 100_000):
        signature = hmac.new(PAYMENTS.encode(), raw, hashlib.sha256).hexdigest()
        answer = await http.post("/payments", content=raw, headers={"X-Signature": f"sha256={signature}"})
        assert answer.status_code == 400, raw[:5]
    bodies: tuple[Any, ...] = (None, [], 7, "text", {"type": "charge.refunded", "data": []})
    for body in bodies:
        raw = json.dumps(body).encode()
        signature = hmac.new(PAYMENTS.encode(), raw, hashlib.sha256).hexdigest()
        answer = await http.post("/payments", content=raw, headers={"X-Signature": f"sha256={signature}"})
        assert answer.status_code == (422 if isinstance(body, dict) else 200), body


WRONG = [
    ("source", "[it]\nverify = 'key'\nevents = []", "it.source"),
    ("no events", "[it]\nsource = 'urn:it'\nverify = 'key'\nevents = []", "it.events: is empty"),
    ("no secret", "[it]\nsource='urn:it'\nverify='github'\n{event}", "it.secrets: is missing"),
    ("secret of a key", "[it]\nsource='urn:it'\nverify='key'\nsecrets=[{{env='IT'}}]\n{event}", "leave them out"),
    ("unset", "[it]\nsource='urn:it'\nverify='github'\nsecrets=[{{env='NO'}}]\n{event}", "NO is not set"),
    ("ours", "[it]\nsource='urn:it'\nverify='github'\nsecrets=[{{env='ENGAGE_X'}}]\n{event}", "looks like a setting"),
    ("no file", "[it]\nsource='urn:it'\nverify='github'\nsecrets=[{{file='gone'}}]\n{event}", "gone cannot be read"),
    ("both", "[it]\nsource='urn:it'\nverify='github'\nsecrets=[{{}}]\n{event}", "name either env or file"),
    ("form", "[it]\nsource='urn:it'\nverify='standard'\nsecrets=[{{env='IT'}}]\n{event}", "whsec_"),
    ("scheme", "[it]\nsource='urn:it'\nverify='gitlab'\nsecrets=[{{env='IT'}}]\n{event}", "'gitlab' is not known"),
    ("over", "[it]\nsource='urn:it'\nverify={{header='X',over='x'}}\nsecrets=[{{env='IT'}}]\n{event}", "must hold"),
    ("path", "[it]\nsource='urn:it'\nverify='key'\n{event}".replace("{event}", "{bad_path}"), "is no JMESPath"),
    ("type", "[it]\nsource='urn:it'\nverify='key'\n{bad_type}", "did you mean 'Page Viewed'?"),
    ("needs", "[it]\nsource='urn:it'\nverify='key'\n{needs}", "needs order_id"),
    ("key", "[it]\nsource='urn:it'\nverify='key'\ncolour='red'\n{event}", "colour"),
    ("toml", "[it", "not TOML"),
]
EVENTS = {
    "event": "[[it.events]]\ntype='Account Identified'\nsubject='who'",
    "bad_path": "[[it.events]]\ntype='Account Identified'\nsubject='who['",
    "bad_type": "[[it.events]]\ntype='Page Vewed'\nsubject='who'",
    "needs": "[[it.events]]\ntype='Order Completed'\nsubject='who'",
}


@pytest.mark.parametrize(("text", "words"), [one[1:] for one in WRONG], ids=[one[0] for one in WRONG])
def test_a_mapping_that_cannot_work_is_refused_with_the_key_that_is_wrong(tmp_path: Path, text: str, words: str):
    path = tmp_path / "hooks.toml"
    path.write_text(text.format(**EVENTS) if "{" in text else text)
    with pytest.raises(MappingError, match=re.escape(words)) as refused:
        load_hooks(path, {"IT": "s3cret"}.get)
    assert str(path) in str(refused.value) and "s3cret" not in str(refused.value)


def test_a_sample_is_shown_as_the_events_it_means_and_nothing_is_taken(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("HELPDESK_SECRET", SECRET)
    (home / "hooks.toml").write_text(documented())
    (home / "payments.secret").write_text(PAYMENTS)

    def run(*arguments: str, code: int = 0) -> Any:
        result = CliRunner().invoke(commands, ["hooks", *arguments])
        assert result.exit_code == code, result.output
        return result

    assert "POST /v1/hooks/helpdesk" in run("list").stdout
    assert "the mapping can work" in run("check", "helpdesk").stderr
    sample = tmp_path / "answers.json"
    sample.write_text(json.dumps(ANSWERS))
    found = json.loads(run("check", "helpdesk", "--sample", str(sample), "--json", code=3).stdout)
    assert [one["subject"] for one in found["events"]] == ["c-1", "c-2"]
    assert [one["pointer"] for one in found["faults"]] == ["event 2 /data", "/helpdesk/events/1/subject"]
    assert "nothing was taken" in run("check", "helpdesk", "--sample", str(sample), code=3).stderr
    assert not (home / "log.db").exists()
    assert "there are helpdesk, payments" in run("check", "nobody", code=4).stderr
    assert "is not JSON" in run("check", "helpdesk", "--sample", str(home / "hooks.toml"), code=2).stderr
    sample.write_text('{"kind": "ticket.created", "kind": "survey.closed"}')  # which nobody who sends it gets in
    assert "/kind stands twice" in run("check", "helpdesk", "--sample", str(sample), code=2).stderr
    (home / "hooks.toml").write_text("[it")
    assert "not TOML" in run("list", code=2).stderr


def test_a_body_that_was_missed_is_taken_by_hand_once_and_shown_before(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("HELPDESK_SECRET", SECRET)
    (home / "hooks.toml").write_text(documented())
    (home / "payments.secret").write_text(PAYMENTS)
    missed = tmp_path / "answers.json"
    missed.write_text(json.dumps(ANSWERS))

    def take(*more: str) -> Any:
        result = CliRunner().invoke(commands, ["hooks", "take", "helpdesk", str(missed), "--json", *more])
        assert result.exit_code == 3, result.output
        return json.loads(result.stdout)

    assert [one["subject"] for one in take("--dry-run")["events"]] == ["c-1", "c-2"]
    assert not (home / "log.db").exists()
    first, again, other = take(), take(), take("--webhook-id", "msg_1")
    assert (first["taken"], first["refused"]) == (1, 2)
    assert (again["taken"], again["duplicates"]) == (0, 1)
    assert other["taken"] == 1
