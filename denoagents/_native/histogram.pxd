from libc.stdint cimport int64_t, uint64_t


cdef class Histogram:
    cdef uint64_t* counts               # one a bucket; NULL until the first; freed in __dealloc__
    cdef readonly uint64_t count        # values recorded
    cdef uint64_t sum_low, sum_high     # their sum in ns, 128 bits
    cdef int64_t least, most            # ns, exact

    cdef int allocate(self) except -1
    cdef int record_at(self, int64_t ns) except -1
    cdef int merge_from(self, Histogram other) except -1
