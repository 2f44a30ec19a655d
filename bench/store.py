"""The embedded state store: commits a second and their latency, by mode and by how many wait.

`python bench/store.py [--seconds 2] [--folder DIR] [--busy]`: one process, turns of 200 bytes of
state with a handled message each; --busy keeps the event loop at work meanwhile.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import platform
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from denoagents.durability import Commit, Handled, Mode
from denoagents.store.settings import StoreSettings
from denoagents.store.state_store import SqliteStateStore

SENDER = 77
MODES: tuple[Mode, ...] = ("os", "disk")


async def measure(folder: Path, actors: int, mode: Mode, seconds: float) -> dict[str, object]:
    """So many actors, each of which commits as soon as its last commit was told."""
    store = SqliteStateStore(folder / f"{mode}-{actors}.db", StoreSettings())
    await store.open()
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def live(actor: str) -> None:
        await store.claim(actor, 1)
        for number in itertools.count(1):
            began = time.perf_counter()
            if began > end:
                return
            commit = Commit(actor, 1, b"x" * 200, 1, Handled(SENDER, number), (SENDER, number))
            await store.commit(commit, mode)
            latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*[live(f"A/{number}") for number in range(actors)])
    took = time.perf_counter() - began
    transactions = store.statistics()["transactions"]
    await store.close()
    latencies.sort()
    return {
        "mode": mode,
        "actors": actors,
        "commits_per_s": round(len(latencies) / took),
        "p50_ms": round(latencies[len(latencies) // 2] * 1e3, 2),
        "p99_ms": round(latencies[len(latencies) * 99 // 100] * 1e3, 2),
        "commits_per_transaction": round(len(latencies) / transactions, 1),
    }


async def burn() -> None:
    """Never gives the interpreter's lock away by itself."""
    while True:
        sum(range(3000))
        await asyncio.sleep(0)


async def main(arguments: argparse.Namespace) -> None:
    """Every mode with 1, 16 and 256 actors."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for mode, actors in itertools.product(MODES, (1, 16, 256)):
            busy = asyncio.ensure_future(burn()) if arguments.busy else None
            row = await measure(Path(folder), actors, mode, arguments.seconds)
            if busy is not None:
                busy.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await busy
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--folder", help="where the files are made  [default: the system's]")
    parser.add_argument("--busy", action="store_true")
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}", file=sys.stderr)
    asyncio.run(main(parser.parse_args()))
