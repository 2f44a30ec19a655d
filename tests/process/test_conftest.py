"""The rules of tests/conftest.py hold: each is broken once, in a run of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path):
    """Runs one test file under our rules; gives its output."""

    def run_it(source: str, **environment: str) -> str:
        folder = tmp_path / "tests" / "process"
        folder.mkdir(parents=True)
        (folder / "test_it.py").write_text(source)
        for name in ("conftest.py", "leaks.py"):
            text = (ROOT / "tests" / name).read_text().replace("GRACE_S = 2.0", "GRACE_S = 0.1")
            (tmp_path / "tests" / name).write_text(text)
        (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
            cwd=tmp_path,
            env={**os.environ, "CI": "", "TMPDIR": str(tmp_path), **environment},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        return done.stdout + done.stderr

    return run_it


LEAKS = """
import asyncio, socket, subprocess, tempfile, threading, pytest
kept = []

@pytest.mark.asyncio
async def test_task():
    kept.append(asyncio.create_task(asyncio.sleep(60), name="forgotten"))

def test_thread():
    wait = threading.Event().wait
    threading.Thread(target=wait, args=(5,), name="forgotten", daemon=True).start()

def test_socket():
    kept.append(socket.socket())

def test_file():
    tempfile.mkdtemp(prefix="forgotten")

def test_child():
    kept.append(subprocess.Popen(["sleep", "2.1"]))

def test_orphan():
    subprocess.run(["sh", "-c", "sleep 2.2 >/dev/null 2>&1 &"])

def test_nothing():
    pass
"""


def test_what_a_test_leaves_behind_is_its_error(run):
    output = run(LEAKS)
    assert "7 passed, 6 errors" in output
    for name, words in {
        "task": "tasks left behind: <Task pending name='forgotten'",
        "thread": "left behind: threads: forgotten",
        "socket": "left behind: sockets: fd",
        "file": "left behind: files: forgotten",
        "child": "(sleeping) sleep 2.1",
        "orphan": "(sleeping) sleep 2.2",
    }.items():
        assert words in output
        assert f"test_it.py::test_{name} - Failed" in output


def test_a_shared_fixture_may_live_until_its_module_ends(run):
    output = run("""
import socket, pytest
@pytest.fixture(scope="module")
def shared():
    with socket.socket() as held:
        yield held
def test_one(shared): pass
def test_two(shared): pass
""")
    assert "2 passed" in output


SKIP = "import pytest\n@pytest.mark.skip(reason='no such machine')\ndef test_it(): pass\n"


def test_a_skip_shows_its_reason(run):
    assert "1 skipped" in run(SKIP)


def test_a_skip_fails_under_ci(run):
    assert "skipped under CI: no such machine" in run(SKIP, CI="true")


def test_a_skip_of_a_whole_module_fails_under_ci(run):
    output = run("import pytest\npytest.importorskip('no_such_module_at_all')\n", CI="true")
    assert "skipped under CI" in output
    assert "1 error" in output


def test_a_skip_without_a_reason_fails_everywhere(run):
    output = run("import pytest\n@pytest.mark.skip\ndef test_it(): pass\n")
    assert "a skip names its reason" in output
