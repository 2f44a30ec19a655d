"""Which reliable messages came already: for each actor and stream, until their sender needs no answer.

Rules:
    An entry is the message itself while it waits or runs; then its answer: None for a tell, the payload of
    a reply, or a tuple with that of an error.
    A stream's floor travels with its messages: all numbers below are settled. What comes below it was
    handled, or given up by its sender; entries below it are dropped when entries, or the bytes of their
    answers, have doubled.
    A stream that nobody has heard of for `forget_after_ns` is forgotten.
"""

from libc.stdint cimport int64_t, uint64_t

from denoagents._native.envelope cimport LATE, Envelope

cdef Py_ssize_t LEAST = 4096             # entries before any are looked for
cdef Py_ssize_t LEAST_BYTES = 4 << 20
cdef object MISSING = object()


cdef Py_ssize_t weight(object answer) except -1:
    """Bytes of a payload that is kept to be sent again."""
    if isinstance(answer, (tuple, list)) and answer:
        answer = answer[0]
    return len(answer) if isinstance(answer, (bytes, bytearray)) else 0


cdef class Window:
    def __cinit__(self):
        self.entries = {}


cdef class Windows:
    def __init__(self):
        self.actors, self.floors = {}, {}
        self.sweep_at, self.sweep_bytes_at = LEAST, LEAST_BYTES
        self.forget_after_ns = 3_600_000_000_000

    cdef Window window_of(self, str address, uint64_t stream):
        cdef dict streams = <dict> self.actors.get(address)
        cdef Window window
        if streams is None:
            streams = self.actors[address] = {}
        window = <Window> streams.get(stream)
        if window is None:
            window = streams[stream] = Window()
        return window

    cdef object admit(self, str address, Envelope envelope, int64_t now):
        """`envelope` itself when it is new, the one here that it repeats, or a tuple with the answer."""
        cdef uint64_t stream = envelope.reply.stream, number = envelope.reply.sequence
        cdef Window window
        cdef list heard = <list> self.floors.get(stream)
        if heard is None:
            self.floors[stream] = [envelope.reply.floor, now]
        else:
            heard[1] = now
            if envelope.reply.floor > heard[0]:
                heard[0] = envelope.reply.floor
            elif number < heard[0]:
                return (None,)
        window = self.window_of(address, stream)
        known = window.entries.get(number, MISSING)
        if known is not MISSING:
            return known if isinstance(known, Envelope) else (known,)
        window.entries[number] = envelope
        if number > window.highest:
            window.highest = number
        else:
            envelope.flags |= LATE
        self.count += 1
        if self.count >= self.sweep_at or self.bytes >= self.sweep_bytes_at:
            self.sweep(now)
        return envelope

    cdef int settle(self, str address, Envelope envelope, object answer) except -1:
        """`envelope` was answered; `MISSING` as answer forgets it."""
        cdef dict streams = <dict> self.actors.get(address)
        cdef Window window = None if streams is None else <Window> streams.get(envelope.reply.stream)
        cdef uint64_t number = envelope.reply.sequence
        if window is None or window.entries.get(number) is not envelope:
            return 0
        heard = self.floors.get(envelope.reply.stream)
        if answer is MISSING or heard is None or number < heard[0]:
            del window.entries[number]
            self.count -= 1
        else:
            window.entries[number] = answer
            self.bytes += weight(answer)
        return 0

    def arrive(self, str address not None, Envelope envelope not None, int64_t now_ns=0):
        """`envelope` itself when it is new, the one here that it repeats, or a tuple with the answer."""
        return self.admit(address, envelope, now_ns)

    def answered(self, str address not None, Envelope envelope not None, answer) -> None:
        """What a repeat of `envelope` will be answered."""
        self.settle(address, envelope, answer)

    def forget(self, str address not None, Envelope envelope not None) -> None:
        """`envelope` will not be answered from here."""
        self.settle(address, envelope, MISSING)

    def sweep(self, int64_t now_ns) -> int:
        """Drop what is below the floors, and streams that are silent; how many entries are left."""
        cdef Window window
        cdef dict streams
        for stream in [one for one, heard in self.floors.items() if now_ns - heard[1] > self.forget_after_ns]:
            self.floors[stream] = [1 << 63, now_ns - self.forget_after_ns]
        self.count = self.bytes = 0
        for address, streams in list(self.actors.items()):
            for stream, window in list(streams.items()):
                heard = self.floors.get(stream)
                floor = 1 << 63 if heard is None else heard[0]
                window.entries = {
                    number: known for number, known in window.entries.items()
                    if number >= floor or isinstance(known, Envelope)
                }
                self.count += len(window.entries)
                for known in window.entries.values():
                    self.bytes += weight(known)
                if not window.entries:
                    del streams[stream]
            if not streams:
                del self.actors[address]
        for stream in [one for one, heard in self.floors.items() if heard[0] >> 63]:
            del self.floors[stream]
        self.sweep_at, self.sweep_bytes_at = max(LEAST, 2 * self.count), max(LEAST_BYTES, 2 * self.bytes)
        return self.count

    # --- hand-over ----------------------------------------------------------------------------

    def export(self, str address not None) -> list:
        """The answers that an actor has given, as (stream, floor, [(number, answer), ...])."""
        cdef Window window
        cdef dict streams = self.actors.get(address) or {}
        made = []
        for stream, window in streams.items():
            floor = self.floor(stream)
            answers = [
                (number, known) for number, known in window.entries.items()
                if number >= floor and not isinstance(known, Envelope)
            ]
            made.append((stream, floor, answers))
        return made

    def drop(self, str address not None) -> None:
        """The actor lives elsewhere now."""
        cdef Window window
        cdef dict streams = self.actors.pop(address, None) or {}
        for window in streams.values():
            self.count -= len(window.entries)
            for known in window.entries.values():
                self.bytes -= weight(known)

    def restore(self, str address not None, entries, int64_t now_ns=0) -> list:
        """Take what `export` gave elsewhere; the messages here that were handled there, each with its answer."""
        cdef Window window
        cdef uint64_t number
        handled = []
        for stream, floor, answers in entries:
            heard = self.floors.setdefault(stream, [floor, now_ns])
            heard[0], heard[1] = max(floor, heard[0]), max(now_ns, heard[1])
            if not answers:
                continue
            window = self.window_of(address, stream)
            for number, answer in answers:
                known = window.entries.get(number, MISSING)
                if isinstance(known, Envelope):
                    handled.append((known, answer))
                elif known is MISSING:
                    self.count += 1
                self.bytes += weight(answer) - weight(known)
                window.entries[number] = answer
                window.highest = max(window.highest, number)
        return handled

    def floor(self, uint64_t stream) -> int:
        """All numbers of `stream` below this one are settled."""
        heard = self.floors.get(stream)
        return 0 if heard is None else heard[0]

    def __len__(self):
        return self.count
