from itertools import pairwise
from random import Random

import pytest

from denoagents.broker.health import Prober
from denoagents.cluster.settings import ClusterSettings

S = 1_000_000_000


@pytest.fixture
def prober():
    """One worker, 1, first seen at 0 s; probed every 30 s, from its first turn on."""
    prober = Prober(ClusterSettings(), Random(1))
    prober.due([1], 0)
    return prober


def run(prober, seconds, answer=None):
    """Time passes; each probe is answered at once, or never; when the verdict changed."""
    changes = []
    for now_s in seconds:
        due, failed = prober.due([1], now_s * S)
        if failed and not prober.health(1).is_healthy:
            changes.append((now_s, False))
        if due and answer is not None:
            verdict = prober.answered(1, answer)
            if verdict is not None:
                changes.append((now_s, verdict))
    return changes


def test_a_worker_is_probed_every_30_seconds(prober):
    asked = []
    for now_s in range(1, 121):
        if prober.due([1], now_s * S)[0]:
            asked.append(now_s)
            prober.answered(1, {"ok": True})
    assert len(asked) == 4
    assert {b - a for a, b in pairwise(asked)} == {30}


def test_three_failed_probes_in_a_row_make_it_unhealthy(prober):
    assert run(prober, range(1, 61), {"ok": False, "reason": "disk"}) == []
    changes = run(prober, range(61, 91), {"ok": False, "reason": "disk"})
    assert [verdict for _, verdict in changes] == [False]
    assert prober.health(1).reason == "disk"


def test_no_answer_within_the_timeout_is_a_failure(prober):
    ((when, verdict), *_) = run(prober, range(1, 100))
    assert verdict is False
    assert 65 < when <= 96
    assert prober.health(1).reason == "no answer within 5 s"


def test_two_failures_and_an_answer_change_nothing(prober):
    run(prober, range(1, 61))
    assert run(prober, range(61, 200), {"ok": True}) == []
    assert prober.health(1).failures == 0


def test_one_good_answer_makes_it_healthy_again(prober):
    run(prober, range(1, 101), {"ok": False})
    assert [v for _, v in run(prober, range(101, 135), {"ok": True})] == [True]


def test_an_answer_that_comes_too_late_is_not_counted(prober):
    run(prober, range(1, 30))
    assert prober.health(1).failures == 1
    assert prober.answered(1, {"ok": True}) is None
    assert prober.health(1).failures == 1


def test_a_worker_that_is_gone_is_forgotten(prober):
    prober.due([2], S)
    assert prober.health(1) is None
    assert prober.answered(1, {"ok": True}) is None


def test_the_first_probes_of_a_fleet_are_spread_over_the_interval():
    prober = Prober(ClusterSettings(), Random(1))
    workers = range(1, 301)
    prober.due(workers, 0)
    at_once = max(len(prober.due(workers, now_s * S)[0]) for now_s in range(1, 31))
    assert at_once < 30
