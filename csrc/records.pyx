"""Records as bytes: a growing buffer to write them, a cursor that trusts nothing to read them.

Rules: integers are LEB128 varints of at most 64 bits, unless said otherwise. Every length is checked
against what is there before anything is taken or allocated; what is wrong raises `ProtocolError`.
"""

import msgpack
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from denoagents.errors import ProtocolError

cdef Py_ssize_t MAX_CHAIN_BYTES = 64 << 10


cdef class Batch:
    def __dealloc__(self):
        free(self.data)

    cdef int reserve(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t room = self.room
        cdef char* data
        if self.size + more <= room:
            return 0
        room = max(2 * room, self.size + more, 512)
        data = <char*> realloc(self.data, room)
        if data == NULL:
            raise MemoryError
        self.data, self.room = data, room
        return 0

    cdef int put_byte(self, uint8_t value) except -1:
        self.reserve(1)
        self.data[self.size] = <char> value
        self.size += 1
        return 0

    cdef int put_varint(self, uint64_t value) except -1:
        self.reserve(10)
        while value >= 0x80:
            self.data[self.size] = <char> (value | 0x80)
            self.size += 1
            value >>= 7
        self.data[self.size] = <char> value
        self.size += 1
        return 0

    cdef int put_u64(self, uint64_t value) except -1:
        self.reserve(8)
        cdef int i
        for i in range(8):
            self.data[self.size + i] = <char> (value >> (8 * i))
        self.size += 8
        return 0

    cdef int put_bytes(self, object data) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        self.reserve(size)
        memcpy(self.data + self.size, PyBytes_AS_STRING(data), size)
        self.size += size
        return 0

    cdef int put_sized(self, object data) except -1:
        self.put_varint(PyBytes_GET_SIZE(data))
        return self.put_bytes(data)

    cdef bytes take(self):
        """The bytes so far; the buffer is empty afterwards, and small again if it had grown large."""
        cdef bytes body = PyBytes_FromStringAndSize(self.data, self.size)
        self.size = 0
        if self.room > 256 << 10:
            free(self.data)
            self.data, self.room = NULL, 0
        return body


cdef class Cursor:
    cdef int byte(self) except -1:
        if self.at >= self.size:
            raise ProtocolError("a record ends early")
        self.at += 1
        return self.data[self.at - 1]

    cdef uint64_t varint(self) except? 0xFFFFFFFFFFFFFFFF:
        cdef uint64_t value = 0
        cdef int shift = 0, byte
        while True:
            byte = self.byte()
            if shift == 63 and byte > 1:
                raise ProtocolError("a number has more than 64 bits")
            value |= (<uint64_t> (byte & 0x7F)) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ProtocolError("a number has more than 64 bits")

    cdef uint64_t u64(self) except? 0xFFFFFFFFFFFFFFFF:
        cdef uint64_t value = 0
        cdef int i
        if self.size - self.at < 8:
            raise ProtocolError("a record ends early")
        for i in range(8):
            value |= (<uint64_t> self.data[self.at + i]) << (8 * i)
        self.at += 8
        return value

    cdef bytes skip(self, Py_ssize_t size):
        if size < 0 or size > self.size - self.at:
            raise ProtocolError(f"a length says {size} bytes, {self.size - self.at} are there")
        self.at += size
        return PyBytes_FromStringAndSize(<const char*> self.data + self.at - size, size)

    cdef bytes sized(self):
        cdef uint64_t size = self.varint()
        if size > <uint64_t> self.size:
            raise ProtocolError(f"a length says {size} bytes, {self.size - self.at} are there")
        return self.skip(<Py_ssize_t> size)


cpdef str decode_text(bytes data):
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f"a name is not UTF-8: {error}") from None


cpdef dict unpack_map(bytes data):
    """A msgpack map with text keys; anything else is a ProtocolError."""
    try:
        value = msgpack.unpackb(data, strict_map_key=True)
    except Exception as error:
        raise ProtocolError(f"a map cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise ProtocolError("a map was expected")
    return value


cpdef tuple unpack_chain(bytes data):
    """The chain of (address, incarnation, turn number) of an ask."""
    if len(data) > MAX_CHAIN_BYTES:
        raise ProtocolError(f"a chain has {len(data)} bytes, the limit is {MAX_CHAIN_BYTES}")
    try:
        value = msgpack.unpackb(data, use_list=False)
        return tuple([(str(address), int(incarnation), int(number)) for address, incarnation, number in value])
    except Exception as error:
        raise ProtocolError(f"a chain cannot be read: {error}") from None
