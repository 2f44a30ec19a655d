"""The cells that have work, in the order in which they are served: 8:4:1 by priority.

Rules: a cell is ready by one priority, the best that waits in it; one that moves to a better queue
stands in the old one in vain, and is passed over there. It stands at most once in each.
"""

from collections import deque

from libc.stdint cimport uint8_t

from denoagents._native.cell cimport Cell


cdef class Ready:
    """Three queues of cells."""

    def __cinit__(self):
        self.high, self.normal, self.low = deque(), deque(), deque()

    cdef int add(self, Cell cell, int priority) except -1:
        """Let `cell` be served by `priority`."""
        cdef uint8_t bit = <uint8_t> (1 << priority)
        cell.queued = <uint8_t> (priority + 1)
        if cell.stands & bit:
            return 0
        cell.stands |= bit
        if priority == 1:
            self.normal.append(cell)
        elif priority == 0:
            self.high.append(cell)
        else:
            self.low.append(cell)
        return 0

    cdef bint some(self) noexcept:
        """Whether a cell may be ready."""
        return len(self.normal) > 0 or len(self.high) > 0 or len(self.low) > 0

    cdef Cell pop(self):
        """The next cell, or None."""
        cdef Cell cell = None
        cdef int _round
        for _round in range(2):
            while self.round_left < 13:
                self.round_left += 1
                if self.round_left <= 8:
                    cell = self.pop_from(self.high, 0)
                    if cell is None:
                        self.round_left = 8
                elif self.round_left <= 12:
                    cell = self.pop_from(self.normal, 1)
                    if cell is None:
                        self.round_left = 12
                else:
                    cell = self.pop_from(self.low, 2)
                if cell is not None:
                    return cell
            self.round_left = 0
        return None

    cdef Cell pop_from(self, object queue, int priority):
        cdef Cell cell
        while queue:
            cell = <Cell> queue.popleft()
            cell.stands &= <uint8_t> ~(1 << priority)
            if cell.queued == priority + 1:
                return cell
        return None
