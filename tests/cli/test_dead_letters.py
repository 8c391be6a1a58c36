"""``engage dead-letters``: what rules and read models could not take, shown, retried and skipped."""

from datetime import datetime, timedelta

import msgspec
import pytest
from msgspec import Struct

from engage import bootstrap
from engage.events.catalogue.commerce import OrderCompleted
from engage.views.projection import Projection
from tests.cli.house import House
from tests.rules.probes import ordered, ticket
from tests.rules.test_mending import choosy
from tests.services.shop_views import Spend


def spending(bad):
    """A read model that cannot take orders of ``bad``."""
    model = Projection("spending", version=1, row=Spend)

    @model.on(OrderCompleted)
    def spent(row, event):
        if event.data.order_id == bad:
            raise ValueError(f"{bad} of {event.subject} cannot be taken")
        row.orders += 1
        return row

    return model


@pytest.fixture
def house(tmp_path, monkeypatch):
    """Runs engage on a folder with one rule and one read model, which fail at what is called bad."""
    monkeypatch.setattr(bootstrap, "RULES", (choosy(["bad"]),))
    monkeypatch.setattr(bootstrap, "PROJECTIONS", (spending("bad"),))
    run = House(tmp_path)

    def mended():
        monkeypatch.setattr(bootstrap, "RULES", (choosy(),))
        monkeypatch.setattr(bootstrap, "PROJECTIONS", (spending(None),))

    run.mended = mended
    run.publish(
        *(
            one
            for who in ("acc-1", "acc-2")
            for one in (
                ordered("2026-03-01", "o-1", subject=who),
                ordered("2026-03-02", "bad", subject=who),
                ticket("2026-03-02", "bad", subject=who),
                ticket("2026-03-03", "t-2", subject=who),
                ordered("2026-03-03", "o-3", subject=who),
            )
        )
    )
    return run


def listed(run, *more):
    return msgspec.json.decode(run("dead-letters", "list", "--json", *more))["dead_letters"]


def by_consumer(letters):
    return {(one["consumer"], one["account"]): one["id"] for one in letters}


def test_they_are_listed_by_fault_and_shown_with_the_whole_error_and_the_event(house):
    assert set(by_consumer(listed(house))) == {
        (consumer, who) for consumer in ("rule choosy", "view spending") for who in ("acc-1", "acc-2")
    }
    told = house("dead-letters", "list")
    assert "rule choosy: ZeroDivisionError: cannot take it (2)" in told
    assert "view spending: ValueError: bad of … cannot be taken (2)\nsuch as ValueError: bad of acc-" in told
    assert len(listed(house, "--where", 'fault="bad of … cannot" view=spending')) == 2
    [one] = listed(house, "--where", "account=acc-1 rule=choosy fault=ZeroDivision since=2026-01-01")
    told = house("dead-letters", "show", one["id"][:4])
    assert "Traceback" in told and '"ticket_id": "bad"' in told
    assert listed(house, "--where", "since=2099-01-01") == []


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("rule=chosy", "there is no rule 'chosy': did you mean choosy?"),
        ("view=spendings", "there is no read model 'spendings': did you mean spending?"),
        ("consumer=desks", "there is no consumer 'desks': did you mean desk?"),
    ],
)
def test_a_consumer_that_there_is_not_is_named_with_the_nearest(house, where, words):
    for command in (("list",), ("retry",), ("skip", "--reason", "a test")):
        assert words in house.refused("dead-letters", *command, "--where", where, code=2)


def test_what_was_mended_goes_on_once_it_is_retried_and_what_was_not_stays_with_its_fault(house):
    mine = by_consumer(listed(house))["rule choosy", "acc-1"]
    told = house("dead-letters", "retry", mine, code=1)
    assert "failed again: ZeroDivisionError: cannot take it" in told
    assert by_consumer(listed(house))["rule choosy", "acc-1"] == mine
    house.mended()
    told = house("dead-letters", "retry", "--all", "--where", "account=acc-1")
    assert told.count("goes on") == 2
    assert set(by_consumer(listed(house))) == {("rule choosy", "acc-2"), ("view spending", "acc-2")}
    assert house("dead-letters", "retry", "--all").count("goes on") == 2
    assert house("dead-letters", "list") == "nothing here: every consumer goes on\n"
    assert "its rows are the fold of the log" in house("projections", "verify", "spending")
    audit = house("audit")
    assert "dead-letters retry" in audit


def test_a_skip_asks_why_is_on_the_log_and_goes_over_that_event_alone(house):
    ids = by_consumer(listed(house))
    assert house("dead-letters", "skip", ids["view spending", "acc-1"], code=2) == ""
    house("dead-letters", "skip", "--reason", "a test order", "--where", "account=acc-1")
    told = house("log", "find", "--type", "dead_letter.skipped", "--json")
    assert told.count('"reason":"a test order"') == 2 and '"actor":"ada"' in told
    assert set(by_consumer(listed(house))) == {("rule choosy", "acc-2"), ("view spending", "acc-2")}
    house.publish(ordered("2026-03-05", "o-5"), ticket("2026-03-05", "t-5"))
    assert house("views", "spending", "account=acc-1", "fields=orders", "--csv").split() == ["orders", "3"]
    asked = house("log", "find", "--type", "follow_up.skipped", "--account", "acc-1", "--json")
    assert '"about":"t-5-2"' in asked  # it has heard of two before, of which one is passed over


def test_who_does_not_say_which_is_told_so_and_nothing_is_done(house):
    assert house("dead-letters", "retry", code=2) == ""
    assert house("dead-letters", "retry", "--where", "who=acc-1", code=2) == ""
    assert house("dead-letters", "retry", "ffffffff", code=4) == ""
    assert house("dead-letters", "show", "ffffffff", code=4) == ""
    assert house("dead-letters", "skip", "--all", "--reason", " ", code=2) == ""
    assert len(listed(house)) == 4
    assert house("log", "find", "--type", "dead_letter.skipped", code=4) == ""


class Reminded(Struct):
    account: str
    at: datetime | None = None
    woken: bool = False


def reminding(asleep):
    """A read model whose rows want to be woken a day after an order, and fail then as long as they are asleep."""
    model = Projection("reminded", version=1, row=Reminded)

    @model.on(OrderCompleted)
    def has_ordered(row, event):
        row.at = event.time + timedelta(days=1)
        return row

    @model.on_wake(lambda row: row.at)
    def woken(row, moment):
        if asleep:
            raise ValueError("nobody is at home")
        row.at, row.woken = None, True
        return row

    return model


def test_what_no_event_broke_cannot_be_skipped_and_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(bootstrap, "RULES", ())
    monkeypatch.setattr(bootstrap, "PROJECTIONS", (reminding(asleep=True),))
    run = House(tmp_path)
    run.publish(ordered("2026-03-01", "o-1", subject="acc-1"), ordered("2026-03-05", "o-2", subject="acc-2"))
    letters = {one["account"]: one["id"] for one in listed(run)}
    assert set(letters) == {"acc-1", "acc-2"}
    told = run("dead-letters", "skip", letters["acc-1"], "--reason", "a test", code=1)
    assert "cannot skip: no event broke it: it failed when it was woken" in told
    assert f"`engage dead-letters retry {letters['acc-1']}`" in told
    monkeypatch.setattr(bootstrap, "PROJECTIONS", (reminding(asleep=False),))
    assert run("dead-letters", "retry", "--all").count("goes on") == 2
    assert run("views", "reminded", "account=acc-1", "fields=woken", "--csv").split() == ["woken", "true"]
