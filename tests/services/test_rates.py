"""A caller asks as often as they may: a burst, then the rate; whoever else asks meanwhile."""

from hypothesis import given
from hypothesis import strategies as st

from engage.services.rates import BURST_SECONDS, Rates, take

RATES = st.floats(0.01, 1_000)
PAUSES = st.lists(st.floats(0, 60), max_size=200)


class Watch:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@given(RATES, PAUSES)
def test_in_no_stretch_of_time_are_there_more_than_a_burst_and_the_rate(rate: float, pauses: list[float]):
    now = full_at = 1_000.0
    taken: list[float] = []
    for pause in pauses:
        now += pause
        full_at, wait = take(full_at, now, rate)
        if wait == 0:
            taken.append(now)
    holds = max(1.0, rate * BURST_SECONDS)
    for place, start in enumerate(taken):
        for count, end in enumerate(taken[place:], 1):
            assert count <= holds + (end - start) * rate + 1e-3


@given(RATES, PAUSES)
def test_who_waits_as_long_as_told_is_let_in_and_not_sooner(rate: float, pauses: list[float]):
    now = full_at = 1_000.0
    for pause in pauses:
        now += pause
        full_at, wait = take(full_at, now, rate)
        if wait > 1e-3:
            assert take(full_at, now + wait * 0.99, rate)[1] > 0
            assert take(full_at, now + wait * 1.001 + 1e-6, rate)[1] == 0


@given(RATES)
def test_who_keeps_below_the_rate_never_waits(rate: float):
    now = full_at = 1_000.0
    for _ in range(50):
        full_at, wait = take(full_at, now, rate)
        assert wait == 0
        now += 1 / rate


def test_one_caller_does_not_use_up_what_is_anothers():
    watch = Watch()
    rates = Rates(watch)
    assert [rates.wait("shop", 1) for _ in range(6)] == [0, 0, 0, 0, 0, 1]
    assert rates.wait("crm", 1) == 0
    watch.now += 1
    assert rates.wait("shop", 1) == 0


def test_memory_is_bounded_and_the_greediest_are_not_forgotten():
    watch = Watch()
    rates = Rates(watch, most=100)
    while rates.wait("greedy", 10) == 0:
        pass
    for number in range(1_000):
        rates.wait(f"caller-{number}", 10)
        assert len(rates) <= 100
    assert rates.wait("greedy", 10) > 0


def test_who_has_a_full_bucket_takes_no_memory_once_others_need_it():
    watch = Watch()
    rates = Rates(watch, most=100)
    for number in range(100):
        rates.wait(f"caller-{number}", 10)
    watch.now += 3_600
    rates.wait("new", 10)
    assert len(rates) == 1
