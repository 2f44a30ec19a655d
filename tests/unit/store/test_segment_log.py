"""A log in segments: bounds, modes, places, giving back, and what a failure leaves."""

import errno
import os

import pytest

from denoagents.errors import CorruptError, StoreError, StoreFullError
from denoagents.store.segment_log import SegmentLog
from denoagents.testing.disk import SimulatedDisk


def a_log(folder, **settings) -> SegmentLog:
    log = SegmentLog(str(folder), **{"segment_bytes": 4096, "mode": "os", **settings})
    log.open()
    return log


def test_records_come_back_in_order_after_a_restart(tmp_path):
    log = a_log(tmp_path / "log", mode="disk")
    for number in range(100):
        log.append(b"record %d" % number * 20)
    assert log.commit() == 100
    log.close()
    again = a_log(tmp_path / "log", mode="disk")
    assert [payload[:8] for _, payload in again.records()][:2] == [b"record 0", b"record 1"]
    assert [sequence for sequence, _ in again.records(since=90)] == list(range(90, 101))
    assert again.append(b"more").sequence == 101
    again.close()


def test_one_record_is_read_by_its_place_at_once(tmp_path):
    log = a_log(tmp_path / "log")
    places = [log.append(b"%d" % number * 100) for number in range(50)]
    assert log.read(places[7]) == b"7" * 100
    assert log.read(places[49]) == b"49" * 100
    log.close()


def test_a_damaged_record_is_not_served(tmp_path):
    log = a_log(tmp_path / "log")
    place = log.append(b"x" * 100)
    log.commit()
    path = next((tmp_path / "log").iterdir())
    data = bytearray(path.read_bytes())
    data[place.offset + 60] ^= 4
    path.write_bytes(data)
    with pytest.raises(CorruptError, match="record 1 is damaged"):
        log.read(place)
    log.close()


def test_the_limit_bounds_the_bytes_on_disk_and_the_log_goes_on_when_there_is_room(tmp_path):
    log = a_log(tmp_path / "log", limit_bytes=20_000, segment_bytes=2000)
    places = []
    with pytest.raises(StoreFullError, match="its limit is 20000"):
        places.extend(log.append(b"x" * 500) for _ in range(1000))
    on_disk = sum(path.stat().st_size for path in (tmp_path / "log").iterdir())
    assert on_disk <= log.bytes <= 20_000
    assert log.failure is None
    for place in places[:10]:
        log.release(place)
    log.append(b"x" * 500)
    log.close()


def test_segments_without_a_needed_record_leave_the_disk(tmp_path):
    log = a_log(tmp_path / "log", segment_bytes=1000)
    places = [log.append(b"x" * 400) for _ in range(20)]
    log.commit()
    before = len(list((tmp_path / "log").iterdir()))
    for place in places[:-1]:
        log.release(place)
    assert before > 8
    assert len(list((tmp_path / "log").iterdir())) == 1
    log.close()


def test_forgotten_records_do_not_come_back(tmp_path):
    log = a_log(tmp_path / "log", segment_bytes=1000, mode="disk")
    for _ in range(20):
        log.append(b"x" * 400)
    log.commit()
    log.forget(15)
    log.close()
    again = a_log(tmp_path / "log", mode="disk")
    assert next(again.records())[0] > 10
    assert again.next_sequence == 21
    again.close()


def test_a_group_is_made_safe_by_one_sync():
    disk = SimulatedDisk()
    log = a_log("log", files=disk, mode="disk", segment_bytes=1 << 20)
    log.append(b"first")
    log.commit()
    before = disk.operations
    for _ in range(256):
        log.append(b"x" * 512)
    log.commit()
    assert disk.operations - before == 2, "one write, one sync"


@pytest.mark.parametrize("operation", ["write", "sync", "rename", "open", "sync_folder"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_after_a_failure_nothing_is_appended_until_the_log_has_recovered(operation, number):
    disk = SimulatedDisk()
    log = a_log("log", files=disk, mode="disk", segment_bytes=600)
    safe = log.append(b"safe" * 50)
    log.commit()
    disk.failing[operation] = number
    with pytest.raises(StoreFullError, match=os.strerror(number)):
        for _ in range(5):
            log.append(b"lost" * 50)
            log.commit()
    disk.failing.clear()
    operations = disk.operations
    with pytest.raises(StoreFullError):
        log.commit()
    with pytest.raises(StoreFullError):
        log.append(b"x")
    assert disk.operations == operations, "a failed sync is not asked again"
    assert log.read(safe) == b"safe" * 50
    last = log.recover()
    log.append(b"after" * 50)
    log.commit()
    assert [payload for sequence, payload in log.records() if sequence > last] == [b"after" * 50]


def test_what_a_failed_sync_left_in_the_cache_is_not_served_after_recovery():
    disk = SimulatedDisk(3)
    log = a_log("log", files=disk, mode="disk", segment_bytes=1 << 20)
    log.append(b"one")
    log.commit()
    disk.failing["sync"] = errno.EIO
    log.append(b"two")
    with pytest.raises(StoreFullError):
        log.commit()
    disk.failing.clear()
    assert log.recover() == 1
    log.append(b"three")
    log.commit()
    disk.lose_power()
    again = a_log("log", files=disk, mode="disk")
    assert [payload for _, payload in again.records()] == [b"one", b"three"]


def test_a_full_disk_is_typed_and_the_stored_records_stay():
    disk = SimulatedDisk(capacity_bytes=3000)
    log = a_log("log", files=disk, mode="disk", segment_bytes=1 << 20)
    with pytest.raises(StoreFullError, match="No space left"):
        for _ in range(10):
            log.append(b"x" * 500)
            log.commit()
    disk.capacity_bytes = 6000
    log.recover()
    log.append(b"y")
    log.commit()
    assert [payload[:1] for _, payload in log.records()] == [b"x"] * 5 + [b"y"]


def test_a_record_that_is_too_large_is_refused(tmp_path):
    log = a_log(tmp_path / "log")
    with pytest.raises(StoreError, match="over the limit"):
        log.append(bytes(33 << 20))


def test_a_payload_that_imitates_a_record_is_not_believed():
    disk = SimulatedDisk()
    log = a_log("log", files=disk, mode="disk", segment_bytes=1 << 20, identity=5)
    other = a_log("other", files=disk, mode="disk", segment_bytes=1 << 20, identity=6)
    for sequence in range(1, 4):
        other.append(b"forged %d" % sequence)
    other.commit()
    forged = disk.content(disk.paths()[0])[40:]
    log.append(b"first")
    log.append(forged)
    log.append(b"third")
    log.commit()
    path = next(path for path in disk.paths() if path.startswith("log/"))
    disk.flip(path, (40 + 33 + 4) * 8)  # in the second record's header
    again = SegmentLog("log", mode="disk", files=disk, identity=5)
    again.open(skip_damage=True)
    assert b"forged 2" not in [payload for _, payload in again.records()]
