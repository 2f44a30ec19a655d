"""Which keys a process uses."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SecuritySettings:
    """Where the keys are; without a folder nothing is encrypted, and only the loopback served."""

    folder: str = ""
    """The keys folder; "": no keys."""
    key: str = ""
    """The name of this process's key; "": by its role and its node's name."""
    token: str = field(default="", repr=False)
    """An invitation, in the place of keys: for the one request that uses it."""
    roles: tuple[str, ...] = ("client", "operator")
    """Of a node that hosts nothing: the roles of which it takes the key, best first."""
