"""R8: a stalled actor is sent more than memory may hold; the disk takes it, in order."""

import json
import os
import subprocess
import sys
from pathlib import Path

FULL = bool(os.environ.get("DENOAGENTS_FULL"))
BUDGET = 200_000_000 if FULL else 25_000_000
MESSAGES, SIZE = (8000, 128 * 1024) if FULL else (5000, 20 * 1024)
SLACK = 64 << 20


def test_what_memory_has_no_room_for_is_on_the_disk_and_handled_in_order(tmp_path):
    script = Path(__file__).parent / "stalled_load.py"
    words = [str(tmp_path / "spill"), str(BUDGET), str(MESSAGES), str(SIZE)]
    done = subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(
        f"\nR8, {MESSAGES * SIZE / 1e6:.0f} MB for one stalled actor, budget {BUDGET / 1e6:.0f} MB"
    )
    for name, value in found.items():
        print(f"  {name:<24} {value}")
    assert found["waiting_when_full"] == found["handled"] == MESSAGES, "the load floor"
    assert found["spilled_mb"] * 1e6 > 0.6 * MESSAGES * SIZE, "too little was spilled"
    assert found["wrong"] == 0
    assert found["off"] == found["dead_lettered"] == found["healthy_failed"] == 0
    assert found["rss_above_baseline_mb"] * 1e6 <= BUDGET + SLACK
    assert not list((tmp_path / "spill").iterdir())
