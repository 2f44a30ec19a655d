"""The embedded state store under kill -9, and shared by processes."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from denoagents.durability import Kept
from denoagents.store.state_inspection import verify
from denoagents.store.state_store import SqliteStateStore

WRITER = str(Path(__file__).with_name("state_store_writer.py"))
FULL = bool(os.environ.get("DENOAGENTS_FULL"))


@pytest.mark.timeout(300)
def test_a_writer_killed_at_any_point_loses_nothing_it_was_told_and_leaves_nothing_else(tmp_path):
    trials, seed = 1000 if FULL else 50, 20261
    done = subprocess.run(
        [sys.executable, WRITER, str(tmp_path / "actors.db"), str(trials), str(seed)],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(f"seed {seed}, {trials} kills: {found}")
    assert found["commits"] > trials * 3, "too little was going on"
    assert (found["missing"], found["phantoms"]) == (0, 0)


def sharing(path, name, count):
    """A process with sixteen actors that begin to commit when it is told to go."""
    return subprocess.Popen(
        [sys.executable, WRITER, str(path), "share", name, str(count)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_process_goes_on_when_another_on_the_same_file_is_killed(tmp_path):
    path = tmp_path / "actors.db"
    children = [sharing(path, "One", 200), sharing(path, "Two", 10**6)]
    try:
        for child in children:
            assert child.stdout.readline() == "ready\n"
            child.stdin.write("go\n")
            child.stdin.flush()
        time.sleep(0.3)
        children[1].kill()
        found = json.loads(children[0].communicate(timeout=40)[0])
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert found["refused"] == 0
    assert found["contended"] > 0, "they did not meet"
    assert found["worst_s"] < 3
    report = verify(path)
    assert report.is_whole, report.problems


def test_processes_share_the_file_under_load(tmp_path):
    path, count = tmp_path / "actors.db", 150
    children = [sharing(path, name, count) for name in ("One", "Two")]
    found = []
    try:
        for child in children:
            assert child.stdout.readline() == "ready\n"
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        found = [json.loads(child.communicate(timeout=40)[0]) for child in children]
    finally:
        for child in children:
            child.kill()
            child.communicate()
    print(found)
    assert all(one["refused"] == 0 for one in found)
    assert all(one["worst_s"] < 3 for one in found), "one of them starves"

    async def look():
        store = SqliteStateStore(path)
        await store.open()
        for name in ("One", "Two"):
            for n in range(16):
                kept = await store.claim(f"{name}/{n}", 1)
                assert isinstance(kept, Kept)
                assert kept.sent == count
        await store.close()

    asyncio.run(look())
