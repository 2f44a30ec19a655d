"""A message on its way to a mailbox, where its outcome goes, and the books that are kept about it."""

cimport cython
from libc.stdint cimport int64_t, uint8_t

from denoagents.errors import ProtocolError


cdef class ReplyTo:
    cpdef object resolve(self, object value):
        """The method returned `value`."""
        raise NotImplementedError

    cpdef object reject(self, object error):
        """The request ended with `error`."""
        raise NotImplementedError

    cpdef object resolve_payload(self, object payload):
        """The method returned; `payload` is its encoded value."""
        misfit(self, "a value for a stream")

    cpdef object expire(self):
        """The deadline passed."""
        raise NotImplementedError

    cpdef object item_payload(self, object payload):
        """The next item of a stream."""
        misfit(self, "an item for a call that wants one value")

    cpdef object end(self):
        """The stream ended well."""
        misfit(self, "the end of a stream for a call that wants one value")

    cpdef object handled(self):
        """A reliable message without answer was handled."""
        misfit(self, "the second acknowledgement of a message that wants an answer")

    cpdef object owner_ended(self, bint is_death):
        """Who had the reliable message has ended, with a crash or without."""
        raise NotImplementedError

    cpdef object repeat(self, object answer):
        """The reliable message was handled before, with this answer (of `Windows`)."""
        raise NotImplementedError


cdef object misfit(ReplyTo reply, str what):
    """The other process answers what was not asked: the asker is told, and the link ends."""
    error = ProtocolError(f"the answer is {what}")
    reply.reject(error)
    raise error


@cython.freelist(512)
cdef class Envelope:
    """One message; made by the sender's side of a local call, or by the decoder of a link."""

    def __init__(
        self, method, arguments, payload, int64_t deadline_ns=0, uint8_t priority=1, uint8_t flags=0,
        ReplyTo reply=None, caller=None, chain=None, trace=None,
    ):
        self.method = method
        self.arguments = arguments
        self.payload = payload
        self.deadline_ns = deadline_ns
        self.priority = priority
        self.flags = flags
        self.reply = reply
        self.caller = caller
        self.chain = chain
        self.trace = trace

    @property
    def identity(self):
        """(stream, number) of a reliable message, else None."""
        if self.reply is None or not self.reply.sequence:
            return None
        return self.reply.stream, self.reply.sequence

    @property
    def floor(self) -> int:
        """All numbers of its stream below this one are settled."""
        return 0 if self.reply is None else self.reply.floor

    def __repr__(self):
        return f"<Envelope {self.method.name} priority={self.priority}>"


cdef class Accounting:
    def sender(self) -> dict:
        """The sender's terms and `off`, by how much the identity fails (0 when all is well)."""
        terms = {
            "sent": self.sent, "acknowledged": self.acknowledged, "retained": self.retained,
            "refused": self.sender_refused, "expired": self.sender_expired, "unknown": self.unknown,
            "resent": self.resent,
        }
        terms["off"] = self.sent - (
            self.acknowledged + self.retained + self.sender_refused + self.sender_expired + self.unknown + self.resent
        )
        return terms

    def reliable(self) -> dict:
        """What became of the reliable messages sent from here, each once, and `off`."""
        terms = {
            "sent": self.reliable_sent, "handled": self.reliable_handled, "refused": self.reliable_refused,
            "expired": self.reliable_expired, "quarantined": self.reliable_quarantined,
            "withdrawn": self.reliable_withdrawn, "outstanding": self.reliable_outstanding,
        }
        terms["off"] = self.reliable_sent - (
            self.reliable_handled + self.reliable_refused + self.reliable_expired
            + self.reliable_quarantined + self.reliable_withdrawn + self.reliable_outstanding
        )
        return terms

    def receiver(self) -> dict:
        """The receiver's terms and `off`, by how much the identity fails (0 when all is well)."""
        terms = {
            "accepted": self.accepted, "handled": self.handled, "failed": self.failed,
            "cancelled": self.cancelled, "refused": self.refused, "expired": self.expired,
            "dead_lettered": self.dead_lettered, "moved": self.moved,
            "duplicates": self.duplicates, "repeats": self.repeats,
            "waiting": self.waiting, "running": self.running,
        }
        terms["off"] = self.accepted - (
            self.handled + self.failed + self.cancelled + self.refused + self.expired
            + self.dead_lettered + self.moved + self.duplicates + self.repeats + self.waiting + self.running
        )
        return terms
