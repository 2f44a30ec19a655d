"""The main job as a person runs it, shorter: real processes, real input, a real kill."""

import json
import subprocess
import sys

import pytest

BUSY_P999_MS = 400
"""Other tests may run beside this one; the limit of 50 ms is what `tools/demo` judges."""


def run_demo(truth, **options) -> tuple[int, dict]:
    """One run; the truth is found by the first one and kept for the others."""
    script = (
        "import sys; from pathlib import Path; from denoagents.loadtest import demo;"
        f"sys.exit(demo.run(demo.DemoOptions(truth=Path({str(truth)!r}), as_json=True,"
        f"**{options!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return tmp_path_factory.mktemp("truth") / "truth.msgpack"


@pytest.fixture(scope="module")
def report(truth) -> dict:
    return run_demo(truth, seconds=6)[1]


@pytest.mark.timeout(120)
def test_1_9_a_thousand_requests_a_second_are_offered_and_answered(report):
    assert (report["agents"], report["chats"], report["clients"]) == (100, 50, 4)
    assert report["offered_per_s"] == 1000
    assert report["lookups_per_s"] >= 999
    assert report["requests_per_s"] >= 1000
    assert report["messages_per_s"] >= 1000
    assert report["latency_ms"]["p50"] < 50
    assert report["latency_ms"]["p999"] < BUSY_P999_MS


def test_every_answer_is_checked_and_right(report):
    assert report["answers_checked"] >= 6000
    assert report["answers_wrong"] == 0
    assert report["chat_answers"] > 20


def test_a_killed_workers_agents_answer_again_within_five_seconds(report):
    assert report["lost_agents"] > 20
    assert 0 < report["recovery_s"] < 5
    assert report["errors"] < 0.001 * report["requests"]
    assert report["latency_kill_window_ms"] is not None


def test_messages_are_accounted_for_exactly_in_every_process(report):
    books = report["accounting"]
    assert books["off"] == 0
    assert set(books["processes"]) == {
        "worker-1", "worker-2", "demo", *(f"client-{n}" for n in range(4))
    }  # fmt: skip
    assert set(books["killed"]) == {"worker-2"}
    for process in books["processes"].values():
        assert process["sender"]["off"] == process["receiver"]["off"] == 0
    assert books["receiver"]["accepted"] > 1000
    assert books["sender"]["sent"] > 6000


def test_a_failed_verdict_names_only_what_this_busy_machine_may_miss(report):
    assert [sentence for sentence in report["verdict"] if not sentence.startswith("p99.9")] == []


def test_usage_is_reported_for_every_process(report):
    assert set(report["rss_mb"]) == set(report["cpu_share_by_process"])
    assert {"broker", "worker-1", "worker-2", "worker-2 anew", "demo"} < set(report["rss_mb"])
    assert all(rss_mb < 150 for rss_mb in report["rss_mb"].values())
    assert 0 < report["cpu_share"] < 1


@pytest.mark.timeout(120)
def test_a_planted_wrong_answer_is_counted_and_fails_the_verdict(truth, report):
    code, report = run_demo(truth, seconds=2, kill=False, plant_wrong=True)
    assert code == 1
    assert 0 < report["answers_wrong"] < report["answers_checked"]
    assert any("answers were wrong" in sentence for sentence in report["verdict"])
    assert report["recovery_s"] is None


@pytest.mark.timeout(120)
def test_2_11_an_overloaded_client_admits_the_buckets_rate_and_accounts_for_the_rest(truth, report):
    code, report = run_demo(truth, seconds=5, overload=True)
    # Never over the rate. Under it only if this client was starved for longer than a burst lasts,
    # which the tests that run beside this one can do: then the verdict says so, and nothing else.
    assert 800 <= report["granted_per_s"] <= 1010
    assert all("were admitted" in sentence for sentence in report["verdict"])
    assert code == (1 if report["verdict"] else 0)
    assert report["offered"] == 10_000
    assert report["answered"] + sum(report["errors"].values()) == report["offered"]
    answered = {name: row["answered"] for name, row in report["by_priority"].items()}
    assert answered["high"] > answered["normal"] > answered["low"]
