"""Invite somebody back to a video that they began with interest and did not finish: half a story wants its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from msgspec import Struct

from engage.events.catalogue.video import VideoCompleted, VideoPaused, VideoProgressed, VideoStarted
from engage.events.envelope import Event
from engage.rules.rule import Effect, FollowUpRequest, Forget, Rule, RuleSettings, Wake, Woken

_OPEN = 20
_REMEMBERED = 50
_TITLE = 80


class Settings(RuleSettings):
    """They are invited when nothing moved for ``after`` (days), once per video, and not within ``rest`` (days) of the
    last invitation; it makes sense for ``expires`` (days).

    Who saw less than ``interest`` of it (0-1) did not care for it, who saw ``finished`` of it (0-1) has seen it.
    """

    after: timedelta = timedelta(days=3)
    rest: timedelta = timedelta(days=14)
    expires: timedelta = timedelta(days=14)
    interest: float = 0.1
    finished: float = 0.95


class Watched(Struct, omit_defaults=True, gc=False):
    """How far they came: ``position`` of ``length`` (seconds; 0: not told), and when they last watched."""

    last: datetime
    title: str = ""
    position: float = 0.0
    length: float = 0.0


class State(Struct, omit_defaults=True, gc=False):
    """The videos begun, by id; the latest ones that need no invitation (any more); when they were last invited."""

    begun: dict[str, Watched] = {}
    done: list[str] = []
    asked: datetime | None = None


rule = Rule("video-unfinished", version=1, settings=Settings(), state=State)


@rule.on(VideoStarted, VideoProgressed, VideoPaused)
def watched(
    state: State, event: Event[VideoStarted | VideoProgressed | VideoPaused], settings: Settings
) -> Iterable[Effect]:
    """They are at it."""
    data = event.data
    if data.video_id in state.done:
        return
    video = state.begun.get(data.video_id)
    if video is None:
        video = state.begun[data.video_id] = Watched(event.time)
        yield from _bound(state)
    video.last = max(video.last, event.time)
    video.length = data.length or video.length
    if isinstance(data, VideoStarted):
        video.title = (data.title or "")[:_TITLE]
    else:
        video.position = max(video.position, data.position)
    if video.length and video.position >= settings.finished * video.length:
        _finish(state, data.video_id)
        yield Forget(data.video_id)
    else:
        yield Wake(video.last + settings.after, about=data.video_id)


@rule.on(VideoCompleted)
def completed(state: State, event: Event[VideoCompleted], settings: Settings) -> Iterable[Effect]:
    """They saw it to its end."""
    _finish(state, event.data.video_id)
    return (Forget(event.data.video_id),)


@rule.on_wake
def left(state: State, wake: Woken, settings: Settings) -> Iterable[Effect]:
    """Some days have passed and they did not come back to it."""
    video = state.begun.pop(wake.about)
    cared = video.position > 0 and video.position >= settings.interest * video.length
    if not cared or (state.asked is not None and wake.due < state.asked + settings.rest):
        return
    state.asked = wake.due
    _finish(state, wake.about)
    name = f"“{video.title}”" if video.title else wake.about
    of = f" of {_minutes(video.length)}" if video.length else ""
    yield FollowUpRequest(
        what="video invitation",
        why=f"They saw {_minutes(video.position)}{of} minutes of the video {name} and stopped on {video.last.date()}.",
        about=wake.about,
        purpose="marketing",
        channels=("email",),
        priority="low",
        due=timedelta(days=3),
        expires=settings.expires,
        matter=rule.name,
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f}"


def _bound(state: State) -> Iterator[Effect]:
    """Give up the video not watched for longest when somebody begins more than they will ever finish."""
    if len(state.begun) > _OPEN:
        oldest = min(list(state.begun)[:-1], key=lambda video_id: state.begun[video_id].last)
        del state.begun[oldest]
        yield Forget(oldest)


def _finish(state: State, video_id: str) -> None:
    state.begun.pop(video_id, None)
    if video_id not in state.done:
        state.done = [*state.done, video_id][-_REMEMBERED:]
