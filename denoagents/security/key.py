"""A node's key pair, and the file that keeps it.

Rules: keys are lower-case hex outside of sockets, so that they can be typed in any shell. A secret
is in a file that only its owner can read, or nowhere; `repr` does not show it.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, cast, get_args

from denoagents._native.gate import make_keys, public_of
from denoagents.errors import ConfigurationError

Role = Literal["worker", "client", "operator", "broker", "invited"]
"""What a key is good for; `invited`: to enrol another one, once."""

ROLES: Final = tuple(role for role in get_args(Role) if role != "invited")
SUFFIX: Final = ".key"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Key:
    """One node's name, role and key pair."""

    name: str
    role: Role
    public: str
    secret: str = field(repr=False)

    @classmethod
    def make(cls, name: str, role: Role) -> Key:
        """A new one."""
        public, secret = make_keys()
        return cls(check_name(name), role, public.hex(), secret.hex())

    def write(self, folder: Path) -> Path:
        """Put it into `folder`; an existing key is never overwritten."""
        path = folder / (self.name + SUFFIX)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise ConfigurationError(
                f"{path} exists already; a key is not overwritten: "
                "choose another name, or remove that file"
            ) from None
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(
                "# A denoagents key. Keep it secret: who has this file is this node.\n"
                f'name = "{self.name}"\nrole = "{self.role}"\n'
                f'public = "{self.public}"\nsecret = "{self.secret}"\n'
            )
            file.flush()
            os.fsync(file.fileno())
        return path

    @classmethod
    def read(cls, path: Path) -> Key:
        """The key in `path`; one that others could read is refused."""
        try:
            with path.open("rb") as file:
                _check_private(path, os.fstat(file.fileno()))
                fields = tomllib.load(file)
        except OSError as error:
            raise ConfigurationError(f"the key {path} cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            raise ConfigurationError(_damaged(path)) from None
        name, role, public, secret = (
            fields.get(word) for word in ("name", "role", "public", "secret")
        )
        if role not in ROLES or not is_key(public) or not is_key(secret):
            raise ConfigurationError(_damaged(path))
        if public_of(bytes.fromhex(str(secret))).hex() != public:
            raise ConfigurationError(_damaged(path))
        return cls(check_name(str(name)), cast("Role", role), str(public), str(secret))


def check_name(name: str) -> str:
    """A name that can be a file's, too."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot name a key: use letters, digits, dot, dash and underscore"
        )
    return name


def is_key(text: object) -> bool:
    """Whether it is 32 bytes in hex."""
    return isinstance(text, str) and _KEY.fullmatch(text) is not None


def _check_private(path: Path, status: os.stat_result) -> None:
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ConfigurationError(
            f"others can read {path} (mode {stat.S_IMODE(status.st_mode):04o}); if nobody has, "
            f"type: chmod 600 {path} — else revoke it and make another one"
        )
    if status.st_uid not in {os.geteuid(), 0}:
        raise ConfigurationError(f"{path} belongs to another user (uid {status.st_uid})")


def _damaged(path: Path) -> str:
    return f"{path} is no whole key file; remove it and make one: denoagents keys new NAME"
