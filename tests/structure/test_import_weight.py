"""What an import costs: a name is loaded when it is used, not before."""

import subprocess
import sys

import pytest

ROOF = {"click", "rich", "structlog", "psutil", "uvloop", "lz4"}
WEIGHT = {
    "import denoagents": ROOF | {"zmq", "msgspec", "asyncio", "denoagents.node"},
    "import denoagents.errors": ROOF | {"zmq", "asyncio"},
    "from denoagents import DenoagentsError": ROOF | {"zmq", "asyncio"},
}


@pytest.mark.parametrize("statement", WEIGHT)
def test_an_import_brings_no_more_than_it_needs(statement):
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20
    )
    assert not WEIGHT[statement] & set(done.stdout.split())
