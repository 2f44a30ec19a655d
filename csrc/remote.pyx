"""The answer to a request of another process, or to one that was sent on for it."""

import msgpack
from libc.stdint cimport int64_t

from denoagents._native.envelope cimport Envelope, ReplyTo
from denoagents._native.outbox cimport Outbox
from denoagents._native.router cimport END, ERROR, ITEM, LOST, REPLY, STARTED

from denoagents.errors import DenoagentsError, NodeStoppedError, PayloadTooLargeError


cdef class RemoteReply(ReplyTo):
    """Carries the outcome of a request back to the peer that asked; also of one that was sent on."""

    def bind(self, method, Envelope envelope not None) -> None:
        self.method, self.envelope, self.place = method, envelope, None

    @property
    def is_idempotent(self) -> bool:
        return False

    cpdef object resolve(self, object value):
        try:
            payload = self.method.encode_result(value)
            if len(payload) > self.peer.router.max_payload:
                raise PayloadTooLargeError(len(payload), self.peer.router.max_payload)
        except DenoagentsError as error:
            return self.reject(error)
        self.resolve_payload(payload)
        return payload

    cpdef object resolve_payload(self, object payload):
        self.peer.incoming.pop(self.origin, None)
        self.peer.answer(REPLY, self.origin, payload)

    cpdef object reject(self, object error):
        """The answer is an error; the end of this process is none to a reliable message."""
        if self.sequence and isinstance(error, NodeStoppedError):
            return None
        payload = msgpack.packb(self.peer.router.directory.describe(error))
        self.peer.incoming.pop(self.origin, None)
        self.peer.answer(ERROR, self.origin, payload)
        return (payload,)

    cpdef object handled(self):
        self.peer.acknowledge(self.origin)

    cpdef object repeat(self, object answer):
        if answer is None:
            self.peer.acknowledge(self.origin)
        elif isinstance(answer, tuple):
            self.peer.answer(ERROR, self.origin, answer[0])
        else:
            self.peer.answer(REPLY, self.origin, answer)

    cpdef object owner_ended(self, bint is_death):
        """Sent on from here to a process that has ended: its sender sends it again."""
        self.peer.incoming.pop(self.origin, None)
        self.peer.signal(LOST, self.origin)

    def announce(self):
        """Tell the sender that the message is about to run; the peer that carries the word, or None."""
        if self.peer.over or self.peer.link is None:
            return None
        self.peer.signal(STARTED, self.origin)
        return self.peer

    cpdef object item_payload(self, object payload):
        self.peer.answer(ITEM, self.origin, payload)

    cpdef object end(self):
        self.peer.incoming.pop(self.origin, None)
        self.peer.signal(END, self.origin)

    def send_item(self, value) -> int:
        """Send one item of a stream; what it costs of the reader's credit."""
        payload = self.method.encode_result(value)
        if len(payload) > self.peer.router.max_payload:
            raise PayloadTooLargeError(len(payload), self.peer.router.max_payload)
        self.peer.answer(ITEM, self.origin, payload)
        self.credit -= len(payload) + 16
        return self.credit

    def wait_for_credit(self):
        self.credit_waiter = self.peer.router.runtime.loop.create_future()
        return self.credit_waiter

    def grant(self, int64_t units) -> None:
        if isinstance(self.place, Outbox):
            (<Outbox> self.place).grant(self.number, units)
            return
        self.credit += units
        if self.credit > 0 and self.credit_waiter is not None and not self.credit_waiter.done():
            self.credit_waiter.set_result(None)
