"""A machine that lacks something is told the exact line to type, or is given it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def machine(tmp_path):
    """A clone on a machine whose programs are stood in for: a name and the shell lines it runs."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "environment", tmp_path / "tools")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tools" / "it").write_text('. "$(dirname "$0")/environment"\n')
    (tmp_path / "bin").mkdir()

    def use(**programs: str) -> tuple[int, str]:
        for name, lines in programs.items():
            path = tmp_path / "bin" / name.replace("_", "-")
            path.write_text(f"#!/bin/sh\n{lines}\n")
            path.chmod(0o755)
        done = subprocess.run(
            ["sh", "tools/it"],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=50,
            env={
                **os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
                "DENOAGENTS_VENV": "", "CC": "no-such-compiler",
            },
        )  # fmt: skip
        return done.returncode, done.stderr

    return use


ABSENT = "exit 1"
APT = {"apt_get": "echo apt-get $* >> log", "apt_cache": "exit 0"}


def test_an_ordinary_user_is_told_what_to_type(machine):
    code, words = machine(id="echo 1000", sudo="", **APT)
    assert code == 1
    version = f"3.{sys.version_info[1]}"
    line = f"sudo apt-get install -y gcc libc6-dev python{version}-dev python{version}-venv"
    assert f"Type:\ndenoagents:     {line}\n" in words


def test_root_is_given_what_is_missing_without_questions(machine, tmp_path):
    code, words = machine(id="echo 0", **APT)
    asked = (tmp_path / "log").read_text()
    assert "apt-get update" in asked
    assert "apt-get install -y gcc libc6-dev" in asked
    assert code == 1  # the stand-in installed nothing
    assert "Type:" in words


def test_a_machine_without_a_fitting_python_is_told_which_to_install(machine):
    pythons = dict.fromkeys(
        ("python3", "python3.14", "python3.13", "python3.12", "python3.11"), ABSENT
    )
    code, words = machine(id="echo 1000", sudo="", **APT, **pythons)
    assert code == 1
    assert "sudo apt-get install -y gcc libc6-dev python3.14-dev python3.14-venv\n" in words
