"""How well a score tells who comes back: by pairs (AUC), and by tenths, so that a score can be read as a chance."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import groupby

from msgspec import Struct


class Decile(Struct, frozen=True):
    """A tenth of the customers by score: lowest, mean and highest score, how many they are, and how many came back.

    ``share`` of them came back, 0-1.
    """

    lowest: float
    mean: float
    highest: float
    customers: int
    came_back: int
    share: float


def auc(scores: Sequence[float], came_back: Sequence[bool]) -> float:
    """The chance that one who came back has a higher score than one who did not, a tie counting half.

    The Mann-Whitney statistic by mid-ranks (Hanley & McNeil 1982). ValueError unless there are both kinds.
    """
    positives = sum(came_back)
    negatives = len(came_back) - positives
    if not positives or not negatives:
        raise ValueError("AUC compares those who came back with those who did not: here are none of one kind")
    ranks = 0.0
    below = 0
    for _, tied in groupby(sorted(zip(scores, came_back, strict=True)), key=lambda pair: pair[0]):
        back = [outcome for _, outcome in tied]
        ranks += sum(back) * (below + (len(back) + 1) / 2)
        below += len(back)
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def deciles(scores: Sequence[float], came_back: Sequence[bool]) -> list[Decile]:
    """The customers in tenths, from the lowest scores up; of equal scores, the outcome does not say which is where."""
    pairs = sorted(zip(scores, came_back, strict=True), key=lambda pair: pair[0])
    tenths = [pairs[len(pairs) * i // 10 : len(pairs) * (i + 1) // 10] for i in range(10)]
    return [_decile(tenth) for tenth in tenths if tenth]


def chance(tenths: Sequence[Decile], score: float) -> float:
    """What share (0-1) came back of those who scored about ``score``: between two tenths' means, along a line."""
    above = bisect_right(tenths, score, key=lambda tenth: tenth.mean)
    if above in (0, len(tenths)):
        return tenths[max(above - 1, 0)].share
    low, high = tenths[above - 1], tenths[above]
    return low.share + (high.share - low.share) * (score - low.mean) / (high.mean - low.mean)


def _decile(tenth: Sequence[tuple[float, bool]]) -> Decile:
    back = sum(came_back for _, came_back in tenth)
    mean = sum(score for score, _ in tenth) / len(tenth)
    return Decile(tenth[0][0], mean, tenth[-1][0], len(tenth), back, back / len(tenth))
