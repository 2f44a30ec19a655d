"""The log against a disk that fails at any operation, and loses whatever was not synced."""

import contextlib
import errno
import os
from random import Random

import pytest
from model.segment_stories import FOLDER, Story, make_log, payload_of

from denoagents.errors import CorruptError, StoreError
from denoagents.store.segment_replay import Report, name_of, replay
from denoagents.testing.disk import SimulatedDisk

FULL = bool(os.environ.get("DENOAGENTS_FULL"))
POWER_LOSSES = 10_000 if FULL else 400
FAILPOINTS = 1000 if FULL else 150


def power_story(seed: int, mode: str) -> None:
    """A life or three, each ended by the power; the log is as it promised after each."""
    disk = SimulatedDisk(seed)
    random = Random(seed)
    disk.short_writes = random.random() < 0.3
    story = Story(disk, mode, random)
    for _ in range(random.choice([1, 1, 2, 3])):
        disk.stop_at = disk.operations + random.randint(1, 90)
        if random.random() < 0.3:
            disk.fail_at[disk.operations + random.randint(1, 60)] = errno.EIO
        with contextlib.suppress(StoreError):  # the failure met the opening
            story.run(60)
        disk.fail_at.clear()
        if random.random() < 0.2:
            disk.kill()
        else:
            disk.lose_power()
    story.end()


@pytest.mark.parametrize("mode", ["disk", "os"])
def test_after_a_power_loss_the_log_is_what_its_mode_promised(mode):
    for seed in range(POWER_LOSSES):
        try:
            power_story(seed, mode)
        except (AssertionError, CorruptError, KeyError) as error:
            raise AssertionError(f"mode {mode}, seed {seed}: {error}") from error


def failing_story(at: int, number: int, *, is_kill: bool) -> None:
    disk = SimulatedDisk(at)
    random = Random(at)
    story = Story(disk, "disk", random)
    if is_kill:
        disk.stop_at = at
    else:
        disk.fail_at[at] = number
    try:
        story.run(FAILPOINTS // 2)
    except StoreError:
        assert not is_kill
    disk.fail_at.clear()
    disk.kill()
    story.end()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_an_error_at_any_file_operation_is_typed_and_loses_nothing(number):
    for at in range(1, FAILPOINTS):
        failing_story(at, number, is_kill=False)


def test_a_kill_at_any_file_operation_loses_nothing_acknowledged():
    for at in range(1, FAILPOINTS):
        failing_story(at, 0, is_kill=True)


# --- a damaged segment ---------------------------------------------------------------------------


def full_segment(size: int) -> tuple[SimulatedDisk, str, dict[int, bytes]]:
    """A log of one large segment and a small one; the large one's path, and all records."""
    disk = SimulatedDisk(1)
    log = make_log(disk, segment_bytes=size)
    log.open()
    records = {}
    while True:
        payload = payload_of(log.next_sequence) + bytes(size // 64)
        place = log.append(payload)
        records[place.sequence] = payload
        if place.sequence % 3 == 0:
            log.commit()
        if place.segment != 1:
            break
    log.commit()
    log.close()
    return disk, disk.paths()[0], records


def replayed(disk: SimulatedDisk) -> tuple[dict[int, bytes], Report]:
    """What a log would serve, without a change to the disk."""
    report = replay(disk, FOLDER, 77)
    served = {}
    for segment in report.segments:
        data = disk.content(f"{FOLDER}/{name_of(segment.first)}")[: segment.length]
        for found in segment.scan(data, report, FOLDER):
            served[found.sequence] = data[found.offset : found.offset + found.size]
    return served, report


def served_after(disk: SimulatedDisk, size: int) -> tuple[dict[int, bytes], object]:
    disk.kill()
    log = make_log(disk, segment_bytes=size)
    report = log.open(skip_damage=True)
    return dict(log.records()), report


SEGMENT_BYTES = 65_536 if FULL else 1500


def test_no_flipped_bit_of_a_segment_is_served_or_overlooked():
    disk, path, records = full_segment(SEGMENT_BYTES)
    size = len(disk.content(path))
    for bit in range(size * 8):
        disk.flip(path, bit)
        served, report = replayed(disk)
        assert all(records[s] == p for s, p in served.items()), f"bit {bit}: served corrupt"
        missing = set(records) - set(served)
        assert missing, f"bit {bit} changed nothing"
        reported = {s for one in report.damage for s in records if one.covers(s)}
        assert missing <= reported, f"bit {bit}: nobody says that {missing - reported} are gone"
        disk.flip(path, bit)


def test_a_log_with_damage_is_not_opened_unless_that_is_asked_for():
    disk, path, _ = full_segment(1500)
    disk.flip(path, 8 * 300)
    with pytest.raises(CorruptError, match="checksum does not fit"):
        make_log(disk).open()


def test_the_newest_segment_cut_at_any_byte_ends_with_its_last_whole_record():
    disk, path, records = full_segment(SEGMENT_BYTES)
    disk.remove(disk.paths()[1])
    data = disk.content(path)
    before = -1
    for size in range(len(data) + 1):
        disk.open(path, create=True).write(data[:size], 0) if size else disk.open(path, create=True)
        served, report = served_after(disk, SEGMENT_BYTES)
        assert list(served) == list(range(1, len(served) + 1)), f"cut at {size}"
        assert all(records[s] == p for s, p in served.items()), f"cut at {size}"
        assert len(served) >= max(before, 0), f"cut at {size}: fewer than before"
        assert size < 48 or not report.damage, f"cut at {size}: a torn tail is no damage"
        before = len(served)
        for name in disk.paths():
            disk.remove(name)


def test_an_older_segment_cut_at_any_byte_is_reported():
    disk, path, records = full_segment(1500)
    clean = {p: disk.content(p) for p in disk.paths()}
    for size in range(len(clean[path])):
        disk.cut(path, size)
        served, report = served_after(disk, 1500)
        assert all(records[s] == p for s, p in served.items()), f"cut at {size}"
        missing = set(records) - set(served)
        reported = {s for one in report.damage for s in records if one.covers(s)}
        assert missing and missing <= reported, f"cut at {size}: {missing - reported}"
        for name in disk.paths():
            disk.remove(name)
        for name, kept in clean.items():
            disk.open(name, create=True).write(kept, 0)


assert FOLDER
