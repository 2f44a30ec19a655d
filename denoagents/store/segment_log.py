"""An append-only log in segments: bounded in bytes, checked at every read, honest about the disk.

Rules:
    `append` hands a record to the log, `commit` makes all of them safe: in mode `os` from the death
    of the process, in mode `disk` from a power failure too, with one fdatasync for the whole group.
    After a failed write, sync or rename nothing more is appended (`StoreFullError`) until
    `recover`: it cuts what was not safe and goes on in a new file. A failed sync is never asked
    again: the kernel forgets what it could not write. What is stored stays readable meanwhile.
    Opening replays: a torn tail is cut, the rest made safe; damage is reported and never served.
    One log belongs to one process at a time, and is used by one thread at a time.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from denoagents.errors import CorruptError, StoreError, StoreFullError
from denoagents.store.segment import (
    HEADER,
    MOST_UNSAFE,
    RECORD,
    Header,
    is_whole,
    pack_header,
    pack_record,
)
from denoagents.store.segment_files import FileSystem, RealFiles, SegmentFile
from denoagents.store.segment_replay import Report, Segment, name_of, replay

Mode = Literal["os", "disk"]

MOST_RECORD: Final = 32 << 20
"""Bytes of one record at most."""


class Place(NamedTuple):
    """Where one record stands."""

    sequence: int
    segment: int
    """The first sequence of its segment."""
    offset: int
    size: int
    """Of the whole record."""


class SegmentLog:
    """Records in order, in the segments of one folder."""

    def __init__(
        self,
        folder: str,
        *,
        mode: Mode = "disk",
        segment_bytes: int = 16 << 20,
        limit_bytes: int = 1 << 30,
        files: FileSystem | None = None,
        identity: int = 0,
    ) -> None:
        """`limit_bytes` bounds all segments together; `identity` seeds checksums (0: random)."""
        self.folder, self.mode, self.segment_bytes = folder, mode, segment_bytes
        self.limit_bytes = limit_bytes
        self._files: FileSystem = files or RealFiles()
        self._identity = identity
        self._segments: dict[int, Segment] = {}
        self._active: Segment | None = None
        self._file: SegmentFile | None = None
        self._readers: dict[int, SegmentFile] = {}
        self._unwritten: list[bytes] = []
        self._unwritten_bytes = 0
        self._failure: StoreFullError | None = None
        self._safe = 0
        self._safe_bytes = 0
        self.next_sequence = 1
        self.bytes = 0
        self.report: Report | None = None

    # --- opening ------------------------------------------------------------------------------

    def open(self, *, skip_damage: bool = False) -> Report:
        """Replay what is there. Damage raises `CorruptError`, unless it is to be skipped."""
        try:
            report = replay(self._files, self.folder, self._identity, syncs=self.mode == "disk")
            if report.damage and not skip_damage:
                raise CorruptError(f"{self.folder}: " + "; ".join(map(str, report.damage[:5])))
            report.mend(self._files, self.folder)
        except OSError as error:
            raise self._fail("cannot be opened", error) from error
        self._identity = report.identity or self._identity or secrets.randbits(63) or 1
        self._segments = {one.first: one for one in report.segments}
        self.bytes = sum(one.length for one in report.segments)
        self.next_sequence = report.last + 1
        self._safe = report.last
        self.report = report
        return report

    def close(self) -> None:
        """Make everything appended safe, and let go of the files."""
        try:
            if self._failure is None:
                self.commit()
        finally:
            self._let_go()

    # --- writing ------------------------------------------------------------------------------

    def append(self, payload: bytes) -> Place:
        """Hand over one record; it may be read at once, and is safe after the next `commit`."""
        if self._failure is not None:
            raise self._failure
        size = RECORD.size + len(payload)
        if size > MOST_RECORD:
            raise StoreError(f"a record of {size} bytes is over the limit of {MOST_RECORD}")
        active = self._active
        begins = active is None or active.length + size > max(
            self.segment_bytes, HEADER.size + size
        )
        if self.bytes + size + (HEADER.size if begins else 0) > self.limit_bytes:
            raise StoreFullError(
                f"{self.folder} holds {self.bytes} bytes, its limit is {self.limit_bytes}"
            )
        if begins:
            active = self._begin_segment()
        assert active is not None
        sequence = self.next_sequence
        unsafe = sequence - 1 - self._safe if self.mode == "disk" else MOST_UNSAFE
        record = pack_record(self._identity, sequence, unsafe, payload)
        place = Place(sequence, active.first, active.length, size)
        self._unwritten.append(record)
        self._unwritten_bytes += size
        active.length += size
        active.last = sequence
        active.live += 1
        self.bytes += size
        self.next_sequence += 1
        return place

    def commit(self) -> int:
        """Make all records safe to the log's mode; the sequence of the last one."""
        if self._failure is not None:
            raise self._failure
        last = self.next_sequence - 1
        if self._active is None or last == self._safe:
            return last
        try:
            self._write_out()
            if self.mode == "disk":
                self._open_file().sync()
        except OSError as error:
            raise self._fail("cannot be written", error) from error
        self._safe, self._safe_bytes = last, self._active.length
        return last

    def _write_out(self) -> None:
        if not self._unwritten or self._active is None:
            return
        data = memoryview(b"".join(self._unwritten))
        at = self._active.length - self._unwritten_bytes
        file = self._open_file()
        while data:
            taken = file.write(data, at)
            at += taken
            data = data[taken:]
        self._unwritten.clear()
        self._unwritten_bytes = 0

    def _open_file(self) -> SegmentFile:
        assert self._file is not None
        return self._file

    def _begin_segment(self) -> Segment:
        """Make the last segment safe, and a new one that no crash can leave half made."""
        self.commit()
        first = self.next_sequence
        path = f"{self.folder}/{name_of(first)}"
        safe = self._safe if self.mode == "disk" else 0
        try:
            self._files.make_folder(self.folder)
            file = self._files.open(f"{path}.new", create=True)
            header = pack_header(Header(self._identity, first, safe))
            at = 0
            while at < len(header):
                at += file.write(header[at:], at)
            if self.mode == "disk":
                file.sync()
            self._files.rename(f"{path}.new", path)
            if self.mode == "disk":
                self._files.sync_folder(self.folder)
        except OSError as error:
            raise self._fail("takes no new segment", error) from error
        segment = Segment(first, first - 1, HEADER.size, 0)
        self._let_file_go()
        self._file = file
        if first in self._segments:  # one without a record, of a process before
            self.bytes -= self._segments[first].length
        self._segments[first] = self._active = segment
        self.bytes += HEADER.size
        self._safe_bytes = HEADER.size
        return segment

    # --- reading ------------------------------------------------------------------------------

    def read(self, place: Place) -> bytes:
        """The payload of one record; `CorruptError` if the disk gives anything else."""
        if self._unwritten and self._failure is None:
            self.flush()
        try:
            record = self._reader(place.segment).read(place.size, place.offset)
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be read: {error}") from error
        if not is_whole(self._identity, record, place.sequence):
            raise CorruptError(
                f"{self.folder}/{name_of(place.segment)} at byte {place.offset}: "
                f"record {place.sequence} is damaged"
            )
        return record[RECORD.size :]

    def flush(self) -> None:
        """Give what is appended to the operating system."""
        if self._failure is not None:
            raise self._failure
        try:
            self._write_out()
        except OSError as error:
            raise self._fail("cannot be written", error) from error

    def records(self, since: int = 1) -> Iterator[tuple[int, bytes]]:
        """Every whole record from sequence `since` on, in order; one segment is in memory."""
        self.flush()
        for segment in list(self._segments.values()):
            if segment.last < since:
                continue
            try:
                data = self._reader(segment.first).read(segment.length, 0)
            except OSError as error:
                raise StoreError(f"{self.folder} cannot be read: {error}") from error
            for found in segment.scan(data, self.report, self.folder):
                if found.sequence >= since:
                    yield found.sequence, data[found.offset : found.offset + found.size]

    def _reader(self, first: int) -> SegmentFile:
        if self._active is not None and first == self._active.first and self._file is not None:
            return self._file
        reader = self._readers.get(first)
        if reader is None:
            while len(self._readers) >= MOST_READERS:
                self._readers.pop(next(iter(self._readers))).close()
            reader = self._readers[first] = self._files.open(f"{self.folder}/{name_of(first)}")
        return reader

    # --- giving back --------------------------------------------------------------------------

    def release(self, place: Place) -> None:
        """A record is not needed any more; a segment without any leaves the disk."""
        segment = self._segments.get(place.segment)
        if segment is None:
            return
        segment.live -= 1
        if segment is self._active and (
            self._unwritten or segment.length < self.segment_bytes // 4
        ):
            return
        if segment.live <= 0:
            self._remove(segment)

    def forget(self, until: int) -> None:
        """Records up to `until` are not needed any more: whole segments of them leave the disk."""
        for segment in list(self._segments.values()):
            if segment.last > until or segment is self._active:
                break
            self._remove(segment)

    def _remove(self, segment: Segment) -> None:
        reader = self._readers.pop(segment.first, None)
        if reader is not None:
            reader.close()
        try:
            self._files.remove(f"{self.folder}/{name_of(segment.first)}")
            if self.mode == "disk":  # before the next one: a crash leaves no hole
                self._files.sync_folder(self.folder)
        except OSError as error:
            raise self._fail("cannot be cleared", error) from error
        del self._segments[segment.first]
        self.bytes -= segment.length
        if segment is self._active:
            self._let_file_go()
            self._active = None

    # --- failures -----------------------------------------------------------------------------

    @property
    def failure(self) -> StoreFullError | None:
        """Why nothing is appended now."""
        return self._failure

    def recover(self) -> int:
        """After a failure: cut what is not safe and go on; the sequence of the last record kept."""
        self._unwritten.clear()
        self._unwritten_bytes = 0
        active, self._active = self._active, None
        try:
            if active is not None:
                self._cut(active)
        except OSError as error:
            self._active = active
            raise self._fail("cannot be mended", error) from error
        self._failure = None
        return self._safe

    def _cut(self, active: Segment) -> None:
        """Cut a segment behind its last safe record; the next append begins another one."""
        path = f"{self.folder}/{name_of(active.first)}"
        self._let_file_go()
        if self._safe < active.first:
            self._files.remove(path)
            self._files.sync_folder(self.folder)
            del self._segments[active.first]
            self.bytes -= active.length
        else:
            file = self._files.open(path)
            try:
                file.cut(self._safe_bytes)
                file.sync()  # in each mode: what was cut must not come back under the same sequence
            finally:
                file.close()
            self.bytes -= active.length - self._safe_bytes
            active.live -= active.last - self._safe
            active.length, active.last = self._safe_bytes, self._safe
        self.next_sequence = self._safe + 1

    def _fail(self, what: str, error: OSError) -> StoreFullError:
        self._failure = StoreFullError(f"{self.folder} {what}: {error.strerror or error}")
        return self._failure

    def _let_file_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _let_go(self) -> None:
        self._let_file_go()
        readers, self._readers = self._readers, {}
        for reader in readers.values():
            reader.close()

    def __repr__(self) -> str:
        state = "failed" if self._failure else f"{len(self._segments)} segments, {self.bytes} bytes"
        return f"<SegmentLog {self.folder} {state}>"


MOST_READERS: Final = 8
"""Segments open for reading at a time."""
