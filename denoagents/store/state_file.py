"""The SQLite file of the embedded state store: who may open it, how, and what its errors mean."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sqlite3
import stat
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Final
from urllib.parse import quote

from xxhash import xxh3_64_intdigest

from denoagents.errors import CorruptError, StoreError, StoreFullError
from denoagents.store import state_told
from denoagents.store.state_rows import LAYOUT, TABLES, signed

APPLICATION_ID: Final = int.from_bytes(b"dAst", "big")
"""Marks the SQLite file as a state store."""
OLDEST_SQLITE: Final = (3, 35, 0)
SWITCH_TRIES: Final = 100
SWITCH_PAUSE_S: Final = 0.02
NETWORK: Final = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs",
    "beegfs", "ocfs2", "gfs2", "fuse.sshfs", "fuse.glusterfs", "fuse.cephfs", "fuse.s3fs",
    "fuse.rclone", "davfs", "ncpfs", "coda", "orangefs", "virtiofs",
})  # fmt: skip
"""Kinds of file systems whose locks and shared memory do not reach all processes."""
MOUNTS: Final = Path("/proc/self/mounts")

_open: Final[Counter[Path]] = Counter()
_CAUSES: Final = {
    "SQLITE_FULL": "the disk is full; make room, and the next commit is kept again",
    "SQLITE_IOERR": "the disk reports an input/output error",
    "SQLITE_CORRUPT": "the file is damaged; see `denoagents store verify`, and restore a backup",
    "SQLITE_NOTADB": "the file is no state store; move it away, or name another path",
    "SQLITE_BUSY": "another process holds the file for too long",
    "SQLITE_LOCKED": "another process holds the file for too long",
    "SQLITE_READONLY": "the file or its folder may not be written",
    "SQLITE_CANTOPEN": "the file cannot be opened; its folder must exist and be writable",
}


MISREAD: Final = (UnicodeError, TypeError, ValueError, OverflowError, LookupError)
"""What Python says to values that no store of ours holds: the file is damaged."""


def error_of(path: Path, error: Exception) -> StoreError:
    """The typed error for what SQLite or the system reports."""
    name = str(getattr(error, "sqlite_errorname", "") or "")
    if isinstance(error, OSError):
        name = "SQLITE_IOERR"
    elif isinstance(error, MISREAD):
        name = "SQLITE_CORRUPT"
    said = next((text for code, text in _CAUSES.items() if name.startswith(code)), "it fails")
    cls = StoreError
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        cls = StoreFullError
    elif name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        cls = CorruptError
    return cls(f"the state store {path}: {said} ({name or type(error).__name__}: {error})")


def connect(path: Path, *, timeout_s: float, is_new_allowed: bool = True) -> sqlite3.Connection:
    """Open the file, make it if there is none; raises `StoreError` for one that is not ours."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreError(
            f"the state store needs SQLite 3.35, this Python has {sqlite3.sqlite_version}"
        )
    try:
        check_place(path, is_new_allowed=is_new_allowed)
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw",
            uri=True,
            timeout=timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.text_factory = _text
        try:
            _set_up(connection, path)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, OSError, *MISREAD) as error:
        raise error_of(path, error) from error
    return connection


def check_place(path: Path, *, is_new_allowed: bool, may_be_missing: bool = False) -> None:
    """Refuse a place that cannot hold a store; make an empty private file where there is none."""
    if not path.parent.is_dir():
        raise StoreError(f"the state store {path}: there is no folder {path.parent}")
    if (kind := network_kind(path.parent)) is not None:
        raise StoreError(
            f"the state store {path} lies on a network file system ({kind}), where locks do not "
            "hold: put it on a local disk, one file a host"
        )
    if is_new_allowed:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
            sync_folder(path.parent)
    try:
        found = path.stat()
    except FileNotFoundError:
        if may_be_missing:
            return
        raise StoreError(f"there is no state store {path}") from None
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(f"the state store {path} is no regular file")
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        raise StoreError(f"the state store {path} belongs to another user ({found.st_uid})")
    if found.st_mode & 0o077:
        raise StoreError(
            f"the state store {path} may be read by others (mode {stat.S_IMODE(found.st_mode):o}); "
            f"type: chmod 600 {path}"
        )


def network_kind(folder: Path, mounts: Path = MOUNTS) -> str | None:
    """The kind of the network file system that `folder` lies on; None if it is local or unknown."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:  # no Linux
        return None
    place = f"{folder.resolve()}/"
    best, kind = "", ""
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].encode().decode("unicode_escape").rstrip("/") + "/"
        if place.startswith(point) and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind if kind in NETWORK else None


def is_open_here(path: Path) -> bool:
    """Whether this process has the file open as a store."""
    return path.absolute() in _open


def mark_open(path: Path) -> None:
    """This process opened it; as often as it is forgotten again."""
    _open[path.absolute()] += 1


def mark_closed(path: Path) -> None:
    """This process let go of it once."""
    _open[path.absolute()] -= 1
    if _open[path.absolute()] <= 0:
        del _open[path.absolute()]


def identity_of(connection: sqlite3.Connection, path: Path) -> str:
    """The name of this very file on this very host; a copy of it has another."""
    found = path.stat()
    kept = read_meta(connection, path, "id")
    return f"sqlite:{kept}@{socket.gethostname()}:{found.st_dev:x}:{found.st_ino:x}"


def read_meta(connection: sqlite3.Connection, path: Path, name: str) -> str:
    """A value of the store as a whole; raises `CorruptError` for a damaged one."""
    row = connection.execute("SELECT value, digest FROM meta WHERE name = ?", (name,)).fetchone()
    if row is None or row[1] != _meta_digest(name, str(row[0])):
        raise CorruptError(f"the state store {path} is damaged: its {name} is lost; see `verify`")
    return str(row[0])


def write_meta(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Replace a value of the store as a whole."""
    connection.execute(
        "INSERT INTO meta VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value, digest = excluded.digest",
        (name, value, _meta_digest(name, value)),
    )


def free_bytes(path: Path) -> int:
    """Bytes that the disk under the file still takes from this user."""
    found = os.statvfs(path.parent)
    return found.f_bavail * found.f_frsize


def _text(content: bytes) -> str:
    """A name in the file; a damaged one is not the one that is looked for."""
    return content.decode(errors="replace")


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of an empty file; refuse one of another program or of a newer version."""
    mark = state_told.read(path)  # before the store is looked at: it only grows
    connection.execute("BEGIN")  # one look: another process may be setting it up just now
    try:
        _judge(connection, path)
    finally:
        connection.execute("ROLLBACK")
    if sys.platform == "darwin":  # a plain fsync does not reach the disk there
        connection.execute("PRAGMA fullfsync=ON")
        connection.execute("PRAGMA checkpoint_fullfsync=ON")
    mode = _use_log(connection)
    if mode != "wal":
        raise StoreError(f"the state store {path} cannot use a write-ahead log ({mode})")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA secure_delete=ON")
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute(f"PRAGMA journal_size_limit={64 << 20}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _judge(connection, path):
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={LAYOUT}")
            for statement in TABLES.strip().split(";\n"):
                connection.execute(statement)
            write_meta(connection, "id", secrets.token_hex(16))
            write_meta(connection, "fence", "0")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    sequence = connection.execute("SELECT number FROM sequence").fetchone()
    if sequence is None or not isinstance(sequence[0], int):
        raise CorruptError(f"the state store {path} is damaged: its sequence is lost")
    state_told.check(path, mark, read_meta(connection, path, "id"), sequence[0])


def _use_log(connection: sqlite3.Connection) -> str:
    """Write ahead; several processes may say so at once, and SQLite does not wait for this lock."""
    pause = threading.Event()
    for _ in range(SWITCH_TRIES):
        try:
            return str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                raise
        pause.wait(SWITCH_PAUSE_S)
    return str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])


def _judge(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the file is empty; raises `StoreError` for one that is not ours."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    layout = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application == 0 and layout == 0 and tables == 0:
        return True
    if application != APPLICATION_ID:
        raise StoreError(f"the state store {path}: the file belongs to another program")
    if layout != LAYOUT:
        age = "a newer" if layout > LAYOUT else "an older"
        raise StoreError(
            f"the state store {path} was written by {age} denoagents (format {layout}, this one "
            f"has {LAYOUT}); use that version, or restore a backup of this one"
        )
    return False


def _meta_digest(name: str, value: str) -> int:
    return signed(xxh3_64_intdigest(f"{name}\0{value}".encode()))


def sync_folder(folder: Path) -> None:
    """Make a new name in the folder survive the end of the machine."""
    number = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
