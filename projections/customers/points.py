"""Loyalty points that lapse: lots by the moment at which they do, used up in that order, lapsing without an event.

An upstream system may report that points lapsed, or only say when they will, or both; it may report late. So what
lapses on its moment is remembered for a while: a report of it changes nothing any more, and what was redeemed before
that moment, but told after it, takes back what lapsed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from msgspec import Struct

KEPT_LOTS = 24
"""Moments at which points lapse that are told apart; beyond, those that lapse last are taken together."""
KEPT_LAPSES = 6


class Lot(Struct):
    """Points that lapse, or lapsed, at ``expires``."""

    expires: datetime
    points: int


class Points(Protocol):
    """An account's points: ``lots`` by when they lapse, the rest of ``balance`` for good; ``lapsed`` the latest."""

    balance: int | None
    earned: int
    redeemed: int
    expired: int
    lots: list[Lot]
    lapsed: list[Lot]


def earn(row: Points, points: int, expires: datetime | None) -> None:
    """Points come in, to lapse at ``expires``, or never."""
    row.earned += points
    row.balance = (row.balance or 0) + points
    if expires is not None:
        _put(row.lots, expires, points)
    _cover(row)


def redeem(row: Points, points: int, time: datetime) -> None:
    """Points are spent, those first that lapse first: also such as have lapsed after ``time``, as it turns out."""
    balance, left = row.balance or 0, points
    for lapse in row.lapsed:
        if lapse.expires > time:
            given_back = min(lapse.points, left)
            lapse.points -= given_back
            left -= given_back
            row.expired -= given_back
            balance += given_back
    row.lapsed = [lapse for lapse in row.lapsed if lapse.points]
    row.redeemed += points
    row.balance = balance - points
    _use(row.lots, left)
    _cover(row)


def announce(row: Points, points: int, expires: datetime) -> None:
    """So many points will lapse by ``expires``: what is not known to do so yet is taken from those kept for good."""
    known = sum(lot.points for lot in row.lots if lot.expires <= expires)
    for_good = (row.balance or 0) - sum(lot.points for lot in row.lots)
    more = min(points - known, for_good)
    if more > 0:
        _put(row.lots, expires, more)


def expire(row: Points, points: int) -> None:
    """Points are reported to have lapsed: those that did so by themselves are not taken twice."""
    left = _use(row.lapsed, points)
    _use(row.lots, left)
    row.expired += left
    row.balance = (row.balance or 0) - left
    _cover(row)


def lapse(row: Points, moment: datetime) -> None:
    """What was to lapse by ``moment`` is gone."""
    gone = [lot for lot in row.lots if lot.expires <= moment]
    row.lots = [lot for lot in row.lots if lot.expires > moment]
    for lot in gone:
        row.expired += lot.points
        row.balance = (row.balance or 0) - lot.points
    row.lapsed = (row.lapsed + gone)[-KEPT_LAPSES:]


def _put(lots: list[Lot], expires: datetime, points: int) -> None:
    for lot in lots:
        if lot.expires == expires:
            lot.points += points
            return
    if points:
        lots.append(Lot(expires, points))
        lots.sort(key=lambda lot: lot.expires)
    if len(lots) > KEPT_LOTS:
        before_last = lots.pop(-2)
        lots[-1].points += before_last.points


def _use(lots: list[Lot], points: int) -> int:
    """Take points from the lots that lapse first; returns how many they do not hold."""
    while lots and points:
        taken = min(lots[0].points, points)
        lots[0].points -= taken
        points -= taken
        if not lots[0].points:
            del lots[0]
    return points


def _cover(row: Points) -> None:
    """Lots never hold more than there is, whatever was spent before we heard that it was earned."""
    _use(row.lots, max(sum(lot.points for lot in row.lots) - max(row.balance or 0, 0), 0))
