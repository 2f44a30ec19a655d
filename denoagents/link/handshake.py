"""The first words on a connection: who dials, which session goes on, and why not.

Rules: HELLO names the session; the routing id never does. REFUSED is readable by every wire
version, and final for the link that it answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

import msgspec

from denoagents.envelope import WIRE_VERSION
from denoagents.errors import (
    EvictedError,
    HandshakeError,
    KeyRefusedError,
    LinkError,
    LinkLost,
    ProtocolError,
)

FEATURES: Final = 0
"""Bits of what this side can do beyond wire version 1; both sides use the common ones."""
MAX_HANDSHAKE_BYTES: Final = 4096
"""A longer handshake body is junk."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is."""

    name: str
    role: str
    incarnation: int
    cluster: str = "default"


@dataclass(slots=True)
class Peer:
    """Who is at the other end; incarnation 0 is not known yet."""

    name: str = ""
    role: str = ""
    incarnation: int = 0
    endpoint: str = ""


Number = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Amount = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Hello(msgspec.Struct, frozen=True):
    """What a dialer says first.

    `accepted`: the acceptor's batches that it has; `limit_bytes`: the longest body that it takes;
    `expected`: the only incarnation it wants, 0 = any; `welcomed_by`: the one that knows the
    session, 0 = none yet.
    """

    wire: Amount
    cluster: str
    name: str
    role: str
    incarnation: Number
    session: Number
    accepted: Amount
    limit_bytes: Number
    expected: Amount = 0
    welcomed_by: Amount = 0
    features: Amount = 0
    compression: list[str] = msgspec.field(default_factory=list)
    endpoint: str = ""


class Welcome(msgspec.Struct, frozen=True):
    """The acceptor's answer: the session stands, and this much of it is accepted."""

    wire: Amount
    cluster: str
    name: str
    role: str
    incarnation: Number
    session: Number
    accepted: Amount
    limit_bytes: Number
    features: Amount = 0
    compression: str = "none"


class Refused(msgspec.Struct, frozen=True):
    """The acceptor's other answer.

    Codes: version, cluster, incarnation, session, full, evicted, protocol, key.
    """

    code: str
    reason: str


Words = TypeVar("Words", Hello, Welcome, Refused)

_encode = msgspec.msgpack.Encoder().encode


def encode(words: Hello | Welcome | Refused) -> bytes:
    """The body of a handshake packet."""
    return _encode(words)


def decode(kind: type[Words], body: bytes | memoryview) -> Words:
    """The words in `body`; anything else is a `ProtocolError`."""
    if len(body) > MAX_HANDSHAKE_BYTES:
        raise ProtocolError(f"a handshake of {len(body)} bytes")
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:  # bad UTF-8 is a ValueError
        raise ProtocolError(f"not a {kind.__name__}: {error}") from None


def other_version(wire: int, identity: Identity) -> Refused:
    """What a caller of wire version `wire`, whose words nobody here understands, is told."""
    return Refused(
        "version",
        f"{identity.name} speaks wire version {WIRE_VERSION}, the caller speaks {wire}; "
        "install the same release of denoagents on both",
    )


def refusal(hello: Hello, identity: Identity) -> Refused | None:
    """Why this node cannot talk to the one that says `hello`; None if it can."""
    if hello.cluster != identity.cluster:
        return Refused(
            "cluster",
            f"{identity.name} belongs to cluster {identity.cluster!r}, the caller to "
            f"{hello.cluster!r}",
        )
    if hello.expected not in (0, identity.incarnation):
        return Refused("incarnation", f"{identity.name} is another incarnation: it was restarted")
    if hello.welcomed_by not in (0, identity.incarnation):
        return Refused("incarnation", f"{identity.name} was restarted and knows no earlier session")
    return None


def error_of(refused: Refused) -> LinkError | EvictedError:
    """The typed error for a refusal."""
    if refused.code == "evicted":
        return EvictedError(refused.reason)
    if refused.code in ("incarnation", "session"):
        return LinkLost(refused.reason)
    if refused.code == "protocol":
        return ProtocolError(refused.reason)
    if refused.code == "key":
        return KeyRefusedError(refused.reason)
    return HandshakeError(refused.reason)
