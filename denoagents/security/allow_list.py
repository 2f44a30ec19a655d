"""The allow-list: public key to name and role. What is not on it, is not let in.

Rules: pure and immutable. A key may use its own name, and names that go on after it with a dash
(`gpu` may be `gpu-1`), unless that is the name of a longer entry: names belong to keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

import msgspec

from denoagents.security.key import Role, is_key

MAX_ENTRIES: Final = 65536
KeyText = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
NameText = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One key that is let in."""

    public: KeyText
    name: NameText
    role: Role
    expires_s: float = 0.0
    """Of an invitation: the time of the wall clock at which it ends; 0: never."""
    grants: Role = "worker"
    """Of an invitation: the role of the key that it enrols."""


class AllowList:
    """Who is let in, and under which names."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = {one.public: one for one in entries if is_key(one.public)}
        self._named = {one.name: one for one in self._entries.values()}

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<AllowList {len(self)} keys>"

    @property
    def entries(self) -> list[Entry]:
        """By name."""
        return sorted(self._entries.values(), key=lambda one: one.name)

    def get(self, public: str) -> Entry | None:
        """The entry of a key."""
        return self._entries.get(public)

    def named(self, name: str) -> Entry | None:
        """The entry of exactly this name."""
        return self._named.get(name)

    def owner_of(self, name: str) -> Entry | None:
        """Whose name this is: the longest entry that it is, or goes on after with a dash."""
        while name:
            found = self._named.get(name)
            if found is not None and found.role != "invited":
                return found
            name = name.rpartition("-")[0]
        return None

    @property
    def broker(self) -> Entry | None:
        """The broker's key, if there is one."""
        return next((one for one in self._entries.values() if one.role == "broker"), None)

    def with_entry(self, entry: Entry) -> AllowList:
        """With one more; it takes the place of what has its name or key."""
        rest = [
            one
            for one in self._entries.values()
            if one.name != entry.name and one.public != entry.public
        ]
        return AllowList([*rest, entry])

    def without(self, name: str) -> AllowList:
        """Without the key of this name."""
        return AllowList(one for one in self._entries.values() if one.name != name)

    def published(self) -> AllowList:
        """What other nodes are told: no invitations."""
        return AllowList(one for one in self._entries.values() if one.role != "invited")
