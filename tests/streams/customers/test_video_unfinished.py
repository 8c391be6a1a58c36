"""Who began a video with interest is invited back to it once."""

from engage.events.catalogue.consent import ConsentGiven
from engage.events.catalogue.video import VideoCompleted, VideoPaused, VideoProgressed, VideoStarted
from engage.testing.events import happened
from engage.testing.rules import given, requested, skipped
from streams.customers.video_unfinished import rule

CONSENT = happened(ConsentGiven(channel="email", purpose="marketing"), at="2024-01-01")


def started(at, video="v-1", length=600, title="Kind of Blue", **more):
    return happened(VideoStarted(video_id=video, length=length, title=title), at=at, **more)


def progressed(position, at, video="v-1", length=None, **more):
    return happened(VideoProgressed(video_id=video, position=position, length=length), at=at, **more)


def paused(position, at, video="v-1"):
    return happened(VideoPaused(video_id=video, position=position), at=at)


def completed(at, video="v-1", **more):
    return happened(VideoCompleted(video_id=video), at=at, **more)


def test_who_stopped_halfway_is_invited_back_three_days_later():
    (
        given(rule, CONSENT, started("2026-03-01T20:00"), paused(240, "2026-03-01T20:04"))
        .when(time="2026-03-04T20:03")
        .then_nothing()
        .when(time="2026-03-04T20:04")
        .then(
            requested(
                "video invitation",
                about="v-1",
                purpose="marketing",
                channels=["email"],
                priority="low",
                why="They saw 4 of 10 minutes of the video “Kind of Blue” and stopped on 2026-03-01.",
                expires="2026-03-18T20:04",
            )
        )
        .when(time="2026-12-01")
        .then_nothing()
    )


def test_who_saw_it_to_its_end_or_almost_is_not_invited():
    for end in (completed("2026-03-01T20:10"), progressed(570, "2026-03-01T20:10"), paused(599, "2026-03-01T20:10")):
        given(rule, CONSENT, started("2026-03-01T20:00"), progressed(300, "2026-03-01T20:05"), end).when(
            time="2026-04-01"
        ).then_nothing()


def test_a_completion_that_the_log_learned_of_first_counts():
    (
        given(rule, CONSENT, completed("2026-03-01T20:10"), started("2026-03-01T20:00", recorded="2026-03-01T20:20"))
        .when(time="2026-04-01")
        .then_nothing()
    )


def test_who_closed_it_at_once_did_not_care():
    given(rule, CONSENT, started("2026-03-01T20:00")).when(time="2026-04-01").then_nothing()
    given(rule, CONSENT, started("2026-03-01T20:00"), paused(59, "2026-03-01T20:01")).when(
        time="2026-04-01"
    ).then_nothing()


def test_who_did_not_care_at_first_may_come_to_care():
    (
        given(rule, CONSENT, started("2026-03-01T20:00"))
        .when(time="2026-03-10")
        .then_nothing()
        .when(started("2026-04-01T20:00"), paused(300, "2026-04-01T20:05"), time="2026-04-10")
        .then(requested("video invitation", about="v-1"))
    )


def test_a_video_of_unknown_length_and_title_is_named_by_its_id():
    (
        given(rule, CONSENT, progressed(240, "2026-03-01"))
        .when(time="2026-03-04")
        .then(requested("video invitation", why="They saw 4 minutes of the video v-1 and stopped on 2026-03-01."))
    )


def test_reports_out_of_order_count_alike():
    (
        given(
            rule,
            CONSENT,
            progressed(300, "2026-03-01T20:05"),
            started("2026-03-01T20:00", recorded="2026-03-01T20:06"),
            progressed(150, "2026-03-01T20:02", recorded="2026-03-01T20:07"),
        )
        .when(time="2026-03-05")
        .then(
            requested(
                "video invitation",
                why="They saw 5 of 10 minutes of the video “Kind of Blue” and stopped on 2026-03-01.",
            )
        )
    )


def test_of_several_videos_one_is_chosen_and_then_there_is_a_rest():
    (
        given(rule, CONSENT, progressed(300, "2026-03-01"), progressed(300, "2026-03-02", "v-2"))
        .when(time="2026-03-10")
        .then(requested("video invitation", about="v-1"))
        .when(progressed(300, "2026-03-20", "v-3"), time="2026-03-30")
        .then(requested("video invitation", about="v-3"))
        .when(progressed(400, "2026-04-20"), time="2026-05-30")
        .then_nothing()
    )


def test_the_longest_id_is_taken():
    (
        given(rule, CONSENT, progressed(300, "2026-03-01", "x" * 256))
        .when(time="2026-03-05")
        .then(requested("video invitation", about="x" * 256))
    )


def test_without_consent_to_marketing_nobody_is_invited():
    (
        given(rule, progressed(300, "2026-03-01"))
        .when(time="2026-04-01")
        .then(skipped("video invitation", reason="consent", about="v-1"))
    )


def test_who_begins_a_thousand_videos_is_remembered_by_the_latest_twenty():
    begun = [progressed(300, f"2026-03-01T10:{n // 60:02}:{n % 60:02}", f"v-{n}") for n in range(1_000)]
    story = given(rule, CONSENT, *begun)
    assert list(story.state(rule).begun) == [f"v-{n}" for n in range(980, 1_000)]
    story.when(time="2026-03-10").then(requested("video invitation", about="v-980"))
