"""What the doctor makes of two looks at a fleet."""

import copy

import pytest

from denoagents.cli.diagnosis import examine

BOOKS = {"sender": {"off": 0}, "receiver": {"off": 0}, "off": 0}
BROKER = {"version": 3, "is_settled": True, "waits_for": [], "store_error": "", "uptime_s": 100.0}
QUIET = {"session": 1, "retained_count": 0, "batches_sent": 10, "batches_accepted": 4}


def node(name, incarnation, *links):
    statistics = {"accounting": BOOKS, "has_lease": True, "links": list(links)}
    return {
        "name": name, "role": "client", "incarnation": incarnation, "liveness": "alive",
        "silent_ms": 40, "loop_lag_ms": 0.2, "tick_age_ms": 10.0, "statistics": statistics,
    }  # fmt: skip


@pytest.fixture
def status():
    back = {"batches_sent": 4, "batches_accepted": 10}
    a = node("a", 1, {**QUIET, "incarnation": 2, "dialed": True})
    b = node("b", 2, {**QUIET, **back, "incarnation": 1, "dialed": False})
    return {"broker": BROKER, "nodes": [a, b], "groups": [], "settings": {}, "events": []}


def verdicts(status, before=None):
    before = copy.deepcopy(status) if before is None else before
    return {one.name: one for one in examine(status, before)}


def test_a_fleet_that_is_well_is_said_to_be(status):
    assert {one.verdict for one in verdicts(status).values()} == {"ok"}
    assert "both ends agree on 1 links" in verdicts(status)["links"].detail


def test_one_message_that_is_not_accounted_for_fails(status):
    books = {**BOOKS, "off": 1}
    status["nodes"][1]["statistics"]["accounting"] = books
    check = verdicts(status)["accounting"]
    assert check.verdict == "failed"
    assert "b by 1" in check.detail


@pytest.mark.parametrize("end", [0, 1])
def test_a_quiet_link_whose_ends_disagree_fails(status, end):
    status["nodes"][end]["statistics"]["links"][0]["batches_accepted"] -= 1
    check = verdicts(status)["links"]
    assert check.verdict == "failed"
    assert "batches" in check.detail


def test_a_busy_link_is_not_compared(status):
    before = copy.deepcopy(status)
    status["nodes"][0]["statistics"]["links"][0]["batches_sent"] += 5
    assert verdicts(status, before)["links"].verdict == "skipped"


def test_a_link_to_somebody_who_gave_no_statistics_is_left_out(status):
    status["nodes"][1]["statistics"] = None
    found = verdicts(status)
    assert found["links"].verdict == "ok"
    assert found["members"].verdict == "failed"
    assert "b" in found["members"].detail
