"""What a link asks of keys; `security.keyring.Keyring` is one."""

from __future__ import annotations

from typing import Protocol


class Credentials(Protocol):
    """Who this process is, and whom it lets in; keys of others are hex."""

    @property
    def public(self) -> bytes:
        """Its own public key, 32 bytes."""

    @property
    def secret(self) -> bytes:
        """Its own secret key."""

    def server_key(self, endpoint: str) -> bytes | None:
        """The public key that must answer at `endpoint`; None when nobody is known there."""

    def is_allowed(self, user: str | None) -> bool:
        """Whether this key is let in now."""

    def refusal(self, user: str | None, name: str, role: str, incarnation: int) -> str:
        """Why this key may not say such a hello; "" if it may."""

    def may_beat(self, user: str | None, incarnation: int) -> bool:
        """Whether this key may send heartbeats of `incarnation`."""

    def barred(self, endpoint: str, reason: str, is_final: bool) -> None:
        """A dialed connection was not let in; `is_final` when its acceptor said so."""
