"""Key pairs for CURVE, and the inner sockets by which libzmq asks who may come in, and tells.

Rules: one thread owns a `Line`. Nothing here waits. A line's FD is edge-triggered: `receive` until
None.
"""

import os as _os

from denoagents._native.socket import library_path

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy

cimport cython

from libzmq cimport *

cdef denoagents_zmq zmq

if denoagents_zmq_open(_os.fsencode(library_path()), &zmq) != 0:
    raise ImportError(f"{library_path()} offers no libzmq 4 with CURVE; reinstall pyzmq")

ACCEPTED = 0x0020
"""Of `Line.event`: a connection came; its value is the descriptor."""
DISCONNECTED = 0x0200
"""A connection is gone; its value was the descriptor."""
FAILED = 0x0800
"""A handshake ended without a word, or its time was over."""
PROTOCOL_FAILED = 0x2000
"""The other end does not speak as expected: no CURVE, or another key."""
REFUSED = 0x4000
"""ZAP at the other end said no; the value is its code."""


def has_curve() -> bool:
    """Whether this libzmq can encrypt."""
    return zmq.has("curve") == 1


def make_keys() -> tuple:
    """A new (public, secret) pair, 32 bytes each."""
    cdef char public[41]
    cdef char secret[41]
    if zmq.curve_keypair(public, secret) != 0:
        raise OSError(zmq.get_errno(), "libzmq makes no CURVE keys")
    return decoded(public), decoded(secret)


def public_of(bytes secret not None) -> bytes:
    """The public key that belongs to `secret`."""
    cdef char text[41]
    cdef char public[41]
    if len(secret) != 32:
        raise ValueError("a secret key has 32 bytes")
    zmq.z85_encode(text, <const unsigned char *>secret, 32)
    if zmq.curve_public(public, text) != 0:
        raise OSError(zmq.get_errno(), "libzmq makes no CURVE keys")
    return decoded(public)


cdef bytes decoded(const char *text):
    cdef unsigned char raw[32]
    zmq.z85_decode(raw, text)
    return raw[:32]


@cython.final
cdef class Line:
    """A REP that answers ZAP (`Line.zap`), or the PAIR of a socket's monitor (`Line.monitor`)."""

    cdef void *handle                   # closed by close()
    cdef void *monitored                # the socket whose monitor this is; closed after this
    cdef readonly int fd

    def __dealloc__(self):
        self.monitored = NULL           # it may be gone by now
        self.close()

    @staticmethod
    def zap(size_t context) -> Line:
        """Answer for all sockets of the context; `OSError` when that is not possible."""
        return open_line(context, REP, b"inproc://zeromq.zap.01", True)

    @staticmethod
    def monitor(size_t context, size_t socket, int events) -> Line:
        """Hear of `events` of a socket."""
        cdef bytes endpoint = f"inproc://denoagents-monitor-{socket}".encode()
        if zmq.socket_monitor(<void *>socket, endpoint, events) != 0:
            raise OSError(zmq.get_errno(), "no monitor for a socket")
        cdef Line line = open_line(context, PAIR, endpoint, False)
        line.monitored = <void *>socket
        return line

    def receive(self) -> list:
        """The parts of one message, or None."""
        cdef zmq_msg part
        cdef list parts = []
        cdef bint more = True
        while more:
            zmq.msg_init(&part)
            if self.handle is NULL or zmq.msg_recv(&part, self.handle, DONTWAIT) < 0:
                zmq.msg_close(&part)
                return None
            parts.append(PyBytes_FromStringAndSize(
                <const char *>zmq.msg_data(&part), zmq.msg_size(&part)
            ))
            more = zmq.msg_more(&part)
            zmq.msg_close(&part)
        return parts

    def event(self) -> tuple:
        """(event, value) of a monitor, or None."""
        cdef list parts = self.receive()
        cdef uint16_t event
        cdef uint32_t value
        if parts is None or len(parts) != 2 or len(parts[0]) != 6:
            return None
        memcpy(&event, <const char *><bytes>parts[0], 2)
        memcpy(&value, <const char *><bytes>parts[0] + 2, 4)
        return event, value

    def send(self, list parts not None) -> bool:
        """Answer; False when nobody takes it."""
        cdef Py_ssize_t i
        cdef bytes part
        for i in range(len(parts)):
            part = parts[i]
            if self.handle is NULL or zmq.send(
                self.handle, <const char *>part, len(part),
                DONTWAIT | (SNDMORE if i + 1 < len(parts) else 0),
            ) < 0:
                return False
        return True

    def has_more(self) -> bool:
        """Whether something can be read: looking swallows the FD's signal."""
        cdef int events = 0
        cdef size_t size = sizeof(int)
        if self.handle is NULL or zmq.getsockopt(self.handle, EVENTS, &events, &size) != 0:
            return False
        return events & POLLIN != 0

    def close(self) -> None:
        """Listen no more; a monitor before its socket: without a reader libzmq's thread would wait."""
        cdef void *handle = self.handle
        cdef int linger = 0
        if self.monitored is not NULL:
            zmq.socket_monitor(self.monitored, NULL, 0)
        self.monitored = NULL
        self.handle = NULL
        if handle is not NULL:
            zmq.setsockopt(handle, LINGER, &linger, sizeof(int))
            zmq.close(handle)


cdef Line open_line(size_t context, int kind, bytes endpoint, bint listens):
    cdef Line line = Line.__new__(Line)
    cdef size_t size = sizeof(int)
    cdef int rc = 0
    line.handle = zmq.socket(<void *>context, kind)
    if line.handle is NULL:
        raise OSError(zmq.get_errno(), "no socket can be made")
    zmq.setsockopt(line.handle, RCVHWM, &rc, sizeof(int))   # no bound: its writer must not wait
    if listens:
        rc = zmq.bind(line.handle, endpoint)
    else:
        rc = zmq.connect(line.handle, endpoint)
    if rc != 0:
        rc = zmq.get_errno()
        line.close()
        raise OSError(rc, zmq.strerror(rc).decode())
    zmq.getsockopt(line.handle, FD, &line.fd, &size)
    return line
