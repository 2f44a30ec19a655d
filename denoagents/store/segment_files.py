"""What a log asks of a file system, and the real one; the simulated one is `testing.disk`.

Rules: every method may raise OSError. What was written is safe after `sync`; what was created,
renamed or removed is safe after `sync_folder`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

Bytes = bytes | bytearray | memoryview


class SegmentFile(Protocol):
    """One open file."""

    def write(self, data: Bytes, offset: int) -> int:
        """Write at `offset`; how many bytes were taken, at least one."""

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only at the end."""

    def size(self) -> int:
        """Bytes in it."""

    def cut(self, size: int) -> None:
        """Let it end after `size` bytes."""

    def sync(self) -> None:
        """Return when everything written is safe."""

    def close(self) -> None:
        """Let go of it."""


class FileSystem(Protocol):
    """Where segments are kept."""

    def open(self, path: str, *, create: bool = False) -> SegmentFile:
        """An existing file, or a new and empty one."""

    def names(self, folder: str) -> Sequence[str]:
        """What is in a folder, sorted; nothing if there is no such folder."""

    def make_folder(self, folder: str) -> None:
        """Make it, and those above it, unless it is there."""

    def rename(self, path: str, to: str) -> None:
        """Give a file another name; one that has it already is replaced."""

    def remove(self, path: str) -> None:
        """Remove a file."""

    def remove_folder(self, folder: str) -> None:
        """Remove an empty folder."""

    def sync_folder(self, folder: str) -> None:
        """Return when names made, changed and removed in a folder are safe."""


class RealFile:
    """A file of the operating system."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: Bytes, offset: int) -> int:
        return os.pwrite(self._descriptor, data, offset)

    def read(self, size: int, offset: int) -> bytes:
        data = os.pread(self._descriptor, size, offset)
        while len(data) < size:
            more = os.pread(self._descriptor, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def cut(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        _sync_data(self._descriptor)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class RealFiles:
    """The operating system's files."""

    def open(self, path: str, *, create: bool = False) -> RealFile:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_TRUNC if create else 0)
        return RealFile(os.open(path, flags, 0o600))

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(path.name for path in Path(folder).iterdir())
        except FileNotFoundError:
            return []

    def make_folder(self, folder: str) -> None:
        Path(folder).mkdir(0o700, parents=True, exist_ok=True)

    def rename(self, path: str, to: str) -> None:
        Path(path).rename(to)

    def remove(self, path: str) -> None:
        Path(path).unlink()

    def remove_folder(self, folder: str) -> None:
        Path(folder).rmdir()

    def sync_folder(self, folder: str) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_sync_data: Final = getattr(os, "fdatasync", os.fsync)
