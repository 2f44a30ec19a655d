"""Workers that start together find no state store, and make one: the first does, nobody fails."""

import subprocess
import sys
import time

OPENING = """
import pathlib, sys, time
from denoagents.store.state_file import connect
while time.time() < float(sys.argv[2]):
    pass
for number in range(25):
    connect(pathlib.Path(sys.argv[1]) / f"{number}.db", timeout_s=5).close()
"""


def test_processes_that_make_the_store_at_once_all_open_it(tmp_path):
    together = str(time.time() + 1.0)
    words = [sys.executable, "-c", OPENING, str(tmp_path), together]
    openers = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    try:
        errors = [one.communicate(timeout=40)[1] for one in openers]
    finally:
        for one in openers:
            one.kill()
            one.wait()
    assert errors == [""] * 4
