"""What `status` makes of the broker's answer."""

import copy

import pytest

from denoagents.cli.fleet_report import findings, node_rates, totals

SENDER = {"sent": 10, "acknowledged": 9, "retained": 1, "refused": 0, "expired": 0, "unknown": 0,
          "off": 0}  # fmt: skip
RECEIVER = {"accepted": 20, "handled": 18, "failed": 1, "cancelled": 0, "refused": 0, "expired": 0,
            "dead_lettered": 0, "moved": 0, "waiting": 1, "running": 0, "off": 0}  # fmt: skip
STATISTICS = {
    "actors": 5, "rss_mb": 45.0, "cpu_s": 2.0, "has_lease": True, "parked": 0, "dead_letters": 0,
    "last_dead_letters": [], "accounting": {"sender": SENDER, "receiver": RECEIVER, "off": 0},
}  # fmt: skip
NODE = {
    "name": "w1", "role": "worker", "incarnation": 7, "state": "placed", "liveness": "alive",
    "silent_ms": 40, "loop_lag_ms": 0.2, "tick_age_ms": 10.0, "group": "app", "is_leaving": False,
    "is_healthy": True, "probe_failures": 0, "probe_reason": "", "slots_owned": 4096,
    "statistics": STATISTICS,
}  # fmt: skip
GROUP = {"name": "app", "types": ["Counter"], "workers": ["w1"], "slots_waiting": 0,
         "is_handed_over": True, "lingering": []}  # fmt: skip
BROKER = {"version": 3, "is_settled": True, "waits_for": [], "store_error": "", "uptime_s": 100.0}


@pytest.fixture
def status():
    fleet = {"broker": BROKER, "nodes": [NODE], "groups": [GROUP], "settings": {}, "events": []}
    return copy.deepcopy(fleet)


def test_a_healthy_fleet_has_no_findings(status):
    assert findings(status) == []


def broken(path, value):
    """A change of the healthy fleet."""

    def change(status):
        *way, last = path.split(".")
        inner = status
        for word in way:
            inner = inner[int(word)] if word.isdecimal() else inner[word]
        inner[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "severity", "part"),
    [
        (broken("broker.store_error", "disk full"), "bad", "joins are refused: disk full"),
        (broken("broker.is_settled", False), None, ""),
        (broken("groups.0.workers", []), "bad", "no worker is left in group app (Counter)"),
        (broken("groups.0.is_handed_over", False), "warn", "slots are being handed over"),
        (broken("groups.0.lingering", [{"actor": "A/b", "holder": "w2"}]), "note",
         "A/b stays on w2"),
        (broken("nodes.0.liveness", "silent"), "bad", "w1 is silent: no heartbeat for 0.0s"),
        (broken("nodes.0.liveness", "blocked"), "bad", "w1 is blocked"),
        (broken("nodes.0.liveness", "starved"), "warn", "w1 is starved"),
        (broken("nodes.0.is_healthy", False), "bad", "w1 is unhealthy"),
        (broken("nodes.0.probe_failures", 2), "warn", "w1 failed 2 health checks"),
        (broken("nodes.0.is_leaving", True), "note", "w1 is draining"),
        (broken("nodes.0.statistics", None), "warn", "w1 did not answer"),
        (broken("nodes.0.statistics.accounting.off", 3), "bad", "off by 3"),
        (broken("nodes.0.statistics.has_lease", False), "bad", "no lease"),
        (broken("nodes.0.statistics.rss_mb", 130.0), "warn", "w1 holds 130 MB"),
        (broken("nodes.0.statistics.parked", 9), "warn", "9 messages wait on w1"),
        (broken("nodes.0.statistics.queued", {"spilled": 7, "spilled_bytes": 2_000_000}), "warn",
         "7 messages of w1 wait on its disk (2.0 MB)"),
        (broken("nodes.0.statistics.queued", {"disk_failure": "disk full"}), "bad",
         "w1 cannot put waiting messages on its disk: disk full"),
        (broken("nodes.0.statistics.dead_letters", 4), "warn", "w1 has 4 dead letters"),
        (broken("nodes.0.statistics.admission", {"waiting": 5}), "warn", "5 requests wait"),
        (broken("nodes.0.statistics.admission", {"expired": 5}), "note", "5 requests of w1"),
        (broken("events", [{"event": "evicted", "name": "w2", "role": "worker", "at_s": 90.0,
                            "reason": "silent"}]), "note", "w2 was lost 10s ago: silent"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found_and_named(status, change, severity, part):
    change(status)
    found = findings(status)
    if severity is None:
        assert found == []
        return
    (one,) = found
    assert one.severity == severity
    assert part in one.text


def test_the_worst_comes_first(status):
    status["nodes"][0]["is_leaving"] = True
    status["nodes"][0]["probe_failures"] = 1
    status["broker"]["store_error"] = "full"
    assert [one.severity for one in findings(status)] == ["bad", "warn", "note"]


def test_totals_are_sums_over_the_nodes_that_answered(status):
    other = copy.deepcopy(status["nodes"][0]) | {"name": "w2", "incarnation": 8}
    silent = other | {"name": "c1", "incarnation": 9, "role": "client", "statistics": None}
    status["nodes"] += [other, silent]
    sums = totals(status)
    assert (sums["workers"], sums["clients"], sums["actors"]) == (2, 1, 10)
    assert sums["receiver"]["accepted"] == 40
    assert sums["silent_nodes"] == ["c1"]
    assert sums["reliable"] == {"sent": 0, "off": 0}


def test_every_term_that_a_node_tells_is_summed(status):
    books = {"sent": 5, "handled": 4, "outstanding": 1, "off": 0}
    status["nodes"][0]["statistics"]["accounting"] |= {"reliable": books}
    assert totals(status)["reliable"] == books


def test_rates_need_two_readings_of_the_same_life(status):
    later = copy.deepcopy(status)
    later["nodes"][0]["statistics"]["accounting"]["receiver"]["handled"] += 50
    later["nodes"][0]["statistics"]["cpu_s"] += 0.1
    rates = node_rates(later, status, 0.5)
    assert rates == {7: {"messages_per_s": 100.0, "cpu_share": 0.2}}
    assert totals(later, status, 0.5)["messages_per_s"] == 100.0
    later["nodes"][0]["incarnation"] = 8
    assert node_rates(later, status, 0.5) == {}
