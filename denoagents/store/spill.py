"""Where a node puts messages that its memory has no room for: a log that nobody needs after it.

Rules:
    What is put comes back once and checked, or `CorruptError` does. The order is the queues'.
    A spill does not outlive its process: who sent reliably sends again. Each process has a folder
    of its own, named by node, process and incarnation; those of dead processes are removed.
    After a failure nothing is put for a second; then the log goes on in another segment.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Final

import psutil
import structlog

from denoagents.errors import StoreError, StoreFullError
from denoagents.store.segment_files import FileSystem, RealFiles
from denoagents.store.segment_log import Place, SegmentLog
from denoagents.store.settings import SpillSettings

log = structlog.get_logger("denoagents.store")

STARTED: Final = int(psutil.Process().create_time())
"""Tells this process from a later one with its number."""

COMMON: Final = Path("/var/tmp")  # noqa: S108 - the folder in it is ours, or refused
"""Survives a restart on most systems, so it is a disk; /tmp may be memory."""


class Spill:
    """The part of one node's queues that is on the disk."""

    def __init__(
        self, settings: SpillSettings, name: str, incarnation: int, files: FileSystem | None = None
    ) -> None:
        self.settings = settings
        self._files: FileSystem = files or RealFiles()
        self.root = Path(settings.folder) if settings.folder else usual_root()
        safe_name = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:80]
        self.folder = self.root / f"{safe_name}~{os.getpid()}~{STARTED}~{incarnation}"
        self._log: SegmentLog | None = None
        self._failed = ""
        self.failures = 0
        self.put_bytes = 0

    @property
    def size(self) -> int:
        """Bytes on the disk now."""
        return 0 if self._log is None else self._log.bytes

    @property
    def failure(self) -> str:
        """What the disk said last, until it takes something again."""
        return self._failed

    def put(self, data: bytes) -> Place:
        """Keep `data`; raises `StoreError` when the disk takes nothing."""
        if self._log is None:
            self._log = self._open()
        if self._log.failure is not None:
            self._log.recover()
        place = self._log.append(data)
        self._log.commit()
        self.put_bytes += len(data)
        if self._failed:
            self._failed = ""
            log.warning("the disk takes waiting messages again", folder=str(self.folder))
        return place

    def get(self, place: Place) -> bytes:
        """What was put; raises `StoreError` (`CorruptError`) if the disk has lost it."""
        if self._log is None:
            raise StoreError(f"{self.folder} is closed")
        return self._log.read(place)

    def drop(self, place: Place) -> None:
        """Nobody needs it any more."""
        if self._log is not None:
            with contextlib.suppress(StoreFullError):  # said at the next `put`
                self._log.release(place)

    def failed(self, error: Exception) -> None:
        """The disk did not do what it should: say so once."""
        self.failures += 1
        if not self._failed:
            log.error("waiting messages stay in memory", folder=str(self.folder), error=str(error))
        self._failed = str(error)

    def close(self) -> None:
        """Remove everything."""
        if self._log is not None:
            with contextlib.suppress(StoreError):
                self._log.close()
            self._log = None
            shutil.rmtree(self.folder, ignore_errors=True)

    def _open(self) -> SegmentLog:
        try:
            own(self.root)
        except OSError as error:
            raise StoreFullError(f"{self.root}: {error.strerror or error}") from error
        remove_leftovers(self.root)
        made = SegmentLog(
            str(self.folder),
            mode="os",
            segment_bytes=min(16 << 20, self.settings.disk_bytes // 8),
            limit_bytes=self.settings.disk_bytes,
            files=self._files,
        )
        made.open()
        return made

    def __repr__(self) -> str:
        return f"<Spill {self.folder} {self.size} bytes>"


def usual_root() -> Path:
    """A folder of this user on a disk."""
    base = COMMON if os.access(COMMON, os.W_OK) else Path(tempfile.gettempdir())
    return base / f"denoagents-{os.getuid()}"


def own(root: Path) -> None:
    """Make `root` for this user alone; refuse one of somebody else."""
    root.mkdir(0o700, parents=True, exist_ok=True)
    found = root.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
        raise StoreError(f"{root} belongs to somebody else; set spill.folder to a folder of yours")


def remove_leftovers(root: Path) -> int:
    """Remove what dead processes have left in `root`; how many folders that were."""
    count = 0
    with contextlib.suppress(FileNotFoundError):
        for folder in list(root.iterdir()):
            parts = folder.name.rsplit("~", 3)
            if len(parts) == 4 and folder.is_dir() and not _lives(parts[1], parts[2]):
                shutil.rmtree(folder, ignore_errors=True)
                count += 1
    return count


def _lives(pid: str, started: str) -> bool:
    try:
        return bool(abs(psutil.Process(int(pid)).create_time() - int(started)) <= 1)
    except (psutil.NoSuchProcess, ValueError):
        return False
    except psutil.AccessDenied:
        return True
