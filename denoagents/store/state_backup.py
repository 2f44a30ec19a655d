"""Copies a state store while it is in use, and puts a copy back while nobody uses it.

Rules:
    A backup is a store of one moment, read through and private (mode 0600) before it has its name.
    A restored store is another place than before (a new id), and its actors send with numbers far
    above those of the copy: what they sent after the backup is not taken for the new messages.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from denoagents.errors import CorruptError, StoreError
from denoagents.store.state_file import (
    check_place,
    connect,
    error_of,
    is_open_here,
    sync_folder,
    write_meta,
)
from denoagents.store.state_group import jump_numbers
from denoagents.store.state_inspection import Verification, verify
from denoagents.store.state_upkeep import BUSY_S, operated

_SHARED: Final = (0x40000002, 510)
"""Bytes of the file that every process with an open SQLite connection locks (sqlite.org, os.h)."""


@dataclass(frozen=True, slots=True)
class Restoration:
    """What `restore` did."""

    found: Verification
    replaced: Path | None
    """Where the former file is now."""


def backup(path: Path, target: Path) -> Verification:
    """Copy the store at `path` to a new file; workers go on meanwhile."""
    if target.exists():
        raise StoreError(f"{target} exists already: name a new file")
    half = target.with_name(f"{target.name}.part")
    with _new_file(half):
        with operated(path) as connection:
            connection.execute("VACUUM INTO ?", (str(half),))
        found = _read_through(half)
        _place(half, target)
    return found


def restore(path: Path, source: Path) -> Restoration:
    """Put the backup `source` in the place of the store `path`; refused while it is in use."""
    if not source.is_file():
        raise StoreError(f"there is no backup {source}")
    check_place(path, is_new_allowed=False, may_be_missing=True)
    half = path.with_name(f"{path.name}.part")
    with _unused(path), _new_file(half):
        try:
            shutil.copyfile(source, half)
        except OSError as error:
            raise error_of(half, error) from error
        found = _read_through(half)
        _renew(half)
        replaced = None
        if path.exists():
            replaced = path.with_name(f"{path.name}.replaced")
            path.rename(replaced)
            for ending in ("-wal", "-shm", "-told"):
                log = path.with_name(path.name + ending)
                if log.exists():
                    log.rename(replaced.with_name(replaced.name + ending))
        _place(half, path)
    return Restoration(found, replaced)


def _read_through(half: Path) -> Verification:
    found = verify(half)
    if not found.is_whole:
        raise CorruptError(f"{half} is damaged: {found.problems[0]} ({found.count} in all)")
    return found


def _renew(path: Path) -> None:
    """Give the copy an id of its own, and its actors new numbers to send with."""
    try:
        connection = connect(path, timeout_s=BUSY_S, is_new_allowed=False)
        try:
            connection.execute("BEGIN IMMEDIATE")
            write_meta(connection, "id", secrets.token_hex(16))
            jump_numbers(connection)
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise error_of(path, error) from error


@contextlib.contextmanager
def _new_file(half: Path) -> Iterator[None]:
    """An empty private file, gone again unless it was renamed."""
    try:
        half.unlink(missing_ok=True)
        os.close(os.open(half, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise error_of(half, error) from error
    try:
        yield
    finally:
        for ending in ("", "-wal", "-shm"):
            half.with_name(half.name + ending).unlink(missing_ok=True)


def _place(half: Path, target: Path) -> None:
    """Let the finished file have its name, for good."""
    try:
        number = os.open(half, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(number)
        finally:
            os.close(number)
        half.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        raise error_of(target, error) from error


@contextlib.contextmanager
def _unused(path: Path) -> Iterator[None]:
    """Nobody else has the file open meanwhile; raises `StoreError` if somebody does."""
    if is_open_here(path):  # looking would end this process's own locks
        raise StoreError(f"the state store {path} is in use by this process")
    if not path.exists():
        yield
        return
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED[1], _SHARED[0])
        except OSError as error:
            raise StoreError(
                f"the state store {path} is in use: stop the workers of this host first"
            ) from error
        yield
