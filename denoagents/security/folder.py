"""The keys folder: a file for each key of this machine, and the allow-list.

Rules: the list is replaced whole (written beside, flushed, renamed), under a lock between
processes, so that a reader sees the old one or the new one. Who can write the folder is the fleet's
owner: it is private.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from denoagents.errors import ConfigurationError, nearest
from denoagents.security.allow_list import MAX_ENTRIES, AllowList, Entry
from denoagents.security.key import SUFFIX, Key
from denoagents.security.keyring import Keyring
from denoagents.security.settings import SecuritySettings
from denoagents.security.token import Token

LIST_FILE: Final = "allowed.json"
LOCK_FILE: Final = ".lock"
Stamp = tuple[int, int, int]


class Listed(msgspec.Struct, frozen=True):
    """The allow-list as it is written."""

    keys: list[Entry]
    revoked: list[Entry] = []


class KeysFolder:
    """Reads and changes one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"<KeysFolder {self.path}>"

    # --- keys of this machine -----------------------------------------------------------------

    def names(self) -> list[str]:
        """Of the keys whose secrets are here."""
        return sorted(one.name.removesuffix(SUFFIX) for one in self.path.glob("*" + SUFFIX))

    @property
    def has_broker(self) -> bool:
        """Whether this is the broker's folder: its list is the fleet's."""
        broker = self.allowed().broker
        return broker is not None and broker.name in self.names()

    def key(self, name: str) -> Key:
        """The key of this name."""
        if name not in self.names():
            raise ConfigurationError(
                f"{self.path} has no key {name!r}.{nearest(name, self.names())} "
                f"Make it: denoagents keys new {name} --role ROLE --keys {self.path}"
            )
        return Key.read(self.path / (name + SUFFIX))

    def choose(self, roles: Sequence[str], node: str = "") -> Key:
        """The key for a node: that of its name, else the only one of the first role with any."""
        keys = [self.key(name) for name in self.names()]
        fits = [key for key in keys if key.role in roles]
        part = node
        while part:
            for key in fits:
                if key.name == part:
                    return key
            part = part.rpartition("-")[0]
        for role in roles:
            of_role = [key for key in fits if key.role == role]
            if len(of_role) == 1:
                return of_role[0]
            if of_role:
                names = ", ".join(key.name for key in of_role)
                raise ConfigurationError(
                    f"{self.path} has several {role} keys ({names}); "
                    "choose one: --set security.key=NAME"
                )
        raise ConfigurationError(
            f"{self.path} has no key of the role {' or '.join(roles)}. "
            f"Make it: denoagents keys new NAME --role {roles[0]} --keys {self.path}"
        )

    # --- the allow-list -----------------------------------------------------------------------

    def stamp(self) -> Stamp:
        """Changes when the list does."""
        try:
            status = (self.path / LIST_FILE).stat()
        except OSError:
            return (0, 0, 0)
        return (status.st_ino, status.st_mtime_ns, status.st_size)

    def listed(self) -> Listed:
        """Everything on the list."""
        path = self.path / LIST_FILE
        try:
            with path.open("rb") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o022:
                    raise ConfigurationError(
                        f"others can write {path}; check it, then type: chmod 600 {path}"
                    )
                return msgspec.json.decode(file.read(), type=Listed)
        except FileNotFoundError:
            return Listed([])
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
        except msgspec.MsgspecError as error:
            raise ConfigurationError(f"{path} is damaged ({error}); restore it") from None

    def allowed(self) -> AllowList:
        """The allow-list."""
        return AllowList(self.listed().keys)

    def change(self, decide: Callable[[AllowList], AllowList]) -> AllowList:
        """Put another list in the place of this one; what is taken out is kept as revoked."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.path / LOCK_FILE).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self.listed()
            after = decide(AllowList(before.keys))
            if len(after) > MAX_ENTRIES:
                raise ConfigurationError(f"an allow-list has at most {MAX_ENTRIES} keys")
            gone = [
                one for one in before.keys if not after.get(one.public) and one.role != "invited"
            ]
            revoked = [one for one in (*before.revoked, *gone) if not after.get(one.public)]
            self._replace(msgspec.json.encode(Listed(after.entries, revoked[-1000:])))
        return after

    def _replace(self, text: bytes) -> None:
        descriptor, name = tempfile.mkstemp(dir=self.path, prefix=LIST_FILE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.format(text, indent=1))
                file.flush()
                os.fsync(file.fileno())
            Path(name).rename(self.path / LIST_FILE)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def open_keyring(settings: SecuritySettings, role: str, node: str = "") -> Keyring | None:
    """The keys of a node of this role; None where no folder is set.

    Raises: `ConfigurationError` naming what is missing, and the command that makes it.
    """
    if settings.token:
        return Token.decode(settings.token).keyring()
    if not settings.folder or role == "embedded":
        return None
    folder = KeysFolder(Path(settings.folder))
    if not folder.path.is_dir():
        raise ConfigurationError(
            f"there is no keys folder {folder.path}; make the first key: "
            f"denoagents keys new broker --role broker --keys {folder.path}"
        )
    roles = settings.roles if role == "client" else (role,)
    key = folder.key(settings.key) if settings.key else folder.choose(roles, node)
    if key.role not in roles:
        raise ConfigurationError(
            f"the key {key.name!r} has the role {key.role}; this takes {' or '.join(roles)}"
        )
    allowed = folder.allowed()
    if role == "broker":
        return Keyring(key, allowed)
    broker = allowed.broker
    if broker is None:
        raise ConfigurationError(
            f"{folder.path} does not say which key the broker has; type: "
            f"denoagents keys allow broker PUBLIC --role broker --keys {folder.path}"
        )
    return Keyring(key, AllowList([broker]), broker.public)
