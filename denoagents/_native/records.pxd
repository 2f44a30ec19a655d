from libc.stdint cimport uint8_t, uint64_t


cdef class Batch:
    """A growing C buffer of records."""
    cdef char* data                      # malloc'ed here, freed in __dealloc__
    cdef Py_ssize_t size, room

    cdef int reserve(self, Py_ssize_t more) except -1
    cdef int put_byte(self, uint8_t value) except -1
    cdef int put_varint(self, uint64_t value) except -1
    cdef int put_u64(self, uint64_t value) except -1
    cdef int put_bytes(self, object data) except -1
    cdef int put_sized(self, object data) except -1
    cdef bytes take(self)


cdef class Cursor:
    cdef const unsigned char* data       # of the buffer that whoever made the cursor holds
    cdef Py_ssize_t at, size

    cdef uint64_t varint(self) except? 0xFFFFFFFFFFFFFFFF
    cdef uint64_t u64(self) except? 0xFFFFFFFFFFFFFFFF
    cdef int byte(self) except -1
    cdef bytes skip(self, Py_ssize_t size)
    cdef bytes sized(self)


cpdef str decode_text(bytes data)
cpdef dict unpack_map(bytes data)
cpdef tuple unpack_chain(bytes data)
