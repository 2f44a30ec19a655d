"""Weighted rendezvous: gives each of 4096 slots its owner, alike on every platform.

Each member draws a 64-bit number for each slot; the slot belongs to the member with the least
-log2(draw / 2**64) / weight (Schindelhauer, Schomaker, "Weighted distributed hash tables", 2005).
Rules: integers only, since floating-point logarithms differ between C libraries; the result depends
on names and weights, not on their order; a change of one member moves only what it wins or loses.
"""

from cpython cimport array
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint16_t, uint64_t
from libc.stdlib cimport free, malloc
import array

cdef extern from *:
    """
    #include <stdint.h>
    #define DENOAGENTS_LOG_BITS 10
    #define DENOAGENTS_LOG_ONE (1ULL << 40)

    /* log2(1 + i/1024), 40 bits after the point: by squaring, exact to the last bit or two. */
    static void denoagents_fill_logs(uint64_t *table) {
        int i, bit;
        for (i = 0; i <= (1 << DENOAGENTS_LOG_BITS); i++) {
            unsigned __int128 x = ((unsigned __int128)((1 << DENOAGENTS_LOG_BITS) + i)) << 52;
            uint64_t result = 0;
            if (i == (1 << DENOAGENTS_LOG_BITS)) { table[i] = DENOAGENTS_LOG_ONE; break; }
            for (bit = 39; bit >= 0; bit--) {
                x = ((x >> 1) * (x >> 1)) >> 60;          /* 62 bits after the point, below 4 */
                if (x >> 63) { result |= 1ULL << bit; x >>= 1; }
            }
            table[i] = result;
        }
    }

    /* -log2((draw + 1) / 2**64), 40 bits after the point, at least 1; between entries a line. */
    static inline uint64_t denoagents_minus_log(const uint64_t *table, uint64_t draw) {
        int zeros;
        uint64_t mantissa, low, rest, log;
        if (draw == UINT64_MAX) return 1;
        zeros = __builtin_clzll(draw + 1);
        mantissa = (draw + 1) << zeros << 1;             /* the bits after the leading one */
        low = mantissa >> (64 - DENOAGENTS_LOG_BITS);
        rest = (mantissa << DENOAGENTS_LOG_BITS) >> 40;   /* 24 bits */
        log = table[low] + (((table[low + 1] - table[low]) * rest) >> 24);
        log = (uint64_t)(zeros + 1) * DENOAGENTS_LOG_ONE - log;
        return log ? log : 1;
    }

    /* The finalizer of splitmix64: every bit of the value reaches every bit of the result. */
    static inline uint64_t denoagents_mix(uint64_t value) {
        value += 0x9E3779B97F4A7C15ULL;
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL;
        return value ^ (value >> 31);
    }

    /* FNV-1a over the bytes, mixed. */
    static uint64_t denoagents_seed(const char *name, size_t size) {
        uint64_t hash = 0xCBF29CE484222325ULL;
        size_t i;
        for (i = 0; i < size; i++) hash = (hash ^ (unsigned char)name[i]) * 0x100000001B3ULL;
        return denoagents_mix(hash);
    }
    """
    void denoagents_fill_logs(uint64_t* table) noexcept nogil
    uint64_t denoagents_minus_log(const uint64_t* table, uint64_t draw) noexcept nogil
    uint64_t denoagents_mix(uint64_t value) noexcept nogil
    uint64_t denoagents_seed(const char* name, size_t size) noexcept nogil

SLOTS = 4096
NO_OWNER = 0xFFFF
MAX_WEIGHT = 0xFFFF
MAX_MEMBERS = 0xFFFE

cdef uint64_t[1025] LOGS
denoagents_fill_logs(LOGS)

cdef array.array OWNERS = array.array("H")


def mix(uint64_t value) -> int:
    """Scatter a 64-bit number over all 64 bits, reversibly."""
    return denoagents_mix(value)


def minus_log2(uint64_t draw) -> int:
    """-log2((draw + 1) / 2**64) with 40 bits after the point, at least 1."""
    return denoagents_minus_log(LOGS, draw)


cdef void choose(
    int count, const uint64_t* seeds, const uint64_t* weights, uint16_t* owners
) noexcept nogil:
    """Write the owner of every slot; members come in the order of names, the first wins a tie."""
    cdef int slot, member, best
    cdef uint64_t place, cost, best_cost
    for slot in range(4096):
        place = denoagents_mix(slot)
        best = -1
        best_cost = 0
        for member in range(count):
            cost = denoagents_minus_log(LOGS, denoagents_mix(seeds[member] ^ place))
            # Costs are below 2**47 and weights below 2**16: the products fit.
            if best < 0 or cost * weights[best] < best_cost * weights[member]:
                best = member
                best_cost = cost
        owners[slot] = <uint16_t>best


def assign(list names, list weights) -> array.array:
    """The owner of each slot as an index into `names` (NO_OWNER if nobody has a weight above 0)."""
    cdef int i, count
    cdef bytes name
    cdef uint64_t* numbers
    cdef uint16_t* owners
    cdef array.array table = array.clone(OWNERS, 4096, False)
    if len(names) != len(weights):
        raise ValueError(f"{len(names)} names but {len(weights)} weights")
    if len(set(names)) != len(names):
        raise ValueError("two members have the same name")
    for weight in weights:
        if not 0 <= weight <= MAX_WEIGHT:
            raise ValueError(f"a weight must be 0 to {MAX_WEIGHT}, got {weight}")
    members = sorted((names[i], i) for i in range(len(names)) if weights[i])
    count = len(members)
    if count > MAX_MEMBERS:
        raise ValueError(f"a group has at most {MAX_MEMBERS} members, got {count}")
    owners = table.data.as_ushorts
    if not count:
        for i in range(4096):
            owners[i] = 0xFFFF
        return table
    numbers = <uint64_t*>malloc(2 * count * sizeof(uint64_t))   # freed below
    if numbers == NULL:
        raise MemoryError
    try:
        for i in range(count):
            name = members[i][0]
            numbers[i] = denoagents_seed(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
            numbers[count + i] = weights[members[i][1]]
        with nogil:
            choose(count, numbers, numbers + count, owners)
    finally:
        free(numbers)
    for i in range(4096):
        owners[i] = members[owners[i]][1]
    return table
