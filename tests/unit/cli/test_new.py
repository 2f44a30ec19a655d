"""`new`: what it writes is small, right and passes its own test."""

import subprocess
import sys
from pathlib import Path

import pytest

from denoagents.cli.command_line import run
from denoagents.cli.failure import ExitCode

ROOT = str(Path(__file__).parents[3])


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_app_is_thirty_lines_and_its_test_passes(here):
    assert run(["new", "my-first"]) == ExitCode.OK
    app = here / "my-first" / "app.py"
    code = [line for line in app.read_text().splitlines() if line.strip()]
    assert len(code) <= 30
    environment = {"PYTHONPATH": ROOT, "PATH": "/usr/bin:/bin"}
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(app.parent)]
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    ran = subprocess.run(
        [sys.executable, str(app)], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "total: 2\ncounted: [1, 2, 3]\n"


def test_nothing_is_overwritten(here, capsys):
    (here / "mine").mkdir()
    assert run(["new", "mine"]) == ExitCode.REFUSED
    assert "exists already" in capsys.readouterr().err
    assert not list((here / "mine").iterdir())


@pytest.mark.parametrize("name", ["9lives", "a b", ".", "a/b.c"])
def test_a_name_that_is_none_is_refused(name, here):
    assert run(["new", name]) == ExitCode.USAGE
    assert not list(here.iterdir())


def test_what_to_type_next_is_printed(here, capsys):
    run(["new", "hello"])
    assert f"denoagents up {Path('hello', 'app.py')}" in capsys.readouterr().out
