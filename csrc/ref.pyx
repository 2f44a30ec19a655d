"""What a user holds of an actor: its address, and how its requests are to be sent."""

cimport cython
from libc.stdint cimport int64_t

from denoagents._native.cell cimport STOPPED, Cell
from denoagents._native.router cimport Destination, Router, SlotTable, split

from denoagents.errors import UnknownMethodError


cdef class Ref:
    """Stands for an actor wherever it lives; its methods make calls."""

    def __init__(
        self, Router router not None, str address not None, type=None,
        int64_t timeout_ns=0, int priority=-1, chooser=None, int reliable=-1,
    ):
        self.router, self.address, self.type = router, address, type
        self.timeout_ns, self.priority, self.chooser = timeout_ns, priority, chooser
        self.reliable = reliable
        self.type_name, key, self.pinned = split(address)
        self.slot = router.slot_of(self.type_name, key)
        self.is_child = address.count("/") > 1

    cdef Destination route(self):
        cdef SlotTable table
        if self.pinned is None:
            table = <SlotTable> self.router.tables.get(self.type_name)
            if table is not None:
                return <Destination> table.owners[self.slot]
        return self.router.route(self.type_name, self.slot, self.pinned)

    cdef Cell local(self):
        if self.cell is None or self.cell.state == STOPPED:
            self.cell = self.router.local_cell(self.address)
        return self.cell

    def with_options(self, timeout_ns=None, priority=None, reliable=None):
        """A ref whose requests have another timeout or priority, or are reliable (2, 3: kept in the journal)."""
        return type(self)(
            self.router, self.address, self.type,
            self.timeout_ns if timeout_ns is None else timeout_ns,
            self.priority if priority is None else priority,
            self.chooser,
            self.reliable if reliable is None else int(reliable),
        )

    def __getattr__(self, name):
        if name.startswith("__") or self.type is None:
            raise AttributeError(name)
        self.type.method(name)
        raise UnknownMethodError(f"{self.type_name} has no method {name!r}")

    def __eq__(self, other):
        return isinstance(other, Ref) and (<Ref> other).address == self.address

    def __hash__(self):
        return hash(self.address)

    def __reduce__(self):
        raise TypeError("a ref cannot be pickled; pass it as an argument, or send its address")

    def __repr__(self):
        return f"<Ref {self.address}>"


@cython.freelist(64)
cdef class Target:
    """A method of one actor."""

    @property
    def router(self):
        return self.ref.router

    @property
    def address(self) -> str:
        return self.ref.address

    @property
    def priority(self) -> int:
        return self.ref.priority

    @property
    def timeout_ns(self) -> int:
        return self.ref.timeout_ns

    def __repr__(self):
        return f"<{type(self).__name__} {self.ref.address}.{self.method.name}>"
