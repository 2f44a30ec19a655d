"""What the demo starts ends with it, even when nobody tells it to."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from denoagents.loadtest.child import ORPHANED


@pytest.mark.timeout(60)
def test_two_seconds_after_the_demo_is_killed_no_child_of_its_lives(tmp_path):
    words = [sys.executable, "-m", "denoagents.cli", "demo", "--seconds", "60"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as demo:
        children = []
        for line in demo.stdout:
            if "are up at" in line:
                children = psutil.Process(demo.pid).children(recursive=True)
                break
        demo.kill()
    assert len(children) >= 4  # the broker, two workers, the search for the truth
    assert psutil.wait_procs(children, timeout=2)[1] == []


@pytest.mark.timeout(60)
def test_a_demo_that_is_told_to_end_leaves_no_process_and_no_file(tmp_path):
    words = [sys.executable, "-m", "denoagents.cli", "demo", "--seconds", "60"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as demo:
        children = []
        for line in demo.stdout:
            if "are up at" in line:
                children = psutil.Process(demo.pid).children(recursive=True)
                break
        demo.send_signal(signal.SIGTERM)
        _, errors = demo.communicate(timeout=20)
    assert psutil.wait_procs(children, timeout=0.5)[1] == []
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in errors
    assert demo.returncode not in (0, ORPHANED)


def test_a_client_process_ends_when_its_parent_does():
    script = (
        "from denoagents.loadtest.child import end_with_parent; import time;"
        "end_with_parent(); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline() == b"ready\n"
        began = time.monotonic()
        child.stdin.close()
        assert child.wait(timeout=5) == ORPHANED
        assert time.monotonic() - began < 2
