"""What each role may do. Without keys nobody asks here: everybody may do everything."""

from __future__ import annotations

from typing import Final

from denoagents.errors import NotAllowedError
from denoagents.security.allow_list import Entry

LOOKING: Final = frozenset({"status", "get", "describe", "types"})
"""Requests to the broker that change nothing: for all roles."""
ENROL: Final = "enrol"

_JOINS: Final = {
    "worker": {"worker"},
    "client": {"client", "operator", "worker", "invited"},
    "broker": {"broker"},
}
"""As what a node connects, to the roles of the keys with which it may."""


def check_verb(entry: Entry | None, verb: str) -> None:
    """Raise unless the key may ask the broker for this."""
    if entry is None:
        raise NotAllowedError("", "none", f"ask for {verb!r}", "operator")
    if entry.role == "invited":
        if verb != ENROL:
            raise NotAllowedError(entry.name, entry.role, f"ask for {verb!r}", "invited")
    elif verb == ENROL:
        raise NotAllowedError(entry.name, entry.role, "enrol", "invited")
    elif verb not in LOOKING and entry.role != "operator":
        raise NotAllowedError(entry.name, entry.role, f"ask for {verb!r}", "operator")


def check_serves(entry: Entry | None, what: str = "host actors") -> None:
    """Raise unless the key is a worker's."""
    if entry is None or entry.role != "worker":
        name, role = ("", "none") if entry is None else (entry.name, entry.role)
        raise NotAllowedError(name, role, what, "worker")


def may_connect_as(entry: Entry, role: str) -> bool:
    """Whether a node with this key may call itself `role`."""
    return entry.role in _JOINS.get(role, ())
