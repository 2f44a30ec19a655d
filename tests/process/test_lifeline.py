"""Children end with their parent, even one killed with SIGKILL; supervised ones start again."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from denoagents.cli.child import Child, Ended
from denoagents.cli.lifeline import Lifeline

PARENT = """
    import subprocess, sys, time
    from denoagents.cli.lifeline import Lifeline
    lifeline = Lifeline.open(by_kernel={by_kernel})
    words = [sys.executable, "-c", {child!r}, *lifeline.arguments]
    child = subprocess.Popen(words, pass_fds=lifeline.descriptors, start_new_session=True)
    print(child.pid, flush=True)
    time.sleep(60)
"""
CHILD = """
import argparse, os, sys, time
from denoagents.cli.lifeline import hold
parser = argparse.ArgumentParser()
parser.add_argument("--parent", type=int)
parser.add_argument("--lifeline", type=int)
flags = parser.parse_args()
hold(flags.parent, flags.lifeline)
if len(sys.argv) > 1 and "again" not in os.environ:
    os.environ["again"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # as an evicted worker does
time.sleep(60)
"""


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, seconds):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize("by_kernel", [True, False], ids=["by the kernel", "by a pipe"])
def test_a_child_ends_within_two_seconds_of_its_parents_sigkill(by_kernel):
    if by_kernel and sys.platform != "linux":
        pytest.skip("only Linux tells children by the kernel")
    code = textwrap.dedent(PARENT).format(by_kernel=by_kernel, child=CHILD)
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    try:
        time.sleep(0.5)  # it holds on, and has replaced itself once
        assert is_alive(child)
        parent.kill()
        wait_until(lambda: not is_alive(child), 2.0)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
        if is_alive(child):
            os.kill(child, signal.SIGKILL)


def test_a_child_whose_parent_is_gone_already_does_not_begin():
    done = subprocess.run(
        [sys.executable, "-m", "denoagents.cli", "broker", "--parent", "1"],
        capture_output=True,
        timeout=10,
        check=False,
    )
    assert done.returncode == 71


class Watched:
    """What a supervised child did."""

    def __init__(self, monkeypatch, code):
        self.ends, self.events = [], []
        monkeypatch.setattr("denoagents.cli.child.MODULE", ["-c", textwrap.dedent(code)])
        self.lifeline = Lifeline.open()
        self.child = Child(
            "c1",
            [],
            self.lifeline,
            on_event=lambda _, fields: self.events.append(fields),
            on_end=lambda _, ended: self.ends.append(ended),
        )

    async def events_are(self, count):
        for _ in range(1000):
            if len(self.events) >= count:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{count} events were expected, not {self.events}")


TELL = """
    import json, os, signal, sys, time
    report = int(sys.argv[sys.argv.index("--report") + 1])
    def tell(**fields):
        os.write(report, (json.dumps(fields) + chr(10)).encode())
"""


@pytest.mark.asyncio
async def test_a_crashed_child_starts_again_and_its_incarnation_is_told(monkeypatch, tmp_path):
    code = (
        TELL
        + f"""
    lives = {str(tmp_path / "lives")!r}
    open(lives, "a").write("x")
    tell(event="joined", incarnation=100 + os.path.getsize(lives))
    if os.path.getsize(lives) < 3:
        os.kill(os.getpid(), signal.SIGKILL)
    tell(event="drained")
    """
    )
    watched = Watched(monkeypatch, code)
    last = await asyncio.wait_for(watched.child.keep(), 20)
    assert [one.incarnation for one in watched.ends] == [101, 102, 103]
    assert [one.code for one in watched.ends] == [-9, -9, 0]
    assert watched.ends[0].reason == "killed by SIGKILL"
    assert watched.child.restarts == 2
    assert last.was_asked
    watched.lifeline.close()


@pytest.mark.asyncio
async def test_a_child_that_was_refused_is_not_tried_again(monkeypatch):
    watched = Watched(monkeypatch, "raise SystemExit(2)")
    last = await asyncio.wait_for(watched.child.keep(), 20)
    assert last.never_can
    assert len(watched.ends) == 1


@pytest.mark.asyncio
async def test_a_drained_child_is_not_started_again_and_a_reloaded_one_at_once(monkeypatch):
    code = (
        TELL
        + """
    def end(*_):
        tell(event="drained")
        sys.exit(0)
    signal.signal(signal.SIGTERM, end)
    tell(event="joined", incarnation=os.getpid())
    time.sleep(60)
    """
    )
    watched = Watched(monkeypatch, code)
    keeping = asyncio.ensure_future(watched.child.keep())
    for count, act in ((1, watched.child.reload), (3, watched.child.drain)):
        await watched.events_are(count)
        act()
    last = await asyncio.wait_for(keeping, 20)
    assert last.was_asked
    assert len(watched.ends) == 2
    assert watched.events[0]["incarnation"] != watched.events[2]["incarnation"]


def test_ends_are_named_for_people():
    assert Ended(70, 5, 1.0).reason == "ended itself: its loop was held for too long"
    assert Ended(3, 5, 1.0).reason == "exit code 3"
    assert not Ended(2, 5, 1.0).never_can, "it had joined: something else went wrong"
