"""An actor's address: its type, its key, the names of the children below it, and its slot.

Rules:
    The text is canonical: of a part, `%`, `/` and control characters are percent-escaped.
    Children live in their root's slot, so that they move together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from xxhash import xxh3_64_intdigest

from denoagents.errors import UsageError

SLOTS = 4096
"""How many slots the keys of a group are hashed to (plan 2.9)."""

MAX_ADDRESS_BYTES = 1024
"""Longest text of an address in UTF-8; every node keeps names in bounded tables."""

_ESCAPED = re.compile(r"[%/\x00-\x1f\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Address:
    """Names one actor, wherever it lives."""

    type: str
    key: str
    path: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for part in (self.type, self.key, *self.path):
            if not isinstance(part, str):
                raise UsageError(f"a part of an address must be a str, not {type_name_of(part)}")
            if not part:
                raise UsageError(f"the address {self.text!r} has an empty part; write Type/key")
        size = _size_bytes(self.text)
        if size > MAX_ADDRESS_BYTES:
            start = f"{self.text[:40]}…"
            raise UsageError(
                f"the address {start!r} has {size} bytes, the limit is {MAX_ADDRESS_BYTES}; "
                "use a shorter key, such as a digest of it"
            )

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address that `text` names; raises `UsageError` for text that names none."""
        if len(text) > 3 * MAX_ADDRESS_BYTES:  # three characters an escaped byte, at most
            raise UsageError(f"the address {text[:40] + '…'!r} is too long")
        if _BAD_ESCAPE.search(text):
            raise UsageError(f"the address {text[:80]!r} has a % without two hex digits; write %25")
        parts = text.split("/")
        if len(parts) < 2:
            raise UsageError(f"the address {text[:80]!r} has no key; write Type/key")
        try:
            kind, key, *path = (unquote(part, errors="strict") for part in parts)
        except UnicodeDecodeError:
            raise UsageError(f"the escapes in the address {text[:80]!r} are not UTF-8") from None
        return cls(kind, key, tuple(path))

    @property
    def text(self) -> str:
        """The canonical text, `Type/key/child`."""
        return "/".join(map(escape, (self.type, self.key, *self.path)))

    @property
    def slot(self) -> int:
        """The slot of the actor and of all its children."""
        return slot_of(self.type, self.key)

    @property
    def root(self) -> Address:
        """The address of the placed actor at the top."""
        return Address(self.type, self.key) if self.path else self

    @property
    def parent(self) -> Address | None:
        """The address one level up; None for a root."""
        return Address(self.type, self.key, self.path[:-1]) if self.path else None

    def child(self, name: str) -> Address:
        """The address of the child called `name`."""
        return Address(self.type, self.key, (*self.path, name))

    def __str__(self) -> str:
        return self.text


def escape(part: str) -> str:
    """One part of an address as it stands in the text."""
    return _ESCAPED.sub(lambda match: f"%{ord(match[0]):02X}", part)


def slot_of(type: str, key: str) -> int:  # noqa: A002 - the word of the address
    """The slot of the root actor (type, key); the same on every node and platform."""
    return xxh3_64_intdigest(f"{escape(type)}/{escape(key)}".encode()) % SLOTS


def slot_of_text(type_text: str, key_text: str) -> int:
    """The same for parts as they stand in an address's text, escaped already."""
    return xxh3_64_intdigest(f"{type_text}/{key_text}".encode()) % SLOTS


def type_name_of(value: object) -> str:
    """How an error names the type of a value."""
    return type(value).__name__


def _size_bytes(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise UsageError(f"the address {text[:80]!r} is not valid Unicode text") from None
