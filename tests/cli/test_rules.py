"""``engage rules``: how the rules stand, why one asks or does not, and how one rests and comes back."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from engage import bootstrap
from engage.rules.policy import PolicySettings
from engage.services.configuration import Configured
from tests.cli.house import House
from tests.rules.probes import asking, forbidden, living_in, ordered, reminder, ticket
from tests.rules.test_mending import choosy

YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def house(tmp_path, monkeypatch):
    """Runs engage on a folder with three small rules and no quiet hours."""
    rules = (choosy(["bad"]), reminder(), asking(channels=("email",), purpose="marketing"))
    monkeypatch.setattr(bootstrap, "rules", lambda settings: Configured(rules, PolicySettings(quiet_hours=None)))
    run = House(tmp_path)

    def listed():
        return {one["name"]: one for one in msgspec.json.decode(run("rules", "list", "--json"))["rules"]}

    def explained(account, *more):
        return msgspec.json.decode(run("rules", "explain", account, "--json", *more))

    run.listed, run.explained = listed, explained
    run.publish(
        living_in("Europe/Lisbon", subject="acc-1"),
        forbidden("email", subject="acc-1"),
        ticket(YESTERDAY, "t-1"),
        ordered(YESTERDAY, "o-1"),
        ticket("2026-11-01", "bad", subject="acc-2"),
    )
    return run


def test_each_rule_is_listed_with_what_it_asked_for_what_it_was_not_let_and_who_stands_still(house):
    found = house.listed()
    assert {name: (one["state"], one["parked"]) for name, one in found.items()} == {
        "asking": ("on", 0),
        "choosy": ("on", 1),
        "reminder": ("on", 0),
    }
    assert found["asking"]["skipped"], "marketing by email needs a yes"
    assert found["reminder"]["settings"]["after"] == "P3D"
    assert "choosy" in house("rules", "list")


def test_why_a_rule_did_not_ask_is_told_with_what_it_waits_for_and_what_the_policy_goes_by(house):
    found = {one["name"]: one for one in house.explained("acc-1")["rules"]}
    [said] = found["asking"]["said"]
    assert (said["asked"], said["reason"], said["about"]) == (False, "consent", "t-1")
    assert [one["about"] for one in found["reminder"]["waits"]] == ["o-1"]
    assert "It looks again on" in found["reminder"]["words"]
    assert "did not get it" in found["asking"]["words"]
    assert found["asking"]["state"] == {"count": 1}
    policy = house.explained("acc-1")["policy"]
    assert policy["time_zone"] == "Europe/Lisbon"
    assert [(one["channel"], one["purpose"], one["yes"]) for one in policy["consent"]] == [
        ("email", "marketing", False)
    ]
    told = house("rules", "explain", "acc-1", "--rule", "asking")
    assert "no to marketing by email" in told and "choosy: " not in told
    assert house("rules", "explain", "nobody", code=4) == ""
    assert house("rules", "explain", "acc-1", "--rule", "nothing", code=4) == ""


def test_an_account_that_stands_still_is_told_with_what_to_do(house):
    [one] = house.explained("acc-2", "--rule", "choosy")["rules"]
    assert one["stands_still"]["fault"] == "ZeroDivisionError: cannot take it"
    assert f"engage dead-letters retry {one['stands_still']['id']}" in one["words"]
    [letter] = msgspec.json.decode(house("dead-letters", "list", "--json"))["dead_letters"]
    assert letter["id"] == one["stands_still"]["id"]


def test_a_rule_rests_across_restarts_until_it_is_enabled(house):
    assert "asking is off" in house("rules", "disable", "asking", "--reason", "asks too often")
    assert "already off" in house("rules", "disable", "asking")
    assert house.listed()["asking"]["state"] == "off"
    before = house.listed()["asking"]
    house.publish(ticket("2026-11-03", "t-2", subject="acc-3"))
    assert house.listed()["asking"] == before
    [one] = house.explained("acc-3", "--rule", "asking")["rules"]
    assert not one["on"] and "disabled" in one["words"] and one["said"] == []
    assert "asking is on" in house("rules", "enable", "asking")
    house.publish(ticket("2026-11-04", "t-3", subject="acc-3"))
    [one] = house.explained("acc-3", "--rule", "asking")["rules"]
    assert [said["about"] for said in one["said"]] == ["t-3"]
    assert one["state"] == {"count": 2}, "what came while it rested it knows"
    assert house("rules", "disable", "nothing", code=4) == ""
    told = house("log", "find", "--type", "rule.disabled", "--json")
    assert told.count('"reason":"asks too often"') == 4 and '"actor":"ada"' in told
