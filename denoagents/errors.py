"""Every error of denoagents: whose fault it was, and what can be done.

Rules:
    A class has a stable `code`, by which it crosses processes; the other side raises that class.
    A class takes the facts as arguments and builds its own sentence: value, rule, remedy.
    `RejectedError` and its kin mean "certainly not run"; `OutcomeUnknownError` and timeouts mean
    "may have run".
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the known name most like `name`, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {matches[0]!r}?" if matches else ""


class DenoagentsError(Exception):
    """The root of all errors that denoagents raises."""

    code: ClassVar[str] = "error"
    by_code: ClassVar[dict[str, type[DenoagentsError]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        known = DenoagentsError.by_code.setdefault(cls.code, cls)
        if known is not cls and cls.code != "error":
            inherited = "code" not in cls.__dict__
            if not inherited:
                raise TypeError(f"error code {cls.code!r} belongs to {known.__name__} already")

    def facts(self) -> dict[str, Any]:
        """What travels beside code and sentence: plain values only."""
        return {}


# --- the caller's mistake ---------------------------------------------------------------------


class UsageError(DenoagentsError):
    """The call itself is wrong; trying again cannot help."""

    code = "usage"


class DeclarationError(UsageError):
    """An actor class is declared in a way that cannot work; raised when the class is made."""

    code = "declaration"


class UnknownActorTypeError(UsageError):
    """No worker hosts actors of this type."""

    code = "unknown_actor_type"


class UnknownMethodError(UsageError, AttributeError):
    """The actor type has no such public method."""

    code = "unknown_method"


class ArgumentsError(UsageError):
    """The arguments do not fit the method."""

    code = "arguments"


class EncodingError(UsageError):
    """A value cannot be carried by a message."""

    code = "encoding"


class PayloadTooLargeError(UsageError):
    """A payload is over the limit; it was refused before a byte left."""

    code = "payload_too_large"

    def __init__(
        self, size_bytes: int = 0, limit_bytes: int = 0, key: str = "link.max_payload"
    ) -> None:
        self.size_bytes, self.limit_bytes, self.key = size_bytes, limit_bytes, key
        super().__init__(
            f"the payload has {size_bytes} bytes, the limit is {limit_bytes}; "
            f"send it in parts, as a stream, or raise the configuration key {key!r}"
        )

    def facts(self) -> dict[str, Any]:
        return {"size_bytes": self.size_bytes, "limit_bytes": self.limit_bytes, "key": self.key}


class NotFoundError(UsageError):
    """There is nothing of that name."""

    code = "not_found"


class ConfigurationError(UsageError):
    """A configuration value or key is wrong."""

    code = "configuration"


class CallCycleError(UsageError):
    """The call came back to an actor that waits for it; the message names the path."""

    code = "call_cycle"


# --- the other side ---------------------------------------------------------------------------


class RemoteError(DenoagentsError):
    """The actor's method raised. `type_name` names the exception, `remote_traceback` is text."""

    code = "remote"

    def __init__(self, message: str = "", type_name: str = "", remote_traceback: str = "") -> None:
        self.type_name, self.remote_traceback = type_name, remote_traceback
        super().__init__(message)

    def facts(self) -> dict[str, Any]:
        return {"type_name": self.type_name, "remote_traceback": self.remote_traceback}


class ReplyEncodingError(RemoteError):
    """The method returned a value that cannot be carried, or that does not fit its annotation."""

    code = "reply_encoding"


# --- certainly not run ------------------------------------------------------------------------


class RejectedError(DenoagentsError):
    """The request was certainly not run."""

    code = "rejected"


class Overloaded(RejectedError):  # a flow signal, not a fault
    """A bound was reached; `retry_after_s` says when trying again makes sense."""

    code = "overloaded"

    def __init__(self, message: str = "overloaded", retry_after_s: float = 0.0) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)

    def facts(self) -> dict[str, Any]:
        return {"retry_after_s": self.retry_after_s}


class ExpiredError(RejectedError, TimeoutError):
    """The deadline passed while the request waited; it was never started."""

    code = "expired"


class ActorStoppedError(RejectedError):
    """The actor has stopped (or is being stopped) and takes no messages."""

    code = "actor_stopped"


class NoWorkerError(RejectedError):
    """No worker of the group is there to host the actor."""

    code = "no_worker"


class NodeStoppedError(RejectedError):
    """This node has stopped, or is stopping."""

    code = "node_stopped"


class EvictedError(RejectedError):
    """The fleet declared this node dead; it starts nothing more under this incarnation."""

    code = "evicted"


# --- may have run -----------------------------------------------------------------------------


class RequestTimeoutError(DenoagentsError, TimeoutError):
    """No reply within the deadline; whether the method ran is unknown."""

    code = "timeout"


class OutcomeUnknownError(DenoagentsError):
    """The owner ended before it answered; whether the method ran is unknown."""

    code = "outcome_unknown"


class QuarantinedError(OutcomeUnknownError):
    """Processes ended while they ran the message, too often; it is kept, and not tried again."""

    code = "quarantined"


class CreditTimeoutError(RequestTimeoutError):
    """A stream's reader gave no credit for too long; the writer was cancelled."""

    code = "credit_timeout"


# --- between processes ------------------------------------------------------------------------


class LinkError(DenoagentsError):
    """Something about a link between two nodes."""

    code = "link"


class LinkLost(LinkError):  # a flow signal, not a fault
    """The link ended and will not come back: the other process is over."""

    code = "link_lost"


class ProtocolError(LinkError):
    """Bytes that no denoagents of this version would send."""

    code = "protocol"


class HandshakeError(LinkError):
    """The two nodes do not fit together (version, cluster, features); both ends say why."""

    code = "handshake"


class KeyRefusedError(HandshakeError):
    """The other node does not let this key in, or not under this name; it says why."""

    code = "key_refused"


class UnreachableError(LinkError):
    """Nobody answers at the address."""

    code = "unreachable"


class NotAllowedError(DenoagentsError):
    """The key that was used is good for something else; `needs` names the role it takes."""

    code = "not_allowed"

    def __init__(
        self, name: str = "", role: str = "", what: str = "do this", needs: str = ""
    ) -> None:
        self.name, self.role, self.needs = name, role, needs
        super().__init__(
            f"the key {name!r} has the role {role}, which may not {what}; "
            f"that takes the role {needs}"
        )

    def facts(self) -> dict[str, Any]:
        return {"name": self.name, "role": self.role, "needs": self.needs}


class JoinRefusedError(DenoagentsError):
    """The broker does not admit this node; the message says why and what to do."""

    code = "join_refused"


class StoreError(DenoagentsError):
    """A store could not keep or read what it was asked to (full disk, I/O error, corruption)."""

    code = "store"


class StoreFullError(StoreError):
    """The disk takes nothing more (full, or an I/O error); nothing of the turn was kept."""

    code = "store_full"


class FencedError(StoreError):
    """Another process owns the actor now; what this one wanted to keep was refused."""

    code = "fenced"


class CorruptError(StoreError):
    """Bytes on the disk are not what was written; they are reported and never served."""

    code = "corrupt"


class SchemaError(StoreError):
    """The kept state was written by a newer version of the class than this one."""

    code = "schema"


def to_wire(error: BaseException, traceback_text: str = "") -> dict[str, Any]:
    """Plain values for any exception; foreign ones become `RemoteError`."""
    if isinstance(error, DenoagentsError):
        return {"code": error.code, "message": str(error), "facts": error.facts()}
    facts = {"type_name": type(error).__name__, "remote_traceback": traceback_text}
    return {"code": "remote", "message": str(error) or type(error).__name__, "facts": facts}


def from_wire(fields: dict[str, Any]) -> DenoagentsError:
    """The typed error for what `to_wire` made; unknown codes become `RemoteError`."""
    cls = DenoagentsError.by_code.get(str(fields.get("code")), RemoteError)
    facts = fields.get("facts")
    error = cls.__new__(cls)
    Exception.__init__(error, str(fields.get("message", "")))
    try:
        error.__dict__.update(cls().__dict__)  # gives every fact its default
    except Exception:  # a user's class that cannot be made without its arguments
        defaults = None
    else:
        defaults = dict(error.__dict__)
    if isinstance(facts, dict):
        for name, value in facts.items():
            if defaults is None or (name in defaults and _fits(value, defaults[name])):
                error.__dict__[str(name)] = value
    return error


def _fits(value: object, default: object) -> bool:
    kind = (int, float) if isinstance(default, float) else type(default)
    return isinstance(value, kind)
