"""Beside the state store: how far those who waited were told that their commits are kept.

Rules:
    The mark is written after a transaction and before anybody is told of it, without an fsync. So
    the store always holds at least what the mark says: all that was told, while the machine runs;
    all that was told after an fsync, for ever.
    A store that holds less has lost its end (a damaged log, a disk that lied, an old copy put in
    its place): SQLite alone would serve what is left.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from xxhash import xxh3_64_intdigest

from denoagents.errors import CorruptError

BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_FORM: Final = Struct(">QQQQQ")


class Mark(NamedTuple):
    """What the file says."""

    store: int
    """A hash of the store's id."""
    boot: int
    """Of the machine's life in which it was written; 0 if the system does not tell."""
    written: int = 0
    """The last transaction of which somebody was told."""
    synced: int = 0
    """The last of those that an fsync covered."""


def place_of(path: Path) -> Path:
    """The mark's file, beside the store's."""
    return path.with_name(f"{path.name}-told")


def boot() -> int:
    """A hash of the machine's present life."""
    try:
        return xxh3_64_intdigest(BOOT.read_bytes())
    except OSError:
        return 0


def read(path: Path) -> Mark | None:
    """The mark of the store at `path`; None if there is none, or it is torn."""
    try:
        return _decode(place_of(path).read_bytes())
    except OSError:
        return None


def check(path: Path, mark: Mark | None, store_id: str, sequence: int) -> None:
    """Raise `CorruptError` if a store at `sequence` has lost what the mark, read before, says."""
    if mark is None or mark.store != xxh3_64_intdigest(store_id.encode()):
        return
    told = mark.written if mark.boot and mark.boot == boot() else mark.synced
    if sequence < told:
        raise CorruptError(
            f"the state store {path} ends {told - sequence} transactions before what was told to "
            "be kept: its log is damaged, or the file is an old copy. Restore a backup (`denoagents"
            f" store restore`), or remove {place_of(path)} to go on with what is left"
        )


class Marker:
    """Writes the mark of one store; used by the thread that writes."""

    def __init__(self, path: Path, store_id: str) -> None:
        self._empty = Mark(xxh3_64_intdigest(store_id.encode()), boot())
        self._file: int | None = None
        with contextlib.suppress(OSError):  # a full disk: the store may still shrink
            self._file = os.open(place_of(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @property
    def is_of_another_life(self) -> bool:
        """Whether the machine was started anew since the mark was written."""
        last = None if self._file is None else _decode(os.pread(self._file, _FORM.size, 0))
        if last is None or last.store != self._empty.store:
            return False
        return bool(last.boot and self._empty.boot and last.boot != self._empty.boot)

    def note(self, sequence: int, *, is_synced: bool) -> None:
        """The transaction is kept, and those who wait will be told."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            last = _decode(os.pread(self._file, _FORM.size, 0)) or self._empty
            if last[:2] != self._empty[:2]:
                synced = last.synced if last.store == self._empty.store else 0
                last = self._empty._replace(synced=synced)
            synced = max(last.synced, sequence if is_synced else 0)
            mark = last._replace(written=max(last.written, sequence), synced=synced)
            os.pwrite(self._file, _FORM.pack(*mark, _digest(mark)), 0)

    def close(self) -> None:
        """Let go of the file."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def _decode(content: bytes) -> Mark | None:
    if len(content) != _FORM.size:
        return None
    *fields, digest = _FORM.unpack(content)
    mark = Mark(*fields)
    return mark if digest == _digest(mark) else None


def _digest(mark: Mark) -> int:
    return xxh3_64_intdigest(b"%d %d %d %d" % mark)
