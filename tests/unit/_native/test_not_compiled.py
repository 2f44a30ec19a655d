"""A clone without a build, or with one for another Python, says what to type."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "denoagents"


@pytest.fixture
def clone(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "denoagents", ignore=shutil.ignore_patterns("*.so"))
    return tmp_path


def message_of(clone: Path, statement: str) -> str:
    done = subprocess.run(
        [sys.executable, "-S", "-c", statement],
        cwd=clone, capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "statement",
    ["from denoagents._native.clock import Clock", "from denoagents._native import clock"],
)
def test_a_missing_build_says_what_to_type(clone, statement):
    message = message_of(clone, statement)
    assert "'clock'" in message
    assert "Type:  pip install -e .   (in a clone: tools/build)" in message


def test_a_build_for_another_python_is_named(clone):
    name = "clock.cpython-399-x86_64-linux-gnu.so"
    (clone / "denoagents" / "_native" / name).touch()
    assert name in message_of(clone, "from denoagents._native.clock import Clock")


def test_a_part_that_fails_for_another_reason_keeps_its_own_message():
    with pytest.raises(ImportError, match="cannot import name 'Watch'"):
        from denoagents._native.clock import Watch  # noqa: F401
