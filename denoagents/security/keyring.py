"""What one process knows of keys: its own, the allow-list in force, and whose endpoint is whose.

Rules: it is asked on the loop. What is not known is refused. A list that is replaced is in force at
once, for the next packet, too; whoever replaces it ends what stands (`Mesh.check_keys`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from denoagents.security.allow_list import AllowList, Entry
from denoagents.security.key import Key
from denoagents.security.roles import may_connect_as


class Keyring:
    """The keys of one node."""

    def __init__(self, key: Key, allowed: AllowList, broker: str = "") -> None:
        self.key = key
        self.public, self.secret = bytes.fromhex(key.public), bytes.fromhex(key.secret)
        self.broker = broker
        """The broker's public key; "" for the broker itself."""
        self.name_of: Callable[[int], str] = lambda _: ""
        """The name that the fleet knows an incarnation by, "" if none."""
        self.on_barred: Callable[[str, str, bool], None] = lambda *_: None
        """Told of endpoint, reason, and whether it is final, when a connection is not let in."""
        self._allowed = allowed
        self._members: list[tuple[str, str]] = []
        self._servers: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Keyring {self.key.name} {self.key.role} {self._allowed!r}>"

    @property
    def allowed(self) -> AllowList:
        """The list in force."""
        return self._allowed

    @allowed.setter
    def allowed(self, allowed: AllowList) -> None:
        self._allowed = allowed
        self.know_servers(self._members)

    def entry(self, user: str | None) -> Entry | None:
        """Of a key that is let in now."""
        found = self._allowed.get(user) if user else None
        if found is not None and 0 < found.expires_s <= time.time():
            return None
        return found

    def is_allowed(self, user: str | None) -> bool:
        """Whether this key is let in."""
        return self.entry(user) is not None

    @property
    def beat_keys(self) -> tuple[bytes, bytes, bytes]:
        """Own public, own secret, the broker's public: for heartbeats."""
        return (self.public, self.secret, bytes.fromhex(self.broker))

    def server_key(self, endpoint: str) -> bytes | None:
        """The public key that must answer at `endpoint`; None when nobody is known there."""
        known = self._servers.get(endpoint, self.broker)
        return bytes.fromhex(known) if known else None

    def know_servers(self, members: Iterable[tuple[str, str]]) -> None:
        """Workers' (name, endpoint), from a placement version."""
        self._members = list(members)
        found = {}
        for name, endpoint in self._members:
            owner = self._allowed.owner_of(name)
            found[endpoint] = owner.public if owner is not None else "00" * 32
        self._servers = found

    def refusal(self, user: str | None, name: str, role: str, incarnation: int) -> str:
        """Why the node with this key may not say this hello; "" if it may."""
        entry = self.entry(user)
        if entry is None:
            return "its key is not on the allow-list"
        if not may_connect_as(entry, role):
            return f"the key {entry.name!r} has the role {entry.role}; it cannot be a {role}"
        reason = self._name_refusal(entry, name, role)
        if reason:
            return reason
        known = self.name_of(incarnation)
        if known and known != name:
            return f"the incarnation belongs to {known!r}, not to {name!r}"
        return ""

    def may_beat(self, user: str | None, incarnation: int) -> bool:
        """Whether a heartbeat of this incarnation may come with this key."""
        entry = self.entry(user)
        if entry is None:
            return False
        known = self.name_of(incarnation)
        return not known or self._name_refusal(entry, known, "") == ""

    def barred(self, endpoint: str, reason: str, is_final: bool) -> None:
        """A connection of this process was not let in."""
        self.on_barred(endpoint, reason, is_final)

    def _name_refusal(self, entry: Entry, name: str, role: str) -> str:
        owner = self._allowed.owner_of(name)
        serves = {"worker", "broker"}
        if owner is not None and owner.public != entry.public and serves & {role, owner.role}:
            return f"the name {name!r} belongs to another key than {entry.name!r}"
        if owner is None and role in serves:
            return (
                f"the key {entry.name!r} may be the node {entry.name!r} or "
                f"{entry.name + '-1'!r}, not {name!r}"
            )
        return ""
