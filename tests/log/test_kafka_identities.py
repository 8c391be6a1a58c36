"""What a partition remembers of the events it has taken, and what it lets go."""

from collections.abc import Callable
from contextlib import closing, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engage.services.identities import Identities, digest_of

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
IN_MEMORY, ON_DISK = 1_000_000, 3

texts = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc")), min_size=1, max_size=5)
identities = st.tuples(texts, texts, texts)


def digest(name: object) -> bytes:
    return digest_of(("account-1", "shop", str(name)))


@pytest.mark.parametrize("newest", [IN_MEMORY, ON_DISK])
def test_what_is_older_than_the_window_is_let_go_and_the_rest_is_kept(newest: int) -> None:
    with closing(Identities(30 * DAY, newest=newest)) as known:
        for day in range(40):
            known.add(digest(day), START + day * DAY)
            known.forget_old()
        kept = [day for day in range(40) if digest(day) in known]
        assert kept == list(range(9, 40))
        assert len(known) == len(kept)


@pytest.mark.parametrize("newest", [IN_MEMORY, ON_DISK])
def test_within_an_hour_nothing_is_looked_through_again(newest: int) -> None:
    with closing(Identities(timedelta(minutes=1), newest=newest)) as known:
        for minute in range(30):
            known.add(digest(minute), START + timedelta(minutes=minute))
            known.forget_old()
        assert len(known) == 30


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4_000)), max_size=60),
    st.integers(1, 10),
    st.integers(0, 60),
)
def test_it_knows_what_a_plain_dictionary_knows_however_little_fits_in_memory(
    steps: list[tuple[int, int]], newest: int, loaded: int
) -> None:
    """The first ``loaded`` events are recalled from the log, the others come one by one."""
    window, now, last = timedelta(minutes=90), START, START
    plain: dict[int, datetime] = {}
    with closing(Identities(window, newest=newest)) as known:

        def take(steps: list[tuple[int, int]], is_new: Callable[[int], bool]) -> None:
            nonlocal now, last
            for name, seconds in steps:
                now += timedelta(seconds=seconds)
                if is_new(name):
                    known.add(digest(name), now)
                    plain[name], last = now, now

        with known.loading() if loaded else nullcontext():
            take(steps[:loaded], lambda name: True)
        take(steps[loaded:], lambda name: digest(name) not in known)
        assert {name for name in range(31) if digest(name) in known} == set(plain)
        known.forget_old()
        assert {name for name in range(31) if digest(name) in known} == {
            name for name, recorded in plain.items() if recorded >= last - window
        }


def test_what_is_loaded_twice_is_known_as_long_as_the_newer_one() -> None:
    with closing(Identities(DAY, newest=1)) as known:
        with known.loading():
            known.add(digest("order"), START)
            known.add(digest("order"), START + DAY)
        known.add(digest("another"), START + DAY * 3 / 2)
        known.forget_old()
        assert digest("order") in known
        assert len(known) == 2


def test_nothing_is_left_in_the_folder_whatever_becomes_of_the_process(tmp_path: Path) -> None:
    with closing(Identities(DAY, tmp_path, newest=1)) as known:
        known.add(digest("order"), START)
        assert list(tmp_path.iterdir()) == []
        assert digest("order") in known


def test_partitions_do_not_share_what_they_know(tmp_path: Path) -> None:
    with closing(Identities(DAY, tmp_path, newest=1)) as one, closing(Identities(DAY, tmp_path, newest=1)) as other:
        one.add(digest("order"), START)
        assert digest("order") not in other


@given(identities, identities)
def test_only_the_same_subject_source_and_id_are_the_same(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    assert (digest_of(one) == digest_of(other)) == (one == other)
