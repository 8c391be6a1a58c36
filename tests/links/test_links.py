"""What is followed from a mail counts once, cannot be forged, and never says no for somebody who only looked."""

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from engage import bootstrap
from engage.cli.main import app as commands
from engage.events import codec
from engage.http.app import create_app
from engage.services.links import (
    KINDS,
    BadLinkError,
    Clicked,
    LinkError,
    Links,
    Opened,
    Survey,
    Unsubscribe,
    Withdraw,
)
from engage.services.platform import Platform
from engage.settings import Settings
from tests.http.given import START, STRANGE_IDS, Clock

KEY = bytes(range(32))
BASE = "http://127.0.0.1:8080"
PIXEL = Opened(account="c-1", newsletter_id="n-1")
CLICK = Clicked(account="c-1", newsletter_id="n-1", to="https://shop.example/a?utm=1#x")
UNSUBSCRIBE = Unsubscribe(account="c-1", list_id="weekly")
NPS = Survey(account="c-1", survey_id="s-1", survey="nps", order_id="o-1", score=9)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def links(clock: Clock) -> Links:
    return Links(lambda: [KEY], BASE, clock)


@pytest.fixture
async def platform(tmp_path: Path, clock: Clock) -> AsyncIterator[Platform]:
    async with bootstrap.platform(Settings(home=str(tmp_path)), clock=clock, models=()) as opened:
        yield opened


@pytest.fixture
async def http(platform: Platform, links: Links) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(platform, links=links), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        yield client


async def said(platform: Platform) -> list[tuple[str, dict[str, Any]]]:
    """Type and data of what links have put on the log."""
    found = []
    for partition in range(platform.log.partitions):
        for record in (await platform.log.read(partition, 0, 100)).records:
            event = codec.decode(record.value)
            if event.source == "urn:engage:links":
                found.append((event.type, msgspec.json.decode(event.data)))
    return found


async def test_an_issue_is_opened_once_however_often_its_image_is_loaded(
    http: httpx.AsyncClient, platform: Platform, links: Links
):
    for _ in range(3):
        image = await http.get(links.url(PIXEL))
        assert (image.status_code, image.headers["content-type"], len(image.content)) == (200, "image/gif", 43)
        assert image.headers["cache-control"] == "no-store"
    assert await said(platform) == [("Newsletter Opened", {"newsletter_id": "n-1"})]


async def test_a_click_leads_on_and_is_counted_once_for_each_link(
    http: httpx.AsyncClient, platform: Platform, links: Links
):
    other = msgspec.structs.replace(CLICK, to="https://shop.example/b", label="the second", topic="jazz")
    for link in (CLICK, other, CLICK):
        answer = await http.get(links.url(link))
        assert (answer.status_code, answer.headers["location"]) == (302, link.to)
    assert await said(platform) == [
        ("Newsletter Clicked", {"newsletter_id": "n-1", "link": "https://shop.example/a"}),
        ("Newsletter Clicked", {"newsletter_id": "n-1", "link": "the second", "topic": "jazz"}),
    ]


async def test_an_old_click_still_leads_on_and_nothing_is_counted(
    http: httpx.AsyncClient, platform: Platform, links: Links, clock: Clock
):
    urls = [links.url(CLICK), links.url(PIXEL)]
    clock.move(days=91)
    assert [(await http.get(url)).status_code for url in urls] == [302, 200]
    assert await said(platform) == []


@pytest.mark.parametrize(
    ("link", "event"),
    [
        (UNSUBSCRIBE, ("Newsletter Unsubscribed", {"list_id": "weekly", "reason": "link"})),
        (
            Withdraw(account="c-1", channel="sms", purpose="marketing"),
            ("Consent Withdrawn", {"channel": "sms", "purpose": "marketing", "origin": "link"}),
        ),
    ],
    ids=["unsubscribe", "withdraw"],
)
async def test_only_the_button_says_no_and_it_does_each_time(
    http: httpx.AsyncClient, platform: Platform, links: Links, clock: Clock, link: Any, event: Any
):
    page = await http.get(links.url(link))
    assert page.status_code == 200 and '<form method="post">' in page.text
    assert (await http.head(links.url(link))).status_code == 200
    assert (await http.head(links.url(CLICK))).headers["location"] == CLICK.to
    assert (await http.head("/l/nothing")).status_code == 404
    assert await said(platform) == []
    done = await http.post(links.url(link))
    assert done.status_code == 200 and "You are unsubscribed" in done.text
    clock.move(days=1)  # they may have subscribed again in between
    one_click = {"content-type": "application/x-www-form-urlencoded"}
    await http.post(links.url(link), content="List-Unsubscribe=One-Click", headers=one_click)
    assert await said(platform) == [event, event]


async def test_a_survey_is_answered_on_its_page_and_the_first_answer_counts(
    http: httpx.AsyncClient, platform: Platform, links: Links
):
    url = links.url(NPS)
    page = await http.get(url)
    assert re.findall(r'value="(\d+)" required checked', page.text) == ["9"]
    assert page.text.count('type="radio"') == 11
    assert await said(platform) == []
    for wrong in ({}, {"score": "11"}, {"score": "-1"}, {"score": "many"}, {f"f{n}": "1" for n in range(50)}):
        answer = await http.post(url, data=wrong)
        assert answer.status_code == 422 and "Please choose" in answer.text, wrong
    assert "We have your answer" in (await http.post(url, data={"score": "10", "comment": "<b>grand</b>\0"})).text
    assert "had answered already" in (await http.post(url, data={"score": "0"})).text
    [(kind, data)] = await said(platform)
    assert kind == "Survey Answered"
    assert (data["score"], data["kind"], data["order_id"]) == (10, "nps", "o-1")
    assert data["comment"].startswith("sealed:")
    declined = await http.post(links.url(Survey(account="c-2", survey_id="s-1", survey="csat")), data={"decline": "1"})
    assert "We will not ask again" in declined.text
    assert ("Survey Declined", {"survey_id": "s-1", "kind": "csat"}) in await said(platform)


async def test_pages_run_nothing_and_show_nothing_of_the_token(http: httpx.AsyncClient, links: Links):
    for link in (UNSUBSCRIBE, NPS):
        page = await http.get(links.url(link))
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "form-action 'self'" in policy
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["x-robots-tag"] == "noindex, nofollow"
        assert "<script" not in page.text and '<html lang="en">' in page.text and "c-1" not in page.text


async def test_what_was_forged_or_is_too_old_does_nothing(
    http: httpx.AsyncClient, platform: Platform, links: Links, clock: Clock
):
    token = links.token(UNSUBSCRIBE)
    body, _, signature = token.partition(".")
    forged = [
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        links.token(NPS).partition(".")[0] + "." + signature,
        Links(lambda: [bytes(32)], BASE, clock).token(UNSUBSCRIBE),
        body,
        body + ".",
        "." + signature,
        "x",
        "%00",
        "é",
        "a" * 5_000,
    ]
    for one in forged:
        assert (await http.get(f"/l/{one}")).status_code == 404, one
        assert (await http.post(f"/l/{one}")).status_code == 404, one
    clock.move(days=731)
    for answer in (await http.get(f"/l/{token}"), await http.post(f"/l/{token}")):
        assert answer.status_code == 410 and "too old" in answer.text
    assert (await http.post(links.url(CLICK))).status_code == 405
    assert await said(platform) == []


@pytest.mark.parametrize(
    "target",
    ["javascript:alert(1)", "//evil.example", "https://", "/path", "https://a b/", "https://u:p@h/", "https://h/é", ""],
)
def test_a_redirect_leads_only_to_where_it_was_made_for_and_to_no_script(links: Links, target: str):
    with pytest.raises(LinkError, match="is no place to lead to"):
        links.token(msgspec.structs.replace(CLICK, to=target))


@given(st.sampled_from([PIXEL, CLICK, UNSUBSCRIBE, NPS]), st.integers(0, 300), st.characters(codec="ascii"))
def test_a_token_that_was_changed_anywhere_is_not_read(link: Any, at: int, letter: str):
    links = Links(lambda: [KEY], BASE, lambda: START)
    token = links.token(link)
    place = at % len(token)
    changed = token[:place] + letter + token[place + 1 :]
    if changed == token:
        assert links.read(changed).link == link
        return
    try:
        found = links.read(changed)
    except BadLinkError:
        return
    # The last letter of base64 has bits that mean nothing: what it says is the same all the same.
    assert found.link == link and place == len(token) - 1


@given(st.text(min_size=1, max_size=50), st.sampled_from(sorted(KINDS)))
def test_what_a_link_says_is_what_was_put_into_it(account: str, letter: str):
    made: dict[str, Any] = {
        "u": Unsubscribe(account=account, newsletter_id="n"),
        "w": Withdraw(account=account, channel="*", purpose="research"),
        "s": Survey(account=account, survey_id="s", survey="csat", ticket_id="t"),
        "o": Opened(account=account, newsletter_id="n", campaign="spring"),
        "c": Clicked(account=account, newsletter_id="n", to="http://h/", topic="t"),
    }
    links = Links(lambda: [KEY], BASE, lambda: START)
    assert links.read(links.token(made[letter])).link == made[letter]


async def test_links_are_made_over_http_for_a_whole_issue(http: httpx.AsyncClient, links: Links):
    wanted = [{"kind": "pixel", "account": one, "newsletter_id": "n-1"} for one in STRANGE_IDS]
    answer = await http.post("/v1/links", json={"links": wanted})
    assert answer.status_code == 200
    for account, url in zip(STRANGE_IDS, answer.json()["urls"], strict=True):
        assert links.read(url.removeprefix(f"{BASE}/l/")).link == Opened(account=account, newsletter_id="n-1")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"kind": "pixel", "account": "ada@example.org", "newsletter_id": "n"}, "/links/0"),
        ({"kind": "click", "account": "c", "newsletter_id": "n", "to": "javascript:x"}, "/links/0"),
        ({"kind": "survey", "account": "c", "survey_id": "s", "survey": "nps", "score": 11}, "/links/0"),
        ({"kind": "pixel", "account": "c", "newsletter_id": "n", "days": 0}, "/links/0"),
        ({"kind": "pixel", "account": "c"}, "/links/0"),
        ({"kind": "banner", "account": "c"}, "/links/0"),
    ]
    for link, pointer in wrong:
        answer = await http.post("/v1/links", json={"links": [link]})
        assert answer.status_code == 422, link
        assert answer.json()["faults"][0]["pointer"].startswith(pointer), link


def test_links_are_made_and_read_on_the_command_line(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ENGAGE_PUBLIC_URL", "https://engage.example/")

    def run(*arguments: str, code: int = 0) -> Any:
        result = CliRunner().invoke(commands, ["links", *arguments])
        assert result.exit_code == code, result.output
        return result

    made = json.loads(run("make", "unsubscribe", "--account", "c-1", "--list", "weekly", "--json").stdout)
    assert made["headers"] == {
        "List-Unsubscribe": f"<{made['url']}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    assert made["url"].startswith("https://engage.example/l/")
    found = json.loads(run("read", made["url"], "--json").stdout)
    assert found == {"link": {"kind": "unsubscribe", "account": "c-1", "list_id": "weekly"}, "holds": True}
    for arguments in (
        ("pixel", "--newsletter", "n"),
        ("click", "--newsletter", "n", "--to", "https://h/"),
        ("survey", "--survey", "s", "--kind", "csat"),
        ("withdraw", "--channel", "sms", "--purpose", "marketing"),
    ):
        assert "/l/" in run("make", *arguments, "--account", "c-1").stdout
    assert (
        "no place to lead to" in run("make", "click", "--account", "c", "--newsletter", "n", "--to", "x", code=2).stderr
    )
    assert (
        "--kind 'x' is none" in run("make", "survey", "--account", "c", "--survey", "s", "--kind", "x", code=2).stderr
    )
    assert "--purpose" in run("make", "withdraw", "--account", "c", "--channel", "x", "--purpose", "x", code=2).stderr
    assert "no link of engage's" in run("read", made["url"] + "x", code=1).stderr


def test_how_long_a_link_holds_can_be_said(links: Links, clock: Clock):
    token = links.token(msgspec.structs.replace(PIXEL, days=1))
    assert links.read(token).holds
    clock.now = datetime(2026, 3, 2, 9, tzinfo=UTC) + timedelta(days=1)
    assert not links.read(token).holds
