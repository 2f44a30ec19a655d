"""ZeroMQ sockets and the packet header, straight on the libzmq that pyzmq brings along.

Rules: one thread owns a socket. Nothing here waits, except `Context.close`. The FD is
edge-triggered: `receive` drains to EAGAIN (or says `has_more`), and every send looks at EVENTS
afterwards and calls `on_input` when something can be read, because the send may have swallowed the
FD's signal. Send queues have no limit in libzmq: the session's window in bytes is the bound, and
POLLOUT of a dialing socket means exactly "the connection stands".
"""

import glob as _glob
import importlib.util as _util
import os as _os

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport atoi
from libc.string cimport memcpy, strcmp

cimport cython

from denoagents._native.packet cimport HEADER, LARGE, Packet, read_packet, write_packet
from libzmq cimport *

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size)

cdef enum:
    BURST = 64              # packets received in one go
    WITH_GIL = 4            # of these, so many before the GIL is let go: a lone reply keeps it

READABLE = POLLIN
"""Of `Socket.look`: a packet waits."""
CONNECTED = POLLOUT
"""Of `Socket.look`: the dialed connection stands, because send queues are unlimited."""

cdef denoagents_zmq zmq


def library_candidates() -> list:
    """The shared objects in which libzmq may be found, pyzmq's own backend first."""
    spec = _util.find_spec("zmq")
    if spec is None or not spec.submodule_search_locations:
        return []
    package = spec.submodule_search_locations[0]
    beside = _os.path.dirname(package)
    patterns = (
        _os.path.join(package, "backend", "cython", "_zmq*.so"),
        _os.path.join(beside, "pyzmq.libs", "libzmq*"),
        _os.path.join(package, ".dylibs", "libzmq*"),
        _os.path.join(package, "libzmq*.so"),
    )
    return [path for pattern in patterns for path in sorted(_glob.glob(pattern))]


cdef str _open_library():
    candidates = library_candidates()
    for path in candidates:
        if denoagents_zmq_open(_os.fsencode(path), &zmq) == 0:
            return path
    raise ImportError(
        "denoagents needs the libzmq 4 inside pyzmq and cannot find it "
        f"(looked into: {', '.join(candidates) or 'no pyzmq is installed'}). "
        "Type: python -m pip install --force-reinstall --no-cache-dir 'pyzmq>=27.1'"
    )

cdef str _library = _open_library()


def library_path() -> str:
    """The shared object that holds libzmq; the heartbeat thread opens the same one."""
    return _library


cdef int check(int rc, str what) except -1:
    """Raise `OSError` with libzmq's sentence when `rc` is negative."""
    cdef int code
    if rc >= 0:
        return rc
    code = zmq.get_errno()
    raise OSError(code, f"{what}: {zmq.strerror(code).decode()}")


@cython.final
cdef class Context:
    """The I/O thread of libzmq; all sockets of a node belong to one."""

    cdef void *handle           # ended by close()

    def __cinit__(self, int io_threads=1, int max_sockets=65536):
        self.handle = zmq.ctx_new()
        if self.handle is NULL:
            raise MemoryError("libzmq could not make a context")
        zmq.ctx_set(self.handle, IO_THREADS, io_threads)
        zmq.ctx_set(self.handle, MAX_SOCKETS, max_sockets)

    @property
    def address(self) -> int:
        """The context's C pointer, for pyzmq's `Context.shadow`."""
        return <size_t>self.handle

    def close(self) -> None:
        """Wait until the lingers of the closed sockets are over, and end the I/O thread."""
        cdef void *handle = self.handle
        self.handle = NULL
        if handle is not NULL:
            with nogil:
                while zmq.ctx_term(handle) != 0 and zmq.get_errno() == 4:    # EINTR
                    pass


@cython.final
cdef class Frame:
    """The memory of one received message, for as long as a body looks into it."""

    cdef zmq_msg message        # closed in __dealloc__

    def __cinit__(self):
        zmq.msg_init(&self.message)

    def __dealloc__(self):
        zmq.msg_close(&self.message)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(
            view, self, zmq.msg_data(&self.message), zmq.msg_size(&self.message), 1, flags
        )


@cython.final
cdef class Socket:
    """A ROUTER that listens, or a DEALER that dials exactly one endpoint, once."""

    cdef void *handle                       # closed by close()
    cdef Context context                    # outlives the socket
    cdef bint is_router
    cdef readonly bint has_more             # the last receive() stopped at its limit
    cdef readonly int fd
    cdef readonly uint64_t bytes_in, bytes_out, packets_in, packets_out, junk_in
    cdef str user                           # of the newest packet; "" until it is secured
    cdef bint is_secured
    cdef public object on_input             # called when a send finds that something can be read

    def __cinit__(self, Context context not None, bint listens):
        self.context = context
        self.is_router = listens
        if context.handle is NULL:
            raise RuntimeError("the context is closed")
        self.handle = zmq.socket(context.handle, ROUTER if listens else DEALER)
        if self.handle is NULL:
            check(-1, "cannot make a socket")

    def __dealloc__(self):
        if self.handle is not NULL:
            self.close(0)

    def configure(
        self, *, int64_t max_packet_bytes, int receive_queue, int handshake_ms, int heartbeat_ms,
        int heartbeat_timeout_ms, int backlog,
    ) -> None:
        """Set every option; call it once, before `bind` or `connect`."""
        check(zmq.setsockopt(self.handle, MAXMSGSIZE, &max_packet_bytes, 8), "MAXMSGSIZE")
        self._set(SNDHWM, 0)
        self._set(RCVHWM, receive_queue)
        self._set(LINGER, 0)
        self._set(HANDSHAKE_IVL, handshake_ms)
        self._set(HEARTBEAT_IVL, heartbeat_ms)
        self._set(HEARTBEAT_TIMEOUT, heartbeat_timeout_ms)
        if self.is_router:
            self._set(ROUTER_MANDATORY, 1)
            self._set(BACKLOG, backlog)
        else:
            self._set(IMMEDIATE, 1)
            self._set(RECONNECT_IVL, -1)

    def secure(self, bytes public not None, bytes secret not None, bytes server=None) -> None:
        """Encrypt by CURVE: what listens asks ZAP about each caller, what dials wants `server`."""
        cdef bytes domain = b"denoagents"
        self._set_key(CURVE_PUBLICKEY, public)
        self._set_key(CURVE_SECRETKEY, secret)
        if self.is_router:
            self._set(CURVE_SERVER, 1)
            check(zmq.setsockopt(self.handle, ZAP_DOMAIN, <char *>domain, len(domain)), "ZAP_DOMAIN")
            self._set(ZAP_ENFORCE_DOMAIN, 1)    # nobody who answers for callers: no caller
        else:
            self._set_key(CURVE_SERVERKEY, server or b"")
        self.is_secured = True

    cdef int _set_key(self, int option, bytes key) except -1:
        return check(zmq.setsockopt(self.handle, option, <char *>key, len(key)), "a CURVE key")

    @property
    def address(self) -> int:
        """The socket's C pointer, for its monitor."""
        return <size_t>self.handle

    cdef int _set(self, int option, int value) except -1:
        return check(zmq.setsockopt(self.handle, option, &value, sizeof(int)), f"option {option}")

    def bind(self, str endpoint) -> str:
        """Listen; returns the endpoint with the real port."""
        cdef char real[256]
        cdef size_t size = sizeof(real)
        check(zmq.bind(self.handle, endpoint.encode()), f"cannot listen on {endpoint}")
        check(zmq.getsockopt(self.handle, LAST_ENDPOINT, real, &size), "LAST_ENDPOINT")
        self._find_fd()
        return real[:size - 1].decode()

    def connect(self, str endpoint) -> None:
        check(zmq.connect(self.handle, endpoint.encode()), f"cannot dial {endpoint}")
        self._find_fd()

    cdef int _find_fd(self) except -1:
        cdef size_t size = sizeof(int)
        return check(zmq.getsockopt(self.handle, FD, &self.fd, &size), "FD")

    cdef int _events(self) noexcept nogil:
        cdef int events = 0
        cdef size_t size = sizeof(int)
        if self.handle is NULL or zmq.getsockopt(self.handle, EVENTS, &events, &size) != 0:
            return 0
        return events

    def look(self) -> int:
        """What holds now: READABLE, and CONNECTED for a dialed connection.

        Looking swallows the FD's signal: who finds READABLE must receive.
        """
        return self._events()

    def send(
        self, bytes route, int kind, int flags, uint64_t seq, uint64_t ack, int64_t now_ns,
        uint32_t placement_version, uint32_t count, uint32_t raw_length, bytes body not None,
    ) -> bool:
        """Hand one packet to libzmq; False when the connection is gone. Never waits."""
        cdef zmq_msg message
        cdef const unsigned char *data = <const unsigned char *>PyBytes_AS_STRING(body)
        cdef size_t size = PyBytes_GET_SIZE(body)
        if zmq.msg_init_size(&message, HEADER + size) != 0:
            raise MemoryError("no memory for a packet")
        if size < LARGE:
            write_packet(
                <unsigned char *>zmq.msg_data(&message), kind, flags, seq, ack, now_ns,
                placement_version, count, raw_length, data, size,
            )
        else:
            with nogil:
                write_packet(
                    <unsigned char *>zmq.msg_data(&message), kind, flags, seq, ack, now_ns,
                    placement_version, count, raw_length, data, size,
                )
        return self._send(route, &message, HEADER + size)

    def send_datagram(self, bytes route, bytes packet not None) -> bool:
        """Hand over a packet that is complete with its own header."""
        cdef zmq_msg message
        cdef size_t size = PyBytes_GET_SIZE(packet)
        if zmq.msg_init_size(&message, size) != 0:
            raise MemoryError("no memory for a packet")
        memcpy(zmq.msg_data(&message), PyBytes_AS_STRING(packet), size)
        return self._send(route, &message, size)

    cdef bint _send(self, bytes route, zmq_msg *message, size_t size) except -1:
        """Send and consume `message`."""
        cdef int rc = -1
        if self.handle is not NULL:
            rc = 0
            if route is not None:
                rc = zmq.send(
                    self.handle, PyBytes_AS_STRING(route), PyBytes_GET_SIZE(route),
                    DONTWAIT | SNDMORE,
                )
            if rc >= 0:
                rc = zmq.msg_send(message, self.handle, DONTWAIT)
        if rc < 0:
            zmq.msg_close(message)
        else:
            self.bytes_out += size
            self.packets_out += 1
        if self._events() & POLLIN and self.on_input is not None:
            self.on_input()
        return rc >= 0

    cdef int _take(self, zmq_msg *route, zmq_msg *frame) noexcept nogil:
        """Receive one whole message: 1 packet, 0 nothing, -1 junk. The caller closes both parts."""
        cdef int result = 1
        zmq.msg_init(route)
        zmq.msg_init(frame)
        if self.is_router:
            if zmq.msg_recv(route, self.handle, DONTWAIT) < 0:
                return 0
            if not zmq.msg_more(route):
                return -1
        if zmq.msg_recv(frame, self.handle, DONTWAIT) < 0:
            return -1 if self.is_router else 0
        while zmq.msg_more(frame):              # a packet has one part; more parts are junk
            result = -1
            zmq.msg_close(frame)
            zmq.msg_init(frame)
            if zmq.msg_recv(frame, self.handle, DONTWAIT) < 0:
                break
        return result

    def receive(self, int limit=BURST) -> list:
        """Up to `limit` packets (at most 64), junk among them as kind 0; `has_more`: not all."""
        cdef zmq_msg routes[BURST]
        cdef zmq_msg frames[BURST]
        cdef int results[BURST]
        cdef int taken = 0, i
        cdef list packets = []
        self.has_more = False
        if self.handle is NULL:
            return packets
        limit = min(limit, BURST)
        while taken < limit and taken < WITH_GIL:
            results[taken] = self._take(&routes[taken], &frames[taken])
            if results[taken] == 0:
                break
            taken += 1
        if taken == WITH_GIL:
            with nogil:
                while taken < limit:
                    results[taken] = self._take(&routes[taken], &frames[taken])
                    if results[taken] == 0:
                        break
                    taken += 1
        self.has_more = taken == limit
        for i in range(taken):
            packets.append(self._packet(&routes[i], &frames[i], results[i]))
        return packets

    cdef Packet _packet(self, zmq_msg *route_part, zmq_msg *frame_part, int result):
        """Decode and close one received message."""
        cdef bytes route = None
        cdef size_t size = zmq.msg_size(frame_part)
        cdef Frame frame = None
        cdef Packet packet
        cdef int fd = 0
        cdef const char *word
        cdef str user = None
        if self.is_router:                      # what libzmq knows of the connection
            word = zmq.msg_gets(frame_part, "__fd")
            if word is not NULL:
                fd = atoi(word)
            if self.is_secured:
                word = zmq.msg_gets(frame_part, "User-Id")
                user = "" if word is NULL else self._same_user(word)
        if self.is_router:
            route = PyBytes_FromStringAndSize(
                <const char *>zmq.msg_data(route_part), zmq.msg_size(route_part)
            )
        zmq.msg_close(route_part)
        if result < 0:
            size = 0
        if size >= LARGE:
            frame = Frame.__new__(Frame)
            zmq.msg_move(&frame.message, frame_part)
            packet = read_packet(
                route, <const unsigned char *>zmq.msg_data(&frame.message), size, frame
            )
        else:
            packet = read_packet(
                route, <const unsigned char *>zmq.msg_data(frame_part), size, None
            )
        zmq.msg_close(frame_part)
        packet.user, packet.fd = user, fd
        self.bytes_in += size
        self.packets_in += 1
        if packet.kind == 0:
            self.junk_in += 1
        return packet

    cdef str _same_user(self, const char *word):
        """The text of `word`; the same object while the same peer goes on."""
        cdef Py_ssize_t size = 0
        cdef const char *known = NULL
        if self.user is not None:
            known = PyUnicode_AsUTF8AndSize(self.user, &size)
        if known is NULL or strcmp(known, word) != 0:
            self.user = word.decode("ascii", "replace")
        return self.user

    def close(self, int linger_ms=0) -> None:
        """Close; what was sent may still leave within `linger_ms`."""
        cdef void *handle = self.handle
        self.handle = NULL
        self.on_input = None
        if handle is not NULL:
            zmq.setsockopt(handle, LINGER, &linger_ms, sizeof(int))
            zmq.close(handle)
