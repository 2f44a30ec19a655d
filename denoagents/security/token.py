"""An invitation as one word: where the broker is, its public key, and a key pair for one use.

Rules: the secret in it is that of a listed key, so an unlisted one never gets a word in; it enrols
one key, within its time. The word is for a shell: letters, digits, dash and underscore.
"""

from __future__ import annotations

import base64
import binascii
import time
from dataclasses import dataclass, field
from typing import Final

import msgspec

from denoagents._native.gate import public_of
from denoagents.errors import ConfigurationError
from denoagents.security.allow_list import AllowList, Entry
from denoagents.security.key import Key, Role, is_key
from denoagents.security.keyring import Keyring

PREFIX: Final = "dna1-"
_MAX_LENGTH: Final = 2000


@dataclass(frozen=True, slots=True)
class Token:
    """What an invited process needs."""

    broker: str
    broker_public: str
    name: str
    secret: str = field(repr=False)
    grants: Role = "worker"
    expires_s: float = 0.0

    def encode(self) -> str:
        """The word."""
        fields = (
            self.broker,
            bytes.fromhex(self.broker_public),
            self.name,
            bytes.fromhex(self.secret),
            self.grants,
            self.expires_s,
        )
        return PREFIX + base64.urlsafe_b64encode(msgspec.msgpack.encode(fields)).decode().rstrip(
            "="
        )

    @classmethod
    def decode(cls, word: str) -> Token:
        """The token in a word; `ConfigurationError` when it is none, or its time is over."""
        try:
            if not word.startswith(PREFIX) or len(word) > _MAX_LENGTH:
                raise ValueError(word[:5])
            text = word.removeprefix(PREFIX)
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            broker, public, name, secret, grants, expires_s = msgspec.msgpack.decode(
                raw, type=tuple[str, bytes, str, bytes, Role, float]
            )
        except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
            raise ConfigurationError(
                "that is no whole token; copy all of what `denoagents keys invite` printed"
            ) from None
        token = cls(broker, public.hex(), name, secret.hex(), grants, expires_s)
        if not is_key(token.broker_public) or not is_key(token.secret):
            raise ConfigurationError("that is no whole token: its keys are damaged")
        if 0 < expires_s <= time.time():
            raise ConfigurationError(
                "the token has expired; ask for another: denoagents keys invite"
            )
        return token

    def keyring(self) -> Keyring:
        """With which the invited process may ask the broker to enrol it."""
        secret = bytes.fromhex(self.secret)
        key = Key(self.name, "invited", public_of(secret).hex(), self.secret)
        broker = Entry(self.broker_public, "broker", "broker")
        return Keyring(key, AllowList([broker]), self.broker_public)
