"""Who the win-back rule calls and who of them had gone, against 60 days with as many calls."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest

from engage.services.purchase_history import Period, Purchase, in_order
from engage.services.win_back_benchmark import (
    EVERY,
    LONGER,
    LONGEST,
    SAME_DAYS,
    SINGLES,
    WIN_BACK,
    Called,
    WinBackBenchmark,
    compare,
    run,
)

CDNOW = Path(__file__).parents[2] / "examples" / "cdnow" / "cdnow_master.txt.gz"
START = date(2026, 1, 1)


def shop(bought: Mapping[str, Sequence[int]], known: int, end: int) -> dict[str, Called]:
    """What came of the calls up to the day ``known``, days counted from 0, judged by the purchases up to ``end``."""
    days = [(customer, day) for customer, known_days in bought.items() for day in known_days]
    purchases = in_order(
        Purchase(line, customer, START + timedelta(days=day), 10.0) for line, (customer, day) in enumerate(days, 1)
    )
    [compared] = compare(purchases, [Period(START + timedelta(days=known), START + timedelta(days=end))])
    return compared.ways


@pytest.fixture(scope="module")
def benchmark() -> WinBackBenchmark:
    return run(CDNOW)


def test_a_slow_customer_is_left_in_peace_and_a_gone_one_called() -> None:
    # Both are silent for 60 days; only of the weekly one that means farewell.
    ways = shop({"slow": [0, 50, 115], "weekly": [36, 43, 50, 57]}, known=120, end=300)
    assert ways[WIN_BACK] == Called(calls=1, customers=1, silent_days=60.0, gone=1, share=1.0)
    assert ways[EVERY] == Called(calls=2, customers=2, silent_days=60.0, gone=1, share=0.5)


def test_as_many_calls_go_to_the_latest_silence_or_to_the_longest() -> None:
    # On day 100 the weekly customer is called; "older" has then been silent for 90 days, with a rhythm of 31.
    ways = shop({"older": [-21, 10, 150], "weekly": [26, 33, 40], "single": [40]}, known=102, end=300)
    assert ways[WIN_BACK] == Called(calls=1, customers=1, silent_days=60.0, gone=1, share=1.0)
    assert ways[SAME_DAYS] == ways[WIN_BACK]
    assert ways[LONGEST] == Called(calls=1, customers=1, silent_days=90.0, gone=0, share=0.0)
    assert ways[SINGLES].calls == 1


def test_a_longer_fixed_silence_makes_no_more_calls_than_win_back() -> None:
    # "slow" buys after 65 days: a fixed silence has to be of 66 to leave them in peace, as win-back does.
    ways = shop({"slow": [0, 50, 115], "weekly": [36, 43, 50]}, known=120, end=300)
    assert ways[EVERY].calls == 2
    assert ways[LONGER] == Called(calls=1, customers=1, silent_days=66.0, gone=1, share=1.0)


def test_who_buys_after_the_outcome_had_gone_and_who_buys_on_the_day_of_the_call_had_not() -> None:
    assert shop({"later": [0, 7, 101]}, known=90, end=100)[WIN_BACK].gone == 1
    assert shop({"at the end": [0, 7, 100]}, known=90, end=100)[WIN_BACK].gone == 0
    assert shop({"that day": [0, 7, 67]}, known=90, end=100)[WIN_BACK].gone == 0


def test_a_call_after_the_calibration_is_none() -> None:
    bought = {"weekly": [0, 7]}
    assert shop(bought, known=67, end=100)[WIN_BACK].calls == 1
    assert shop(bought, known=66, end=100)[WIN_BACK] == Called(0, 0, 0.0, 0, 0.0)


def test_who_comes_back_and_leaves_again_is_called_again() -> None:
    # After 60 days, the least there is, and after 150: thrice the mean of 7 and 93.
    called = shop({"twice": [0, 7, 100]}, known=300, end=400)[WIN_BACK]
    assert called == Called(calls=2, customers=1, silent_days=105.0, gone=1, share=0.5)


@pytest.mark.timeout(120)
def test_on_real_purchases_win_back_is_right_more_often_than_sixty_days(benchmark: WinBackBenchmark) -> None:
    for compared in benchmark.periods:
        ways = compared.ways
        assert {ways[way].calls for way in (SAME_DAYS, LONGEST, SINGLES)} == {ways[WIN_BACK].calls}
        assert ways[WIN_BACK].share > ways[SAME_DAYS].share + 0.03
        assert ways[WIN_BACK].share > ways[EVERY].share + 0.03
        assert 0.95 * ways[WIN_BACK].calls < ways[LONGER].calls <= ways[WIN_BACK].calls
        assert ways[LONGER].silent_days > ways[WIN_BACK].silent_days + 30


def test_it_can_be_written_as_json(benchmark: WinBackBenchmark) -> None:
    told = benchmark.to_dict()
    assert told["purchases"] == 69_659
    assert told["periods"][0]["period"] == {"calibration": "1997-09-30", "outcome": "1998-06-30"}
    assert set(told["periods"][0]["ways"][WIN_BACK]) == {"calls", "customers", "silent_days", "gone", "share"}
