"""Latency histogram: 64 buckets an octave, mergeable, exact in count, sum, least and most.

Rules: a value below 128 ns has a bucket of its own; above, a bucket is at most 1/64 of its values
wide, and its middle at most 1/128 off. Values below 0 count as 0, values over 2**44 ns (4.9 hours)
go into the last bucket. Merging adds buckets: a quantile of merged histograms is one of all values.
Bytes: version, then varints: count, sum, least, most, and for each bucket in use its distance to
the former one and its count. Foreign bytes give a consistent histogram or a ProtocolError.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from denoagents.errors import ProtocolError

cdef extern from *:
    """
    static inline int denoagents_bucket_of(uint64_t ns) {
        int octave;
        if (ns < 128) return (int)ns;
        if (ns >> 44) return 2495;
        octave = 57 - __builtin_clzll(ns);              /* 1 for 128..255 */
        return (octave << 6) + (int)(ns >> octave);     /* its buckets end at 128 + 64 * octave */
    }
    /* The least value of a bucket. */
    static inline uint64_t denoagents_bucket_floor(int bucket) {
        int octave;
        if (bucket < 128) return (uint64_t)bucket;
        octave = (bucket >> 6) - 1;
        return (uint64_t)(64 + (bucket & 63)) << octave;
    }
    """
    int denoagents_bucket_of(uint64_t ns) noexcept nogil
    uint64_t denoagents_bucket_floor(int bucket) noexcept nogil

cdef enum:
    TOTAL = 2496
    BYTES_VERSION = 1

cdef uint64_t COUNT_LIMIT = <uint64_t>1 << 62
cdef int64_t LONGEST = <int64_t>1 << 62         # ns; a longer time is recorded as this


cdef class Histogram:
    """How long things took; `record` costs a few ns."""

    def __dealloc__(self):
        free(self.counts)

    cdef int allocate(self) except -1:
        self.counts = <uint64_t*>calloc(TOTAL, sizeof(uint64_t))    # freed in __dealloc__
        if self.counts == NULL:
            raise MemoryError
        return 0

    cdef int record_at(self, int64_t ns) except -1:
        if ns < 0:
            ns = 0
        elif ns > LONGEST:
            ns = LONGEST
        if self.counts == NULL:
            self.allocate()
        if not self.count or ns < self.least:
            self.least = ns
        if ns > self.most:
            self.most = ns
        self.count += 1
        self.sum_low += <uint64_t>ns
        self.sum_high += self.sum_low < <uint64_t>ns
        self.counts[denoagents_bucket_of(<uint64_t>ns)] += 1
        return 0

    cdef int merge_from(self, Histogram other) except -1:
        cdef int bucket
        if not other.count:
            return 0
        if self.count + other.count > COUNT_LIMIT:
            raise OverflowError("two histograms together hold over 2**62 values")
        if self.counts == NULL:
            self.allocate()
        for bucket in range(TOTAL):
            self.counts[bucket] += other.counts[bucket]
        self.least = min(self.least, other.least) if self.count else other.least
        self.most = max(self.most, other.most)
        self.count += other.count
        self.sum_low += other.sum_low
        self.sum_high += other.sum_high + (self.sum_low < other.sum_low)
        return 0

    def record(self, int64_t ns) -> None:
        self.record_at(ns)

    def merge(self, Histogram other not None) -> None:
        self.merge_from(other)

    def clear(self) -> None:
        if self.counts != NULL:
            memset(self.counts, 0, TOTAL * sizeof(uint64_t))
        self.count = self.sum_low = self.sum_high = 0
        self.least = self.most = 0

    def copy(self) -> Histogram:
        cdef Histogram twin = Histogram()
        twin.merge_from(self)
        return twin

    @property
    def sum_ns(self) -> int:
        return (<object>self.sum_high << 64) + self.sum_low

    @property
    def min_ns(self) -> int:
        return self.least

    @property
    def max_ns(self) -> int:
        return self.most

    @property
    def mean_ns(self) -> float:
        return self.sum_ns / self.count if self.count else 0.0

    def quantile(self, double q) -> int:
        cdef uint64_t rank, seen = 0
        cdef int64_t middle
        cdef int bucket
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"a quantile is 0 to 1, got {q}")
        if not self.count:
            return 0
        rank = <uint64_t>(q * <double>self.count)
        rank += rank < q * <double>self.count   # rounded up
        if rank <= 1:
            return self.least
        if rank >= self.count:
            return self.most
        for bucket in range(TOTAL):
            seen += self.counts[bucket]
            if seen >= rank:
                break
        if bucket == TOTAL - 1:
            return self.most
        middle = <int64_t>denoagents_bucket_floor(bucket)
        middle += (<int64_t>denoagents_bucket_floor(bucket + 1) - 1 - middle) // 2
        return max(self.least, min(self.most, middle))

    def count_at_most(self, int64_t ns) -> int:
        cdef uint64_t seen = 0
        cdef int bucket
        if self.counts == NULL or ns < 0:
            return 0
        for bucket in range(denoagents_bucket_of(<uint64_t>ns) + 1):
            seen += self.counts[bucket]
        return seen

    def to_bytes(self) -> bytes:
        cdef int bucket, former = -1
        out = bytearray([BYTES_VERSION])
        for number in (self.count, self.sum_ns, self.least, self.most):
            put_varint(out, number)
        if self.count:
            for bucket in range(TOTAL):
                if self.counts[bucket]:
                    put_varint(out, bucket - former)
                    put_varint(out, self.counts[bucket])
                    former = bucket
        return bytes(out)

    @staticmethod
    def from_bytes(data) -> Histogram:
        return (<_Reader>_Reader(data)).read()

    def __len__(self) -> int:
        return self.count

    def __eq__(self, other) -> bool:
        return isinstance(other, Histogram) and self.to_bytes() == other.to_bytes()

    __hash__ = None

    def __repr__(self) -> str:
        if not self.count:
            return "<Histogram empty>"
        shown = " ".join(f"p{q * 100:g}={self.quantile(q) / 1e6:.3f}ms" for q in (0.5, 0.95, 0.99))
        return f"<Histogram n={self.count} {shown} max={self.most / 1e6:.3f}ms>"


cdef void put_varint(bytearray out, object number):
    while number > 127:
        out.append((number & 127) | 128)
        number >>= 7
    out.append(number)


cdef class _Reader:
    """Reads one histogram out of foreign bytes."""

    cdef const unsigned char[::1] data
    cdef Py_ssize_t at

    def __cinit__(self, data):
        self.data = memoryview(data).cast("B")

    cdef uint64_t varint(self, uint64_t limit) except? 0xDEAD_BEEF:
        """A number up to `limit`, which is below 2**63."""
        cdef uint64_t number = 0, byte
        cdef int shift = 0
        while True:
            if self.at >= self.data.shape[0] or shift > 56:
                raise ProtocolError("a histogram ends within a number")
            byte = self.data[self.at]
            self.at += 1
            number |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
        if number > limit or (byte == 0 and shift):
            raise ProtocolError("a number in a histogram is out of range")
        return number

    cdef object wide(self):
        """A number up to 2**126, for the sum."""
        number, shift = 0, 0
        for _ in range(18):
            if self.at >= self.data.shape[0]:
                break
            byte = self.data[self.at]
            self.at += 1
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
        raise ProtocolError("the sum in a histogram is out of range")

    cdef Histogram read(self):
        cdef Histogram result = Histogram()
        cdef uint64_t seen = 0, inside
        cdef int bucket = -1, first = -1, distance
        if not self.data.shape[0] or self.data[0] != BYTES_VERSION:
            raise ProtocolError("not a histogram of this version")
        self.at = 1
        result.count = self.varint(COUNT_LIMIT)
        total = self.wide()
        result.least = <int64_t>self.varint(<uint64_t>LONGEST)
        result.most = <int64_t>self.varint(<uint64_t>LONGEST)
        result.allocate()
        while self.at < self.data.shape[0]:
            distance = <int>self.varint(TOTAL)
            inside = self.varint(COUNT_LIMIT)
            bucket += distance
            if distance < 1 or bucket >= TOTAL or not 1 <= inside <= result.count - seen:
                raise ProtocolError("a bucket of a histogram is out of range")
            if first < 0:
                first = bucket
            result.counts[bucket] = inside
            seen += inside
        if not result.count:
            if total or result.least or result.most:
                raise ProtocolError("an empty histogram has a sum")
            return result
        if (
            seen != result.count
            or denoagents_bucket_of(result.least) != first
            or denoagents_bucket_of(result.most) != bucket
            or total < result.count * <object>result.least
            or total > result.count * <object>result.most
        ):
            raise ProtocolError("the numbers of a histogram contradict each other")
        result.sum_low = total & 0xFFFF_FFFF_FFFF_FFFF
        result.sum_high = total >> 64
        return result
