"""A file system in memory that loses what a real one may lose, tears it, and fails on command.

Rules:
    `lose_power` keeps what was synced. Each write since then survives or not by itself, in no
    order, and may be torn at any sector; so does each name that was made, changed or removed
    since its folder was synced. `kill` is the death of the process alone: what was written stays.
    After a failed sync, what it did not save still reads well, counts as saved, and is lost with
    the power: as Linux does it.
    The same seed loses the same.
"""

from __future__ import annotations

import errno
import os
from random import Random
from typing import Final

from denoagents.store.segment_files import Bytes

SECTOR: Final = 512


class PowerLostError(BaseException):
    """The simulated machine stopped at this operation."""


class _Content:
    """The bytes of one file: what is on the disk, and the writes that are not."""

    def __init__(self) -> None:
        self.cached = bytearray()
        self.stored = bytearray()
        self.pending: list[tuple[int, bytes | None]] = []
        """(offset, data) of a write, (size, None) of a cut"""

    def settle(self, random: Random) -> None:
        """The power is gone: any of the pending writes, or parts of them, were on their way."""
        for offset, data in self.pending:
            if data is None:
                if random.random() < 0.5:
                    _cut(self.stored, offset)
                continue
            at = 0
            mood = random.random()
            while at < len(data):
                step = min(SECTOR - (offset + at) % SECTOR, len(data) - at)
                if random.random() < mood:
                    _put(self.stored, offset + at, data[at : at + step])
                at += step
        self.pending.clear()
        self.cached = bytearray(self.stored)


class SimulatedFile:
    """One open file."""

    def __init__(self, disk: SimulatedDisk, path: str, content: _Content) -> None:
        self._disk, self._path, self._content = disk, path, content
        self._life = disk.lives

    def write(self, data: Bytes, offset: int) -> int:
        self._check("write")
        room = self._disk.room()
        taken = bytes(data)[: max(0, room)] if room < len(data) else bytes(data)
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
        if self._disk.short_writes and len(taken) > 1:
            taken = taken[: self._disk.random.randint(1, len(taken))]
        _put(self._content.cached, offset, taken)
        self._content.pending.append((offset, taken))
        return len(taken)

    def read(self, size: int, offset: int) -> bytes:
        self._check("read")
        return bytes(self._content.cached[offset : offset + size])

    def size(self) -> int:
        self._check("size")
        return len(self._content.cached)

    def cut(self, size: int) -> None:
        self._check("cut")
        _cut(self._content.cached, size)
        self._content.pending.append((size, None))

    def sync(self) -> None:
        try:
            self._check("sync")
        except OSError:
            self._content.pending.clear()  # the kernel calls them clean
            raise
        self._content.pending.clear()
        self._content.stored = bytearray(self._content.cached)

    def close(self) -> None:
        """Closing writes nothing."""

    def _check(self, operation: str) -> None:
        if self._life != self._disk.lives:
            raise OSError(errno.EBADF, "the process that opened this file is over", self._path)
        self._disk.count(operation, self._path)


class SimulatedDisk:
    """Files of one machine; `fail_at` and `stop_at` choose the operation, counted from 1."""

    def __init__(self, seed: int = 0, *, capacity_bytes: int = 1 << 40) -> None:
        self.random = Random(seed)
        self.capacity_bytes = capacity_bytes
        self.operations = 0
        self.lives = 0
        self.fail_at: dict[int, int] = {}
        """operation -> errno"""
        self.failing: dict[str, int] = {}
        """kind of operation -> errno, until it is taken out"""
        self.stop_at = 0
        self.short_writes = False
        self._names: dict[str, _Content] = {}
        self._stored_names: dict[str, _Content] = {}
        self._pending_names: list[tuple[str, str, _Content | None]] = []
        """(path, new name or "", content) since the folders were synced"""
        self._folders: set[str] = set()

    # --- the file system ----------------------------------------------------------------------

    def open(self, path: str, *, create: bool = False) -> SimulatedFile:
        self.count("open", path)
        content = self._names.get(path)
        if create:
            if content is None:
                content = self._names[path] = _Content()
                self._pending_names.append((path, "", content))
            elif content.cached:
                content.cached.clear()
                content.pending.append((0, None))
        elif content is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return SimulatedFile(self, path, content)

    def names(self, folder: str) -> list[str]:
        self.count("names", folder)
        return sorted(p.rpartition("/")[2] for p in self._names if p.rpartition("/")[0] == folder)

    def make_folder(self, folder: str) -> None:
        self.count("make_folder", folder)
        self._folders.add(folder)

    def rename(self, path: str, to: str) -> None:
        self.count("rename", path)
        content = self._names.pop(path)
        self._names[to] = content
        self._pending_names.append((path, to, content))

    def remove(self, path: str) -> None:
        self.count("remove", path)
        if self._names.pop(path, None) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self._pending_names.append((path, "", None))

    def remove_folder(self, folder: str) -> None:
        self.count("remove_folder", folder)
        self._folders.discard(folder)

    def sync_folder(self, folder: str) -> None:
        self.count("sync_folder", folder)
        left = []
        for one in self._pending_names:
            if one[0].rpartition("/")[0] == folder:
                self._apply(one)
            else:
                left.append(one)
        self._pending_names = left

    # --- what befalls it ----------------------------------------------------------------------

    def kill(self) -> None:
        """The process dies; the machine lives on."""
        self.lives += 1
        self.stop_at = 0

    def lose_power(self) -> None:
        """The machine dies: what was not synced is kept, torn or lost, each by its own luck."""
        self.lives += 1
        self.stop_at = 0
        for one in self._pending_names:
            if self.random.random() < 0.5:
                self._apply(one)
        self._pending_names.clear()
        self._names = dict(self._stored_names)
        for content in {id(one): one for one in self._names.values()}.values():
            content.settle(self.random)

    def flip(self, path: str, bit: int) -> None:
        """Change one bit of a file, on the disk and in the cache."""
        content = self._names[path]
        for data in (content.cached, content.stored):
            if bit // 8 < len(data):
                data[bit // 8] ^= 1 << (bit % 8)

    def cut(self, path: str, size: int) -> None:
        """Let a file end earlier."""
        content = self._names[path]
        for data in (content.cached, content.stored):
            _cut(data, min(size, len(data)))

    def content(self, path: str) -> bytes:
        """What a file reads as."""
        return bytes(self._names[path].cached)

    def paths(self) -> list[str]:
        """All files."""
        return sorted(self._names)

    def room(self) -> int:
        """Bytes that may still be written."""
        return self.capacity_bytes - sum(len(one.cached) for one in self._names.values())

    def count(self, operation: str, path: str) -> None:
        """One more operation: it may fail, or be the last."""
        self.operations += 1
        if self.operations == self.stop_at:
            raise PowerLostError
        number = self.fail_at.pop(self.operations, 0) or self.failing.get(operation, 0)
        if number:
            raise OSError(number, os.strerror(number), path)

    def _apply(self, change: tuple[str, str, _Content | None]) -> None:
        path, to, content = change
        if content is None:
            self._stored_names.pop(path, None)
        elif to:
            if self._stored_names.get(path) is content:
                del self._stored_names[path]
            self._stored_names[to] = content
        else:
            self._stored_names[path] = content

    def __repr__(self) -> str:
        return f"<SimulatedDisk {len(self._names)} files, {self.operations} operations>"


def _put(data: bytearray, offset: int, written: bytes) -> None:
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(written)] = written


def _cut(data: bytearray, size: int) -> None:
    if size < len(data):
        del data[size:]
    else:
        data.extend(bytes(size - len(data)))
