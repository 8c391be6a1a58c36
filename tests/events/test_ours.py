"""What engage says itself has one source a type, and nobody else's event passes for it."""

from datetime import UTC, datetime

import pytest
from msgspec import Raw

from engage.events.catalogue import RESERVED
from engage.events.envelope import Event
from engage.events.ours import SOURCES, SPEAKERS, claims_to_be_ours, is_ours
from engage.relationships.aggregate import SOURCE as RELATIONSHIPS
from engage.rules.decisions import SOURCE as RULES
from engage.services.intake import tick


def event(kind: str, source: str, subject: str) -> Event[Raw]:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    return Event(specversion="1.0", id="e", source=source, type=kind, subject=subject, time=moment, data=Raw(b"{}"))


def test_every_reserved_type_has_a_source_of_engage_s_own() -> None:
    assert SPEAKERS.keys() == RESERVED
    assert all(source.startswith(SOURCES) for source in SPEAKERS.values())


def test_what_engage_sends_is_known_as_its_own() -> None:
    assert is_ours(tick(3, datetime(2026, 3, 1, tzinfo=UTC)))
    assert is_ours(event("rule.activated", RULES, "partition:3"))
    assert is_ours(event("follow_up.requested", RULES, "acc-1"))
    assert is_ours(event("follow_up.skipped", RULES, "acc-1"))
    assert is_ours(event("follow_up.completed", RELATIONSHIPS, "acc-1"))
    assert is_ours(event("rule.disabled", "engage/operators", "partition:3"))
    for subject in ("acc-1", "market:music", "engage:operations"):
        assert is_ours(event("dead_letter.skipped", "engage/operators", subject))


@pytest.mark.parametrize(
    ("kind", "source", "subject"),
    [
        ("clock.ticked", "urn:shop", "partition:3"),
        ("clock.ticked", "engage/rules", "partition:3"),
        ("clock.ticked", "engage/clock", "acc-1"),
        ("follow_up.requested", "engage/relationships", "acc-1"),
        ("follow_up.completed", "engage/relationships", "market:music"),
        ("account.erased", "urn:shop", "acc-1"),
        ("dead_letter.skipped", "urn:shop", "acc-1"),
        ("dead_letter.skipped", "engage/operators", "partition:3"),
        ("rule.enabled", "engage/operators", "acc-1"),
        ("Robot Waved", "engage/relationships", "acc-1"),
    ],
)
def test_what_does_not_fit_together_claims_to_be_ours_and_is_not(kind: str, source: str, subject: str) -> None:
    stranger = event(kind, source, subject)
    assert claims_to_be_ours(stranger)
    assert not is_ours(stranger)


def test_what_others_publish_claims_nothing() -> None:
    assert not claims_to_be_ours(event("Robot Waved", "urn:shop", "acc-1"))
