"""On real purchases, the shipped health score tells who comes back better than the yardsticks do."""

from pathlib import Path

import pytest

from engage.services import health_learners
from engage.services.health_benchmark import HealthBenchmark, run
from engage.services.health_learners import BOOSTING, LOGISTIC
from engage.services.purchase_history import EARLIER, HELD_OUT
from engage.services.ranking import chance

YARDSTICKS = {"BG/NBD", "BG/NBD, published parameters", "recency", "frequency"}
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
        assert all(ranked.auc["shipped score"] > ranked.auc[way] for way in YARDSTICKS)


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
        assert lowest.share < 0.15 < 0.7 < highest.share
        assert all(decile.share == decile.came_back / decile.customers for decile in ranked.deciles)
        assert sum(decile.came_back for decile in ranked.deciles) == round(ranked.came_back * ranked.customers)
        assert [decile.share for decile in ranked.deciles] == sorted(decile.share for decile in ranked.deciles)
    read_as_chance = [decile.mean / 100 for decile in benchmark.earlier.deciles[:-1]]
    assert read_as_chance == pytest.approx([decile.share for decile in benchmark.earlier.deciles[:-1]], abs=0.04)


def test_a_score_of_twenty_can_be_read_as_a_chance(benchmark: HealthBenchmark) -> None:
    to_september, to_december = (chance(ranked.deciles, 20) for ranked in benchmark.held_out)
    assert 0.45 < to_september < 0.55
    assert 0.35 < to_december < 0.45


def test_it_can_be_written_as_json(benchmark: HealthBenchmark) -> None:
    told = benchmark.to_dict()
    assert told["held_out"][0]["period"] == {"calibration": "1997-09-30", "outcome": "1998-06-30"}
    assert set(told["held_out"][0]["auc"]) >= YARDSTICKS | {"shipped score"}
    assert set(told["held_out"][0]["deciles"][0]) == {"lowest", "mean", "highest", "customers", "came_back", "share"}


def test_what_was_not_measured_is_said_with_the_remedy(benchmark: HealthBenchmark) -> None:
    learned = {BOOSTING, LOGISTIC}
    for ranked in benchmark.held_out:
        assert ranked.auc.keys() & learned == (learned if health_learners.are_there() else set())
    assert (benchmark.not_measured is None) == health_learners.are_there()
    assert "engage-platform[benchmark]" in (benchmark.not_measured or health_learners.MISSING)


@pytest.mark.skipif(not health_learners.are_there(), reason="needs the extra engage-platform[benchmark]")
def test_the_learned_peers_are_no_straw_men(benchmark: HealthBenchmark) -> None:
    to_september, to_december = (ranked.auc for ranked in benchmark.held_out)
    assert to_september[BOOSTING] > 0.766
    assert to_september[LOGISTIC] > 0.771
    assert to_december[BOOSTING] > 0.803
    assert to_december[LOGISTIC] > 0.806
