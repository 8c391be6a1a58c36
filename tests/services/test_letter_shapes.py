"""A thousand equal faults are one group, whatever their messages name."""

import pytest

from engage.services.letters.letter import Chosen, DeadLetter, by_fault, shape_of


def letter(fault: str, number: int = 1, consumer: str = "rule choosy") -> DeadLetter:
    name = f"{number:010x}"
    return DeadLetter(
        id=name, consumer=consumer, fault=fault, account="ada", partition=0, offset=number, event_id="evening"
    )


@pytest.mark.parametrize(
    ("fault", "shape"),
    [
        ("ValueError: order-17 costs -3.50 EUR", "ValueError: … costs -… EUR"),
        ("ValueError: ada has no evening", "ValueError: … has no …"),
        ("KeyError: 'total'", "KeyError: 'total'"),
        ("KeyError: 'e7a1-ff0'", "KeyError: '…'"),
        ("ValueError: 2026-03-01T09:00:00+00:00 is before 2026-02-28.", "ValueError: … is before …."),
        ("OSError: [Errno 28] no space", "OSError: [Errno 28] no space"),
        ("RuntimeError: HTTP 404 for order-17", "RuntimeError: HTTP 404 for …"),
        ("RuntimeError: HTTP 500 for order-18", "RuntimeError: HTTP 500 for …"),
        ("HTTPError: HTTP Error 503: try in 17 s", "HTTPError: HTTP Error 503: try in … s"),
        ("HTTPError: 404 Client Error for url x/17", "HTTPError: 404 Client Error for url …"),
        ("Refused: status=422, code: 7, order 404", "Refused: status=422, code: 7, order …"),
        ("Refused: error 2026-03-01 at code 123456", "Refused: error … at code …"),
        ("KeyError: 'code-404'", "KeyError: '…'"),
        ("TypeError: adamant is no number", "TypeError: adamant is no number"),
        ("too_old: urn:shop:7 came at 12:00", "too_old: … came at …"),
        ("Utf8Error", "Utf8Error"),
    ],
)
def test_what_is_one_letter_s_alone_is_left_out_of_the_fault(fault: str, shape: str):
    assert shape_of(letter(fault)) == shape


def test_a_thousand_equal_faults_are_one_group_and_what_differs_in_kind_or_consumer_is_not():
    many = [letter(f"ValueError: order-{number} is {number} too many", number) for number in range(1_000)]
    others = [letter("TypeError: order-1 is 1 too many"), letter(many[0].fault, consumer="rule other")]
    groups = by_fault([*others, *many])
    assert [(key, len(found)) for key, found in groups.items()] == [
        (("rule choosy", "ValueError: … is … too many"), 1_000),
        (("rule choosy", "TypeError: … is … too many"), 1),
        (("rule other", "ValueError: … is … too many"), 1),
    ]


def test_what_failed_otherwise_is_another_group():
    gone, broken = letter("RuntimeError: HTTP 404 for order-1"), letter("RuntimeError: HTTP 500 for order-2", 2)
    assert len(by_fault([gone, broken])) == 2
    chosen = Chosen(fault=shape_of(gone))
    assert [chosen.fits(one) for one in (gone, broken)] == [True, False]


def test_a_group_is_chosen_as_it_is_shown():
    chosen = Chosen(fault="ValueError: … is … too many")
    assert chosen.fits(letter("ValueError: order-1 is 1 too many"))
    assert not chosen.fits(letter("ValueError: order-1 is 1 too few"))
