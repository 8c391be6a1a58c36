"""On real purchases, the shipped health score tells who comes back better than the yardsticks do."""

import gzip
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engage.services.health_benchmark import EARLIER, HELD_OUT, HealthBenchmark, Purchase, auc, read, run

CDNOW = Path(__file__).parents[2] / "examples" / "cdnow" / "cdnow_master.txt.gz"


@pytest.fixture(scope="module")
def benchmark() -> HealthBenchmark:
    return run(CDNOW)


@pytest.mark.timeout(120)
def test_the_shipped_score_reaches_what_it_promises(benchmark: HealthBenchmark) -> None:
    to_september, to_december = (ranked.auc["shipped score"] for ranked in benchmark.held_out)
    assert to_september >= 0.770
    assert to_december >= 0.805


@pytest.mark.timeout(120)
def test_the_shipped_score_beats_every_yardstick(benchmark: HealthBenchmark) -> None:
    for ranked in benchmark.held_out:
        assert all(ranked.auc["shipped score"] > value for way, value in ranked.auc.items() if way != "shipped score")


def test_the_yardsticks_are_as_good_as_others_found_them(benchmark: HealthBenchmark) -> None:
    to_september, to_december = (ranked.auc for ranked in benchmark.held_out)
    assert to_september["BG/NBD"] == pytest.approx(0.763, abs=0.001)
    assert to_september["recency"] == pytest.approx(0.759, abs=0.001)
    assert to_september["frequency"] == pytest.approx(0.753, abs=0.001)
    assert to_december["BG/NBD"] == pytest.approx(0.799, abs=0.001)


def test_the_shipped_parameters_are_those_that_the_earlier_months_chose(benchmark: HealthBenchmark) -> None:
    assert benchmark.shipped_half_life == benchmark.best_half_life
    assert benchmark.shipped_prior == benchmark.best_prior
    by_half_life = {tried.value: tried.result for tried in benchmark.half_lives}
    assert benchmark.earlier.auc["shipped score"] == pytest.approx(by_half_life[benchmark.shipped_half_life], abs=1e-6)


def test_no_month_that_was_looked_at_to_choose_is_asked_for_in_the_result() -> None:
    assert all(EARLIER.outcome <= period.calibration for period in HELD_OUT)


def test_every_purchase_and_customer_of_the_file_counts(benchmark: HealthBenchmark) -> None:
    assert benchmark.purchases == 69_659
    assert [ranked.customers for ranked in benchmark.held_out] == [23_570, 23_570]
    assert benchmark.held_out[0].came_back == pytest.approx(0.299, abs=0.001)


def test_deciles_tell_the_chance_behind_a_score(benchmark: HealthBenchmark) -> None:
    for ranked in benchmark.held_out:
        lowest, *_, highest = ranked.deciles
        assert sum(decile.customers for decile in ranked.deciles) == ranked.customers
        assert lowest.came_back < 0.15 < 0.7 < highest.came_back
    read_as_chance = [(d.lowest + d.highest) / 200 for d in benchmark.earlier.deciles[:-1]]
    assert read_as_chance == pytest.approx([d.came_back for d in benchmark.earlier.deciles[:-1]], abs=0.04)


def test_it_can_be_written_as_json(benchmark: HealthBenchmark) -> None:
    told = benchmark.to_dict()
    assert told["held_out"][0]["period"] == {"calibration": "1997-09-30", "outcome": "1998-06-30"}
    assert set(told["held_out"][0]["auc"]) == {
        "shipped score",
        "BG/NBD",
        "BG/NBD, published parameters",
        "recency",
        "frequency",
    }


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_auc_is_the_share_of_pairs_in_the_right_order(pairs: Sequence[tuple[int, bool]]) -> None:
    back = [score for score, came_back in pairs if came_back]
    gone = [score for score, came_back in pairs if not came_back]
    if not back or not gone:
        with pytest.raises(ValueError, match="none of one kind"):
            auc([score for score, _ in pairs], [came_back for _, came_back in pairs])
        return
    right = sum((b > g) + (b == g) / 2 for b in back for g in gone) / (len(back) * len(gone))
    assert auc([float(score) for score, _ in pairs], [came_back for _, came_back in pairs]) == pytest.approx(right)


def test_a_line_is_a_purchase_whatever_its_amount(tmp_path: Path) -> None:
    file = tmp_path / "purchases.txt"
    file.write_text(" customer_id date number dollars\n 00001 19970101 1 11.77\n\n 00001 19970101 1 0.00\n")
    assert list(read(file)) == [
        Purchase(2, "00001", date(1997, 1, 1), 11.77),
        Purchase(4, "00001", date(1997, 1, 1), 0.0),
    ]


@pytest.mark.parametrize("line", ["00001 19970101 1", "00001 19971301 1 2.0", "00001 19970101 1 much"])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "purchases.txt"
    file.write_text(f"00001 19970101 1 11.77\n{line}\n")
    with pytest.raises(ValueError, match=r"line 2 is not customer, day, pieces and dollars"):
        list(read(file))


def test_a_truncated_file_is_said_to_be_unreadable(tmp_path: Path) -> None:
    file = tmp_path / "purchases.txt.gz"
    file.write_bytes(gzip.compress(b"00001 19970101 1 11.77\n" * 1000)[:-12])
    with pytest.raises(ValueError, match="cannot be read"):
        list(read(file))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing\.txt cannot be read"):
        list(read(tmp_path / "missing.txt"))
