"""A pyzmq in which no libzmq can be found says what to type."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_a_pyzmq_without_its_library_says_what_to_type(tmp_path):
    (tmp_path / "zmq").mkdir()
    (tmp_path / "zmq" / "__init__.py").touch()
    done = subprocess.run(
        [sys.executable, "-c", "import denoagents._native.socket"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("ImportError: denoagents needs the libzmq 4 inside pyzmq")
    assert "pip install --force-reinstall --no-cache-dir 'pyzmq" in message
