"""What a log's folder holds after a crash: which records are good, what is cut, what is damaged.

Rules: `replay` only reads. `mend` makes the disk agree: files half made go, the torn tail goes, and the
last segment is written anew and made safe before anything of it is served, because what the kernel
shows after a crash of this process (or after a failed sync) need not be on the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from denoagents.errors import CorruptError
from denoagents.store.segment import HEADER, RECORD, Damage, Found, scan
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
    bytes: int
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
    """Records that a crash left behind half written, or behind half written ones; never acknowledged."""
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


def replay(files: FileSystem, folder: str, identity: int = 0) -> Report:
    """Read a log's folder; nothing is changed."""
    report = Report(identity=identity)
    names = [name for name in files.names(folder) if name.endswith(SUFFIX)]
    report.leftovers = [name for name in files.names(folder) if name.endswith(SUFFIX + ".new")]
    scans = [_Scanned(name, read_file(files, f"{folder}/{name}")) for name in names]
    _Replay(report, scans).run()
    for one in reversed(scans):
        if one.kept and one.segment is not None:
            data = read_file(files, f"{folder}/{one.name}")[: one.segment.bytes]
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
    """Decides about every gap: damage if anything says that it was safe, else the end of the log."""

    def __init__(self, report: Report, scans: list[_Scanned]) -> None:
        self.report, self.scans = report, scans
        self.safe = max((one.result.safe for one in scans), default=0)

    def run(self) -> None:
        report, expected, over = self.report, 0, False
        for one in self.scans:
            header = one.result.header
            if header is None or header.first != one.first or report.identity not in {0, header.log}:
                over = over or self._lose(one)
                expected = 0
            elif over or (expected < header.first and expected and self._gap(one.name, HEADER.size, expected, header.first)):
                over = True
                self._drop(one)
            else:
                report.identity = header.log
                expected, over = self._take(one, header.first)
        kept = [one.last for one in report.segments]
        report.last = max([*kept, *(one.last for one in report.damage)], default=0)

    def _take(self, one: _Scanned, first: int) -> tuple[int, bool]:
        """Keep a segment up to its first gap that is not damage; (next sequence, whether the log ends)."""
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
            segment.last, segment.bytes = found.sequence, found.offset + found.size
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

    def _lose(self, one: _Scanned) -> bool:
        """A file without a header of this log: damage, unless a crash left it empty."""
        if one.is_blank:
            self.report.leftovers.append(one.name)
            return one.first > self.safe
        last = one.first + one.size // RECORD.size
        self.report.damage.append(Damage(one.name, 0, one.first, last, "the header does not fit"))
        return False

    def _drop(self, one: _Scanned) -> None:
        found = one.result.found
        if found:
            self._cut(one.name, HEADER.size, found[0].sequence, found[-1].sequence)
        self.report.leftovers.append(one.name)

    def _cut(self, name: str, offset: int, first: int, last: int) -> None:
        self.report.cut.append(Damage(name, offset, first, last, "not whole, never acknowledged"))
