"""The beating thread and the watch over the running turn, for Python and the native runtime.

Rules: `Watch.begin` and `end` are called by the loop's thread alone, around every step of a turn,
properly nested. `Pulse.tick` is called by the same thread every 50 to 100 ms. `lease_until_ns` may
be read from any thread; a node whose clock is past it starts no turn. Without a broker the lease
never ends. The thread itself is csrc/pulse.h; it never touches a Python object.
"""

import atexit
import os
import struct

from cpython.exc cimport PyErr_Clear
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from denoagents.envelope import MAGIC as _MAGIC
from denoagents.envelope import WIRE_VERSION as _WIRE_VERSION
from denoagents.envelope import PacketKind


cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size)

cdef extern from "libzmq.h" nogil:
    struct denoagents_zmq:
        pass
    int denoagents_zmq_open(const char* path, denoagents_zmq* out)

cdef extern from "watch.h" nogil:
    int WATCH_NAME
    int WATCH_DEPTH
    ctypedef struct watch_frame_t:
        int64_t since_ns
        uint64_t step
        uint8_t actor_size
        uint8_t method_size
        char* actor
        char* method
    ctypedef struct watch_t:
        uint64_t steps
    void watch_begin(watch_t* watch, const char* actor, size_t actor_size,
                     const char* method, size_t method_size, int64_t now)
    void watch_end(watch_t* watch)
    int watch_read(watch_t* watch, watch_frame_t* frames)

cdef extern from "pulse.h" nogil:
    int PULSE_ANSWERED
    int PULSE_REFUSED
    int PULSE_SILENT
    int PULSE_UNKNOWN
    int PULSE_EVICTED
    ctypedef struct pulse_report_t:
        pass
    ctypedef struct pulse_t:
        int64_t beat_ns, stop_after_ns, replace_after_ns, block_limit_ns, tick_ns, turn_limit_ns
        int ends_process
        uint64_t incarnation
        char* endpoint
        char* host
        char* port
        int is_secured
        char* public_key
        char* secret_key
        char* server_key
        watch_t* watch
        denoagents_zmq zmq
        void* given_context
        uint16_t magic
        uint8_t wire_version, beat_kind, answer_kind
        int64_t lease_until, ticked_ns, lag_ns
        uint64_t open_report, broker_incarnation, beats, answers
        uint32_t broker_version
        int flags, leaving, is_running, probes_refused
        int wake_read, wake_write, report_write
    int64_t pulse_now()
    int pulse_tick(pulse_t* pulse, int64_t now)
    bint pulse_close_report(pulse_t* pulse, uint64_t step)
    int pulse_start(pulse_t* pulse)
    void pulse_stop(pulse_t* pulse)

ANSWERED = PULSE_ANSWERED
REFUSED = PULSE_REFUSED
SILENT = PULSE_SILENT
UNKNOWN = PULSE_UNKNOWN
EVICTED = PULSE_EVICTED
REPORT_SIZE = sizeof(pulse_report_t)

cdef object REPORT = struct.Struct("=QqBB95s95s")


cdef str text_of(bytes name):
    """A name as it was kept; one cut within a character loses the rest of it."""
    return name.decode("utf-8", "ignore")


cdef class Watch:
    """Which turn is running, for a thread that must know it without asking Python."""

    def __cinit__(self):
        self.word = calloc(1, sizeof(watch_t))
        if self.word == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.word)

    cdef void begin(self, object actor_text, object method_name, int64_t now) noexcept:
        cdef Py_ssize_t actor_size = 0, method_size = 0
        cdef const char* actor = PyUnicode_AsUTF8AndSize(actor_text, &actor_size)
        cdef const char* method = PyUnicode_AsUTF8AndSize(method_name, &method_size)
        if actor == NULL or method == NULL:     # lone surrogates: it is watched without its name
            PyErr_Clear()
            actor_size = method_size = 0
        watch_begin(<watch_t*>self.word, actor, actor_size, method, method_size, now)

    cdef void end(self) noexcept:
        watch_end(<watch_t*>self.word)

    def enter(self, str actor not None, str method not None, int64_t now_ns) -> None:
        self.begin(actor, method, now_ns)

    def leave(self) -> None:
        self.end()

    def running(self) -> list:
        cdef watch_frame_t[8] frames
        cdef int i, count
        with nogil:
            count = watch_read(<watch_t*>self.word, frames)
        return [
            (frames[i].step, text_of(frames[i].actor[:frames[i].actor_size]),
             text_of(frames[i].method[:frames[i].method_size]), frames[i].since_ns)
            for i in range(count)
        ]


cdef class Pulse:
    """Beats for one life of a process, keeps its lease, and reports turns that hold the loop."""

    def __cinit__(
        self, Watch watch=None, *, int64_t beat_ns=200_000_000, int64_t stop_after_ns=1_600_000_000,
        int64_t replace_after_ns=2_400_000_000, int64_t block_limit_ns=10_000_000_000,
        int64_t tick_ns=50_000_000, int64_t turn_limit_ns=100_000_000, bint ends_process=False,
    ):
        cdef pulse_t* state = <pulse_t*>calloc(1, sizeof(pulse_t))
        if state == NULL:
            raise MemoryError
        self.state = state
        self.lease = &state.lease_until
        self.report_fd = -1
        self.watch = Watch() if watch is None else watch
        state.watch = <watch_t*>self.watch.word
        state.wake_read = state.wake_write = state.report_write = -1
        for name, value in (("beat_ns", beat_ns), ("stop_after_ns", stop_after_ns),
                            ("block_limit_ns", block_limit_ns), ("tick_ns", tick_ns),
                            ("turn_limit_ns", turn_limit_ns)):
            if value < 1_000_000:
                raise ValueError(f"{name} must be at least 1 ms, got {value} ns")
        if replace_after_ns <= stop_after_ns:
            raise ValueError(
                f"replace_after_ns ({replace_after_ns}) must be greater than stop_after_ns"
                f" ({stop_after_ns}): a node stops before another takes its place"
            )
        state.beat_ns, state.tick_ns = beat_ns, tick_ns
        state.stop_after_ns, state.replace_after_ns = stop_after_ns, replace_after_ns
        state.block_limit_ns, state.turn_limit_ns = block_limit_ns, turn_limit_ns
        state.ends_process = ends_process
        state.magic, state.wire_version = _MAGIC, _WIRE_VERSION
        state.beat_kind, state.answer_kind = PacketKind.BEAT, PacketKind.BEAT_ANSWER

    def __dealloc__(self):
        if self.state != NULL:
            with nogil:
                pulse_stop(<pulse_t*>self.state)
            self.close_pipes()
            free(self.state)

    cdef int tick_at(self, int64_t now) noexcept nogil:
        return pulse_tick(<pulse_t*>self.state, now)

    cdef bint is_leased(self, int64_t now) noexcept nogil:
        return now <= (<pulse_t*>self.state).lease_until

    cdef int close_pipes(self) except -1:
        cdef pulse_t* state = <pulse_t*>self.state
        for fd in (state.wake_read, state.wake_write, state.report_write, self.report_fd):
            if fd >= 0:
                os.close(fd)
        state.wake_read = state.wake_write = state.report_write = self.report_fd = -1

    def start(
        self, str endpoint, uint64_t incarnation=0, *, str library=None, size_t context=0,
        tuple keys=None,
    ) -> None:
        cdef pulse_t* state = <pulse_t*>self.state
        cdef bytes public, secret, server
        if state.is_running:
            raise RuntimeError("the pulse beats already; stop it first")
        state.endpoint[0] = state.host[0] = state.port[0] = 0
        state.is_secured = keys is not None
        if keys is not None:
            public, secret, server = keys
            if not len(public) == len(secret) == len(server) == 32:
                raise ValueError("a key has 32 bytes")
            memcpy(state.public_key, <char*>public, 32)
            memcpy(state.secret_key, <char*>secret, 32)
            memcpy(state.server_key, <char*>server, 32)
        if endpoint is not None:
            self.aim(endpoint, library)
        state.incarnation = incarnation
        state.given_context = <void*>context
        state.lease_until = INT64_MAX if endpoint is None else 0
        state.broker_incarnation = state.broker_version = state.beats = state.answers = 0
        state.leaving = 0
        self.close_pipes()
        state.wake_read, state.wake_write = os.pipe()
        self.report_fd, state.report_write = os.pipe()
        for fd in (state.wake_read, state.wake_write, state.report_write):
            os.set_blocking(fd, False)
        if pulse_start(state):
            raise RuntimeError("no thread left for the pulse; raise the limit (ulimit -u)")
        atexit.register(self.stop)

    cdef int aim(self, str endpoint, str library) except -1:
        """Take the broker's address apart, and find libzmq."""
        cdef pulse_t* state = <pulse_t*>self.state
        cdef bytes whole = endpoint.encode(), host, port
        scheme, _, rest = endpoint.partition("://")
        name, _, number = rest.rpartition(":")
        host, port = name.strip("[]").encode(), number.encode()
        if scheme != "tcp" or not host or not number.isdigit() or not 0 < int(number) < 65536:
            raise ValueError(f"the broker's endpoint must be tcp://HOST:PORT, got {endpoint!r}")
        if len(host) > 199 or len(whole) > 255 or len(port) > 7:
            raise ValueError(f"the broker's endpoint is too long: {endpoint!r}")
        path = library or libzmq_path()
        if denoagents_zmq_open(path.encode(), &state.zmq):
            raise ImportError(
                f"{path} offers no libzmq 4; install pyzmq from a wheel: "
                "pip install --only-binary :all: pyzmq"
            )
        memcpy(state.endpoint, <char*>whole, len(whole) + 1)
        memcpy(state.host, <char*>host, len(host) + 1)
        memcpy(state.port, <char*>port, len(port) + 1)

    def stop(self) -> None:
        cdef pulse_t* state = <pulse_t*>self.state
        if not state.is_running:
            return
        with nogil:
            pulse_stop(state)
        atexit.unregister(self.stop)
        os.close(state.report_write)    # who reads report_fd sees its end
        state.report_write = -1

    def tick(self) -> int:
        return self.tick_at(pulse_now())

    def read_report(self, bytes record) -> tuple:
        """(step, held_ns, actor, method) of one record of REPORT_SIZE bytes from `report_fd`."""
        step, held_ns, actor_size, method_size, actor, method = REPORT.unpack_from(record)
        return step, held_ns, text_of(actor[:actor_size]), text_of(method[:method_size])

    def close_report(self, uint64_t step) -> bool:
        return pulse_close_report(<pulse_t*>self.state, step)

    @property
    def open_report(self) -> int:
        return (<pulse_t*>self.state).open_report

    @property
    def lease_until_ns(self) -> int:
        return (<pulse_t*>self.state).lease_until

    @property
    def flags(self) -> int:
        return (<pulse_t*>self.state).flags

    @property
    def lag_ns(self) -> int:
        return (<pulse_t*>self.state).lag_ns

    @property
    def broker_incarnation(self) -> int:
        return (<pulse_t*>self.state).broker_incarnation

    @property
    def broker_version(self) -> int:
        return (<pulse_t*>self.state).broker_version

    @property
    def is_leaving(self) -> bool:
        return (<pulse_t*>self.state).leaving != 0

    @is_leaving.setter
    def is_leaving(self, bint value) -> None:
        (<pulse_t*>self.state).leaving = value

    def statistics(self) -> dict:
        cdef pulse_t* state = <pulse_t*>self.state
        cdef int64_t left = state.lease_until - pulse_now()
        return {
            "beats": state.beats, "answers": state.answers, "refused_probes": state.probes_refused,
            "lease_left_ms": None if state.lease_until == INT64_MAX else max(0, left // 1_000_000),
            "loop_lag_ms": state.lag_ns / 1e6, "is_answered": bool(state.flags & PULSE_ANSWERED),
            "is_evicted": bool(state.flags & PULSE_EVICTED),
        }


def libzmq_path() -> str:
    """The compiled backend of pyzmq: opening it gives the one libzmq of this process."""
    from zmq.backend.cython import _zmq
    return _zmq.__file__
