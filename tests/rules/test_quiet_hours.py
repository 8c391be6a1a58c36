"""Quiet hours by the account's own clock, whatever its zone does with the clock."""

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from engage.rules.policy import PolicySettings
from engage.rules.quiet_hours import QuietHours, quiet_until, zone_names, zone_of
from engage.testing.events import moment

NIGHT = QuietHours(time(21), time(8))
NOON = QuietHours(time(12), time(14))
zones = st.sampled_from(sorted(zone_names())).map(zone_of)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC))
clocks = st.times().map(lambda each: each.replace(second=0, microsecond=0))


def until(hours, zone, now):
    found = quiet_until(hours, zone_of(zone), moment(now))
    return found and f"{found:%Y-%m-%dT%H:%M}"


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-03-01T20:59:59", None),
        ("2026-03-01T21:00", "2026-03-02T08:00"),
        ("2026-03-02T00:00", "2026-03-02T08:00"),
        ("2026-03-02T07:59:59", "2026-03-02T08:00"),
        ("2026-03-02T08:00", None),
    ],
)
def test_the_night_goes_over_midnight(now, end):
    assert until(NIGHT, "UTC", now) == end


def test_hours_within_a_day_end_on_that_day():
    assert until(NOON, "UTC", "2026-03-01T13:00") == "2026-03-01T14:00"
    assert until(NOON, "UTC", "2026-03-01T14:00") is None


def test_hours_that_end_when_they_start_disturb_nobody():
    assert until(QuietHours(time(8), time(8)), "UTC", "2026-03-01T08:00") is None


def test_the_clock_is_the_accounts_own():
    assert until(NIGHT, "Asia/Tokyo", "2026-03-01T12:00") == "2026-03-01T23:00"
    assert until(NIGHT, "America/New_York", "2026-03-01T12:00") == "2026-03-01T13:00"
    assert until(NIGHT, "Asia/Kathmandu", "2026-03-01T00:00") == "2026-03-01T02:15"


def test_the_night_in_which_the_clocks_change_ends_at_eight_too():
    assert until(NIGHT, "Europe/Berlin", "2026-03-28T22:00") == "2026-03-29T06:00"
    assert until(NIGHT, "Europe/Berlin", "2026-10-24T22:00") == "2026-10-25T07:00"


def test_an_end_that_the_clock_leaps_over_comes_all_the_same():
    hours = QuietHours(time(21), time(2, 30))
    assert until(hours, "Europe/Berlin", "2026-03-29T00:59") == "2026-03-29T01:30"


def test_an_end_that_the_clock_shows_twice_ends_the_hours_twice():
    hours = QuietHours(time(21), time(2, 30))
    assert until(hours, "Europe/Berlin", "2026-10-25T00:10") == "2026-10-25T00:30"
    assert until(hours, "Europe/Berlin", "2026-10-25T00:40") is None
    assert until(hours, "Europe/Berlin", "2026-10-25T01:10") == "2026-10-25T01:30"


def test_a_day_that_a_country_leaves_out_does_no_harm():
    assert until(NIGHT, "Pacific/Apia", "2011-12-30T09:00") == "2011-12-30T18:00"


@for_all(zones, moments)
def test_a_night_ends_within_a_day_when_people_are_up(zone, now):
    end = quiet_until(NIGHT, zone, now)
    local = now.astimezone(zone)
    assert (end is None) == (time(8) <= local.time() < time(21))
    if end is not None:
        assert now < end <= now + timedelta(hours=36)
        assert quiet_until(NIGHT, zone, end) is None


@for_all(clocks, clocks, zones, moments)
def test_any_hours_in_any_zone_end_after_now(start, end, zone, now):
    found = quiet_until(QuietHours(start, end), zone, now)
    assert found is None or now < found <= now + timedelta(hours=49)


def test_a_zone_that_nobody_knows_is_none():
    assert zone_of("Europe/Atlantis") is None
    assert zone_of("../../etc/passwd") is None
    assert zone_of("zone.tab") is None


def test_quiet_hours_have_no_offset_of_their_own():
    with pytest.raises(ValueError, match="write 21:00 without an offset"):
        QuietHours(time(21, tzinfo=UTC), time(8))


def test_settings_name_a_zone_and_a_share_that_can_be():
    with pytest.raises(ValueError, match="no time zone is called 'Europe/Atlantis'"):
        PolicySettings(time_zone="Europe/Atlantis")
    with pytest.raises(ValueError, match=r"1\.5 is no share"):
        PolicySettings(holdout=1.5)
