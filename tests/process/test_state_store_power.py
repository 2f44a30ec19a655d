"""The embedded state store when the power fails: writes that no fsync covered are lost or torn.

A real writer runs with a recorder preloaded, which writes down every write, truncation and fsync of
its folder, and what the writer was told meanwhile. The test then makes the files that a disk might
hold after a failure at many points, opens the store on them and compares.
"""

import json
import os
import random
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from process.state_store_writer import ACTORS, mode_of, number_of

from denoagents.store import state_told
from denoagents.store.state_file import connect
from denoagents.store.state_inspection import verify
from denoagents.store.state_reader import read_actor

HERE = Path(__file__).parent
FULL = bool(os.environ.get("DENOAGENTS_FULL"))
SECTOR = 512
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


class Record(NamedTuple):
    kind: str
    name: str
    at: int
    content: bytes


def records_of(log):
    """What the recorder wrote down; names are those inside of the folder."""
    found, at = [], 0
    while at < len(log):
        (size,) = struct.unpack_from("<H", log, at + 1)
        name = log[at + 3 : at + 3 + size].decode()
        where, length = struct.unpack_from("<qI", log, at + 3 + size)
        start = at + 15 + size
        found.append(Record(chr(log[at]), name, where, log[start : start + length]))
        at = start + length
    return found


class File:
    """One file: what is surely on the disk, and what may be."""

    def __init__(self):
        self.sure = bytearray()
        self.pending = []
        self.is_named = self.is_gone = False

    def after_failure(self, chance):
        """One of the contents that the disk may hold."""
        content = bytearray(self.sure)
        keeps = chance.choice((0.0, 0.5, 0.9, 1.0))
        for record in self.pending:
            if chance.random() >= keeps:
                continue
            for part in parts_of(record, chance):
                apply(content, part)
        return content


def parts_of(record, chance):
    """A write may be torn at any sector."""
    if record.kind == "T" or chance.random() < 0.7:
        return [record]
    cuts = range(0, len(record.content), SECTOR)
    return [
        Record("W", record.name, record.at + cut, record.content[cut : cut + SECTOR])
        for cut in cuts
        if chance.random() < 0.5
    ]


def apply(content, record):
    if record.kind == "T":
        del content[record.at :]
        content.extend(bytes(record.at - len(content)))
        return
    if len(content) < record.at:
        content.extend(bytes(record.at - len(content)))
    content[record.at : record.at + len(record.content)] = record.content


class Disk:
    """The folder's files, as the records come."""

    def __init__(self, folder):
        self.folder = folder
        self.files = {}
        self.begun, self.told = {}, {}

    def take(self, record):
        if record.name == self.folder:  # a sync of the folder itself
            for name, file in list(self.files.items()):
                file.is_named = True
                if file.is_gone:
                    del self.files[name]
            return
        name = Path(record.name).name
        if name == "said":
            self.hear(record.content.decode())
            return
        if record.kind == "U":
            self.files[name].is_gone = True
            return
        if name not in self.files or self.files[name].is_gone:
            self.files[name] = File()
        file = self.files[name]
        if record.kind == "S":
            for one in file.pending:
                apply(file.sure, one)
            file.pending.clear()
        else:
            file.pending.append(record)

    def hear(self, text):
        for line in text.splitlines():
            what, actor, number = line.split(" ")
            found = self.begun if what == "begun" else self.told
            found[actor] = max(int(number), found.get(actor, 0))

    def fail(self, folder, chance):
        """Make the files as they may be after a failure now."""
        for old in folder.iterdir():
            old.unlink()
        for name, file in self.files.items():
            is_store = name == "actors.db"
            if not is_store and (not file.is_named or file.is_gone) and chance.random() < 0.5:
                continue
            path = folder / name
            path.touch(mode=0o600)
            path.write_bytes(file.after_failure(chance))


@pytest.fixture(scope="module")
def recorder(tmp_path_factory):
    made = tmp_path_factory.mktemp("recorder") / "recorder.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O1", "-o", made, HERE / "disk_recorder.c", "-ldl",
         "-lpthread"], check=True,
    )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def recorded(recorder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    place, log = folder / "store", folder / "log"
    place.mkdir()
    subprocess.run(
        [sys.executable, HERE / "state_store_writer.py", place / "actors.db", "record", "3"],
        env={**os.environ, "LD_PRELOAD": str(recorder), "RECORDED_FOLDER": str(place),
             "RECORDED_LOG": str(log)},
        check=True, timeout=60,
    )  # fmt: skip
    return str(place), records_of(log.read_bytes())


ON_LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="the recorder is preloaded as Linux does it"
)


@ON_LINUX
@pytest.mark.timeout(600)
def test_after_a_power_failure_nothing_told_in_the_mode_disk_is_missing(recorded, monkeypatch):
    monkeypatch.setattr(state_told, "boot", lambda: 1)  # the machine started anew
    place, records = recorded
    seed, failures = 4711, 10_000 if FULL else 300
    chance = random.Random(seed)
    points = sorted(chance.choices(range(1, len(records)), k=failures))
    disk, taken, found = Disk(place), 0, {"missing": 0, "phantoms": 0, "behind": 0}
    with tempfile.TemporaryDirectory(dir=MEMORY) as text:
        folder = Path(text)
        for point in points:
            for record in records[taken:point]:
                disk.take(record)
            taken = max(taken, point)
            disk.fail(folder, chance)
            compare(disk, folder, found)
    assert disk.told
    print(f"seed {seed}, {failures} failures over {len(records)} operations: {json.dumps(found)}")
    assert found["behind"], "nothing was ever lost: these were no failures"
    assert (found["missing"], found["phantoms"]) == (0, 0)


def compare(disk, folder, found):
    """What is kept against what was told; each actor must be of one turn (the mode `os`, too)."""
    connection = connect(folder / "actors.db", timeout_s=1)
    for n in range(ACTORS):
        actor = f"A/{n}"
        there = number_of(actor, read_actor(connection, actor)[1])
        told = disk.told.get(actor, 0)
        is_synced = mode_of(actor) == "disk"
        found["missing"] += is_synced and there < told
        found["behind"] += there < told
        found["phantoms"] += there > disk.begun.get(actor, 0)
    connection.close()


# --- an fsync that fails --------------------------------------------------------------------------

FAILING = """
import asyncio, sys
from denoagents.durability import Commit
from denoagents.errors import StoreFullError
from denoagents.store.state_store import SqliteStateStore
async def main():
    store = SqliteStateStore(sys.argv[1])
    await store.open()
    told, failed = b"", 0
    for n in range(1, 31):
        state = b"state %d" % n
        try:
            await store.commit(Commit("A/1", 1, state, sent=n), "disk")
        except StoreFullError as error:
            failed += 1
            assert "input/output" in str(error), error
            kept = await store.claim("A/1", 1)
            assert (kept.state if kept else b"") == told, (kept, told)
        else:
            told = state
    assert failed == 1, failed
    assert store.statistics()["reopened"] == 1
    assert (await store.claim("A/1", 1)).state == told == b"state 30"
    await store.close()
asyncio.run(main())
"""


@ON_LINUX
@pytest.mark.parametrize("which", [3, 9, 20, 30])
def test_a_failed_fsync_is_told_and_the_store_serves_what_it_kept_before(recorder, tmp_path, which):
    place = tmp_path / "store"
    place.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FAILING, place / "actors.db"],
        env={**os.environ, "LD_PRELOAD": str(recorder), "RECORDED_FOLDER": str(place),
             "RECORDED_LOG": str(tmp_path / "log"), "FAILED_SYNC": str(which)},
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert verify(place / "actors.db").is_whole
