"""What every store of read models promises to those who ask; a part of ``ViewStoreContract``."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec import structs

from engage.store.asking import Answers
from engage.store.views import ViewStore
from engage.testing.store_rows import FULL, Everything, change, everything
from engage.views.asking import Condition, Order, Question, Test, answered, place_of

_START = datetime(2026, 3, 1, tzinfo=UTC)
_KEY = Order("key")
_ALL = Everything.__struct_fields__
_VALUES: dict[str, tuple[Any, ...]] = {
    # Letters whose order is the same in every database's own.
    "name": ("", "a", "ab", "abc", "b"),
    "status": ("open", "closed"),
    "count": (-3, 0, 2, 2**62),
    "score": (-0.5, 0.0, 0.1, 1e300),
    "flag": (False, True),
    "seen": (_START, _START + timedelta(microseconds=1), _START - timedelta(days=400)),
    "day": (date(1999, 12, 31), date(2026, 3, 1)),
    "amount": (Decimal(-7), Decimal(0), Decimal("9.5"), Decimal("10.25"), Decimal(100)),
}
_VALUES |= {f"maybe_{name}": (None, *_VALUES[name]) for name in ("name", "count", "score", "flag", "seen", "amount")}


class AskingContract:
    """Inherited by ``ViewStoreContract``, whose fixture ``store`` it uses."""

    def test_what_is_asked_of_the_database_is_answered_as_of_rows_in_memory(self, store: ViewStore) -> None:
        dice = random.Random(17)
        rows = [_row(dice, f"key-{number:02}") for number in range(60)]
        store.commit([change(0, 1, *rows)])
        answers = Answers(store)
        for _ in range(50):
            whole = _question(dice)
            wanted = [place_of(row, whole.fields) for row in answered(rows, whole)]
            with answers.stream(everything, whole) as streamed:
                assert list(streamed) == wanted, whole
            asked, found = structs.replace(whole, limit=dice.randint(1, 25)), []
            while page := answers.page(everything, asked):
                here = [values for values, _ in page]
                assert here == [place_of(row, asked.fields) for row in answered(rows, asked)], asked
                found += here
                asked = structs.replace(asked, after=page[-1][1])
            assert found == wanted, asked

    def test_pages_stay_right_while_rows_come_and_go(self, store: ViewStore) -> None:
        store.commit([change(0, 1, *[Everything(f"k{n}", count=n) for n in range(0, 100, 10)])])
        answers, seen = Answers(store), []
        asked = Question(("key", "count"), order=(Order("count"), _KEY), limit=3)
        position = 1
        while page := answers.page(everything, asked):
            seen += [values[1] for values, _ in page]
            asked = structs.replace(asked, after=page[-1][1])
            # What comes before the place that was reached, or goes behind it, moves nothing.
            store.commit([change(position, position + 1, Everything(f"new{position}", count=-1), gone=("k90",))])
            position += 1
        assert seen == [*range(0, 90, 10)]

    def test_a_beginning_is_taken_as_it_is_written(self, store: ViewStore) -> None:
        keys = ["50%", "50%off", "500", "a_b", "aXb", "A_b", "ü", "ué", "😀", "😀😀", "\U0010ffff", "\U0010ffffz"]
        store.commit([change(0, 1, *map(Everything, keys))])
        for beginning in ("50%", "a_", "u", "ü", "😀", "\U0010ffff", "", "zzz"):
            asked = Question(("key",), (Condition("key", "prefix", beginning),))
            with Answers(store).stream(everything, asked) as found:
                assert {key for (key,) in found} == {key for key in keys if key.startswith(beginning)}, beginning

    def test_a_row_of_a_key_says_which_change_made_it_what_it_is(self, store: ViewStore) -> None:
        answers = Answers(store)
        store.commit([change(0, 1, FULL)])
        first = answers.row(everything, "full", _ALL)
        assert first is not None
        assert first.values == structs.astuple(FULL)
        assert (first.partition, first.change) == (0, 1)
        store.commit([change(1, 2, structs.replace(FULL, count=1))])
        second = answers.row(everything, "full", ("count",))
        assert second is not None
        assert (second.values, second.change, second.epoch) == ((1,), 2, first.epoch)
        assert answers.row(everything, "nobody", _ALL) is None


def _row(dice: random.Random, key: str) -> Everything:
    return Everything(key, **{name: dice.choice(values) for name, values in _VALUES.items()})


def _question(dice: random.Random) -> Question:
    tests: tuple[Test, ...] = ("eq", "ne", "lt", "le", "gt", "ge", "in", "null", "prefix")
    where = []
    for column in dice.sample(sorted(_VALUES), dice.randint(0, 2)):
        test = dice.choice(tests if column.endswith("name") else tests[:-1])
        values = [value for value in _VALUES[column] if value is not None]
        wanted = {"null": dice.random() < 0.5, "in": tuple(dice.sample(values, 2))}.get(test, dice.choice(values))
        where.append(Condition(column, test, wanted))
    order = [Order(column, dice.random() < 0.5) for column in dice.sample(sorted(_VALUES), dice.randint(0, 3))]
    fields = tuple(dice.sample(sorted(_VALUES), 3)) if dice.random() < 0.5 else _ALL
    return Question(fields, tuple(where), (*order, _KEY))
