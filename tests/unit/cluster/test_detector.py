import pytest

from denoagents.cluster.beat import Beat, BeatAnswer, BeatFlag, BeatStatus
from denoagents.cluster.detector import Detector
from denoagents.cluster.lease import Lease
from denoagents.cluster.settings import ClusterSettings

SETTINGS = ClusterSettings()
S = 1_000_000_000


def at(now_s, **fields):
    detector = Detector(SETTINGS, 0)
    detector.observe(Beat(1, 0, **fields), 0)
    return detector.liveness(int(now_s * S))


def test_a_member_that_beats_in_time_is_alive():
    assert at(0.1, tick_age_us=5000, loop_lag_us=300) == "alive"


def test_late_ticks_or_late_beats_mean_starved():
    assert at(0.1, loop_lag_us=150_000) == "starved"
    assert at(0.1, beat_late_us=150_000) == "starved"


def test_beats_without_ticks_mean_blocked():
    assert at(0.1, tick_age_us=600_000) == "blocked"
    assert at(0.1, flags=BeatFlag.BLOCKED) == "blocked"


def test_no_beats_mean_silent_and_then_dead():
    detector = Detector(SETTINGS, 0)
    assert detector.liveness(int(0.5 * S)) == "alive"
    assert detector.liveness(int(0.7 * S)) == "silent"
    assert not detector.is_dead(int(2.4 * S))
    assert detector.is_dead(int(2.4 * S) + 1)


def test_the_lease_counts_from_sending_the_beat_that_was_answered():
    lease = Lease(SETTINGS, 0)
    lease.answered(BeatAnswer(BeatStatus.OK, 1, 2 * S, 9, 0))
    assert lease.holds(int(3.59 * S))
    assert not lease.holds(int(3.6 * S))


def test_an_old_answer_does_not_shorten_the_lease():
    lease = Lease(SETTINGS, 0)
    lease.answered(BeatAnswer(BeatStatus.OK, 1, 2 * S, 9, 0))
    lease.answered(BeatAnswer(BeatStatus.OK, 1, 1 * S, 9, 0))
    assert lease.holds(int(3.5 * S))


def test_a_refused_connection_renews_the_lease_and_an_unknown_member_does_not():
    lease = Lease(SETTINGS, 0)
    lease.answered(BeatAnswer(BeatStatus.UNKNOWN, 1, 1 * S, 9, 0))
    assert not lease.holds(int(1.6 * S))
    lease.refused(2 * S)
    assert lease.holds(3 * S)


def test_an_evicted_member_has_no_lease_whatever_comes_later():
    lease = Lease(SETTINGS, 0)
    lease.answered(BeatAnswer(BeatStatus.EVICTED, 1, S, 9, 0))
    lease.answered(BeatAnswer(BeatStatus.OK, 1, 5 * S, 9, 0))
    assert not lease.holds(1)


@pytest.mark.parametrize(
    "fields",
    [
        {"stop_after_s": 0.3},
        {"stop_after_s": 2.4},
        {"replace_after_s": 11.0},
        {"rename_after_s": 1.5},
    ],
)
def test_times_that_do_not_fit_together_are_refused(fields):
    with pytest.raises(ValueError, match=r"must hold|must be above"):
        ClusterSettings(**fields)


def test_the_profile_for_slow_networks_is_consistent():
    assert ClusterSettings.wan().stop_after_s == 8.0
