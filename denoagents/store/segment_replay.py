"""What a log's folder holds after a crash: which records are good, what is cut, what is damaged.

Rules: `replay` only reads. `mend` makes the disk agree: files half made go, the torn tail goes, and
the last segment is written anew and made safe before anything of it is served: what the kernel
shows after a crash of this process (or after a failed sync) need not be on the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from denoagents.errors import CorruptError
from denoagents.store.segment import HEADER, RECORD, Damage, Found, Header, scan
from denoagents.store.segment_files import FileSystem

SUFFIX: Final = ".segment"


def name_of(first: int) -> str:
    """The file of the segment that begins with the record `first`."""
    return f"{first:020d}{SUFFIX}"


@dataclass(slots=True)
class Segment:
    """One segment of an open log."""

    first: int
    last: int
    length: int
    live: int
    """Records that are still needed."""

    def scan(self, data: bytes, report: Report | None, folder: str) -> Iterator[Found]:
        """Its good records; damage that is not in the report raises `CorruptError`."""
        known = () if report is None else report.damage
        expected = self.first
        for found in scan(data).found:
            gap = range(expected, found.sequence)
            if gap and not any(one.covers(gap[0]) and one.covers(gap[-1]) for one in known):
                break
            expected = found.sequence + 1
            yield found
        if expected <= self.last:
            raise CorruptError(f"{folder}/{name_of(self.first)}: record {expected} is damaged")


@dataclass(slots=True)
class Report:
    """What a replay found."""

    segments: list[Segment] = field(default_factory=list)
    identity: int = 0
    records: int = 0
    last: int = 0
    """The sequence of the last record that is kept."""
    damage: list[Damage] = field(default_factory=list)
    cut: list[Damage] = field(default_factory=list)
    """Records that a crash left half written, or behind such; never acknowledged."""
    leftovers: list[str] = field(default_factory=list)
    """Files that are removed."""
    tail: tuple[str, bytes] | None = None
    """The last segment, as it should be."""

    def mend(self, files: FileSystem, folder: str) -> None:
        """Make the disk agree."""
        if not self.leftovers and self.tail is None:
            return
        for name in self.leftovers:
            files.remove(f"{folder}/{name}")
        if self.tail is not None:
            name, data = self.tail
            file = files.open(f"{folder}/{name}.new", create=True)
            try:
                view, at = memoryview(data), 0
                while at < len(data):
                    at += file.write(view[at:], at)
                file.sync()
            finally:
                file.close()
            files.rename(f"{folder}/{name}.new", f"{folder}/{name}")
        files.sync_folder(folder)


def read_file(files: FileSystem, path: str) -> bytes:
    """All of a file."""
    file = files.open(path)
    try:
        return file.read(file.size(), 0)
    finally:
        file.close()


def replay(files: FileSystem, folder: str, identity: int = 0, *, syncs: bool = True) -> Report:
    """Read a log's folder; nothing is changed. A log that `syncs` has no header half written."""
    report = Report(identity=identity)
    names = [name for name in files.names(folder) if name.endswith(SUFFIX)]
    report.leftovers = [name for name in files.names(folder) if name.endswith(SUFFIX + ".new")]
    scans = [_Scanned(name, read_file(files, f"{folder}/{name}")) for name in names]
    _Replay(report, scans, syncs=syncs).run()
    for one in reversed(scans):
        if one.kept and one.segment is not None:
            data = read_file(files, f"{folder}/{one.name}")[: one.segment.length]
            report.tail = (one.name, data)
            break
    return report


class _Scanned:
    """One file of the folder."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name, self.size, self.result = name, len(data), scan(data)
        self.is_blank = not data[: HEADER.size].strip(b"\0")
        number = name.removesuffix(SUFFIX)
        self.first = int(number) if number.isdigit() else -1
        self.segment: Segment | None = None
        self.kept = False


class _Replay:
    """Decides about every gap: damage if anything calls it safe, else the end of the log."""

    def __init__(self, report: Report, scans: list[_Scanned], *, syncs: bool) -> None:
        self.report, self.scans, self.syncs = report, scans, syncs
        self.safe = max((one.result.safe for one in scans), default=0)

    def run(self) -> None:
        report, expected, over = self.report, 0, False
        for one in self.scans:
            header = one.result.header
            if header is None or not self._fits(one, header):
                over = self._lose(one, is_behind_the_end=over)
                expected = 0
            elif header.first < expected:  # a power loss brought it back
                self._drop(one)
            elif over or (0 < expected < header.first and self._misses(one, expected)):
                over = True
                self._drop(one)
            else:
                report.identity = header.log
                expected, over = self._take(one, header.first)
        kept = [one.last for one in report.segments]
        report.last = max([*kept, *(one.last for one in report.damage)], default=0)

    def _take(self, one: _Scanned, first: int) -> tuple[int, bool]:
        """Keep a segment up to the first gap that is no damage: next sequence, does the log end?"""
        gaps = {gap[2]: gap for gap in one.result.gaps}
        segment = Segment(first, first - 1, HEADER.size, 0)
        one.segment, one.kept = segment, True
        self.report.segments.append(segment)
        for found in one.result.found:
            if found.sequence in gaps:
                offset, missing, number = gaps[found.sequence]
                if self._gap(one.name, offset, missing, number):
                    rest = one.result.found[-1].sequence
                    self._cut(one.name, offset, missing, rest)
                    return missing, True
            segment.last, segment.length = found.sequence, found.offset + found.size
            segment.live += 1
            self.report.records += 1
        return segment.last + 1, False

    def _gap(self, name: str, offset: int, missing: int, number: int) -> bool:
        """Records from `missing` to before `number` are not there; whether the log ends here."""
        if missing > self.safe:
            return True
        self.report.damage.append(
            Damage(name, offset, missing, number - 1, "the checksum does not fit")
        )
        return False

    def _fits(self, one: _Scanned, header: Header) -> bool:
        return header.first == one.first and self.report.identity in {0, header.log}

    def _misses(self, one: _Scanned, expected: int) -> bool:
        """A segment begins too late; whether the log ends before it."""
        return self._gap(one.name, HEADER.size, expected, one.first)

    def _lose(self, one: _Scanned, *, is_behind_the_end: bool) -> bool:
        """A file without a header of this log: damage, unless a crash may have left it so."""
        last = one.first + one.size // RECORD.size
        if one is not self.scans[-1]:
            last = self.scans[self.scans.index(one) + 1].first - 1
        damage = Damage(one.name, 0, one.first, last, "the header does not fit")
        if is_behind_the_end or (one.first > self.safe and (one.is_blank or not self.syncs)):
            self.report.leftovers.append(one.name)
            if not one.is_blank:
                self.report.cut.append(damage)
            return True
        self.report.damage.append(damage)
        return False

    def _drop(self, one: _Scanned) -> None:
        found = one.result.found
        if found:
            self._cut(one.name, HEADER.size, found[0].sequence, found[-1].sequence)
        self.report.leftovers.append(one.name)

    def _cut(self, name: str, offset: int, first: int, last: int) -> None:
        self.report.cut.append(Damage(name, offset, first, last, "not whole, never acknowledged"))
