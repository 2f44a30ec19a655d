"""Two seconds after a SIGKILL of `up`, of the broker or of a test run, no child of theirs lives."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
from real_fleet import APP, Child, is_alive, wait_until

TESTS = Path(__file__).parents[1]
RUN = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from real_fleet import RealFleet

def test_a_run_that_is_killed(tmp_path):
    with RealFleet(Path({folder!r})) as fleet:
        fleet.start("a", "b")
        pids = [str(child.pid) for child in fleet.children]
        Path({folder!r}, "pids.new").write_text(" ".join(pids))
        Path({folder!r}, "pids.new").rename(Path({folder!r}, "pids"))
        time.sleep(30)
"""


def descendants(pid):
    return psutil.Process(pid).children(recursive=True)


def gone_within_two_seconds(children):
    try:
        wait_until(lambda: not any(map(is_alive, children)), 2.0)
    finally:
        for one in filter(is_alive, children):
            one.kill()


def test_not_even_a_frozen_child_of_up_lives_two_seconds_after_its_sigkill(tmp_path):
    up = Child("up", tmp_path, "up", APP, "--broker-port", "0", "--workers", "3")
    try:
        up.wait_for("ready")
        children = descendants(up.pid)
        assert len(children) == 4, "a broker and three workers"
        for one in children:
            one.suspend()
        up.kill()
        gone_within_two_seconds(children)
    finally:
        up.end()


def test_no_worker_of_up_outlives_a_killed_broker_and_up(tmp_path):
    """The broker alone has no children; it is started again, and goes with `up`."""
    up = Child("up", tmp_path, "up", APP, "--broker-port", "0", "--workers", "1")
    try:
        up.wait_for("ready")
        (broker,) = [one for one in descendants(up.pid) if "broker" in one.cmdline()]
        assert broker.children() == []
        broker.kill()
        wait_until(lambda: len(descendants(up.pid)) == 2 and not is_alive(broker))
        children = descendants(up.pid)
        up.kill()
        gone_within_two_seconds(children)
    finally:
        up.end()


def test_no_child_of_a_test_run_lives_two_seconds_after_its_sigkill(tmp_path):
    source = RUN.format(tests=str(TESTS), folder=str(tmp_path))
    (tmp_path / "test_it.py").write_text(source)
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "test_it.py"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    try:
        wait_until((tmp_path / "pids").exists, 20)
        children = [psutil.Process(int(pid)) for pid in (tmp_path / "pids").read_text().split()]
        assert len(children) == 3
        run.kill()
        run.wait()
        gone_within_two_seconds(children)
    finally:
        run.kill()
        run.wait()
