"""Admission of external requests: a token bucket, and before it three queues served 8:4:1.

Rules:
    Pure: time comes in, tickets come out; whoever calls `advance` at `next_wake_ns` loses no token.
    Nobody is dropped silently. At every instant, per priority:
    requested = granted + waiting + expired + cancelled + refused.
    FIFO within a priority; an expired request is never granted; a priority in which somebody waits
    is served at least once in any two rounds of the weights (24 grants to others at most).
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal, NamedTuple

from denoagents._native.bucket import TokenBucket
from denoagents.errors import Overloaded
from denoagents.limits.settings import AdmissionSettings

State = Literal["waiting", "granted", "expired", "cancelled"]
Counts = tuple[int, int, int]


class Ticket:
    """One request's place: what became of it is in `state`."""

    __slots__ = ("deadline_ns", "item", "number", "priority", "state")

    def __init__(self, number: int, priority: int, deadline_ns: int, item: object) -> None:
        self.number = number
        self.priority = priority
        self.deadline_ns = deadline_ns
        self.item = item
        self.state: State = "waiting"

    def __repr__(self) -> str:
        return f"<Ticket {self.number} priority={self.priority} {self.state}>"


class Advance(NamedTuple):
    """What `advance` decided, each list in the order of the decisions."""

    granted: list[Ticket]
    expired: list[Ticket]


@dataclass(frozen=True, slots=True)
class AdmissionStatistics:
    """Exact counts by priority (high, normal, low)."""

    requested: Counts
    granted: Counts
    queued: Counts
    """Of all requested, those that had to wait."""
    expired: Counts
    cancelled: Counts
    refused: Counts
    waiting: Counts
    """Right now."""


class Admission:
    """The edge of a node: grants a request at once, or lets it wait for its turn and its token."""

    def __init__(self, settings: AdmissionSettings, now_ns: int) -> None:
        self.settings = settings
        rate = settings.rate
        self._bucket = rate and TokenBucket(rate.amount, settings.burst, now_ns, per_s=rate.per_s)
        self._queues: tuple[OrderedDict[int, Ticket], ...] = tuple(OrderedDict() for _ in range(3))
        self._deadlines: list[tuple[int, int, Ticket]] = []
        self._turns = list(settings.weights)
        self._number = 0
        self._waiting = 0
        self._token_at_ns = now_ns
        self._requested = [0, 0, 0]
        self._granted = [0, 0, 0]
        self._queued = [0, 0, 0]
        self._expired = [0, 0, 0]
        self._cancelled = [0, 0, 0]
        self._refused = [0, 0, 0]

    def request(self, now_ns: int, priority: int, deadline_ns: int, item: object = None) -> Ticket:
        """Take a place; the ticket comes back granted, expired or waiting.

        Raises:
            Overloaded: `max_waiting` requests wait already; this one was counted as refused.
        """
        self._requested[priority] += 1
        self._number += 1
        ticket = Ticket(self._number, priority, deadline_ns, item)
        if deadline_ns <= now_ns:
            self._end(ticket, "expired", self._expired)
        elif self._bucket is None or (not self._waiting and self._take(now_ns)):
            self._end(ticket, "granted", self._granted)
        elif self._waiting >= self.settings.max_waiting:
            self._refused[priority] += 1
            raise self._overloaded()
        else:
            self._enqueue(ticket)
        return ticket

    def cancel(self, ticket: Ticket) -> bool:
        """Give up a waiting place; False if it was decided already."""
        if ticket.state != "waiting":
            return False
        self._leave(ticket)
        self._end(ticket, "cancelled", self._cancelled)
        return True

    def advance(self, now_ns: int) -> Advance:
        """Expire what is late, then grant as many as there are tokens."""
        expired: list[Ticket] = []
        while self._deadlines and self._deadlines[0][0] <= now_ns:
            ticket = heapq.heappop(self._deadlines)[2]
            if ticket.state == "waiting":
                self._leave(ticket)
                self._end(ticket, "expired", self._expired)
                expired.append(ticket)
        granted: list[Ticket] = []
        while self._waiting and self._take(now_ns):
            ticket = self._next()
            self._end(ticket, "granted", self._granted)
            granted.append(ticket)
        return Advance(granted, expired)

    @property
    def next_wake_ns(self) -> int | None:
        """When `advance` will have something to do; None while nobody waits."""
        if not self._waiting:
            return None
        while self._deadlines[0][2].state != "waiting":
            heapq.heappop(self._deadlines)
        return min(self._token_at_ns, self._deadlines[0][0])

    def statistics(self) -> AdmissionStatistics:
        """The counts so far."""
        return AdmissionStatistics(
            requested=_triple(self._requested),
            granted=_triple(self._granted),
            queued=_triple(self._queued),
            expired=_triple(self._expired),
            cancelled=_triple(self._cancelled),
            refused=_triple(self._refused),
            waiting=_triple([len(queue) for queue in self._queues]),
        )

    def __len__(self) -> int:
        return self._waiting

    def __repr__(self) -> str:
        return f"<Admission {self.settings.rate or 'open'} waiting={self._waiting}>"

    def _take(self, now_ns: int) -> bool:
        wait_ns = self._bucket.take(now_ns) if self._bucket else 0
        self._token_at_ns = now_ns + wait_ns
        return wait_ns == 0

    def _end(self, ticket: Ticket, state: State, counts: list[int]) -> None:
        ticket.state = state
        counts[ticket.priority] += 1

    def _enqueue(self, ticket: Ticket) -> None:
        self._queued[ticket.priority] += 1
        self._waiting += 1
        self._queues[ticket.priority][ticket.number] = ticket
        if len(self._deadlines) > 2 * self._waiting + 64:  # mostly tickets decided long ago
            self._deadlines = [at for at in self._deadlines if at[2].state == "waiting"]
            heapq.heapify(self._deadlines)
        heapq.heappush(self._deadlines, (ticket.deadline_ns, ticket.number, ticket))

    def _leave(self, ticket: Ticket) -> None:
        del self._queues[ticket.priority][ticket.number]
        self._waiting -= 1

    def _next(self) -> Ticket:
        """The first of the queue whose turn it is; a round gives 8, 4 and 1 turns, high first."""
        while True:
            for priority, queue in enumerate(self._queues):
                if queue and self._turns[priority]:
                    self._turns[priority] -= 1
                    ticket = next(iter(queue.values()))
                    self._leave(ticket)
                    return ticket
            self._turns = list(self.settings.weights)

    def _overloaded(self) -> Overloaded:
        rate = self.settings.rate
        seconds = self._waiting / rate.per_second if rate else 0.0
        return Overloaded(
            f"{self._waiting} requests wait for admission already, the limit is "
            f"{self.settings.max_waiting}; try again in {seconds:.0f} s, or raise the rate {rate}",
            retry_after_s=seconds,
        )


def _triple(counts: list[int]) -> Counts:
    high, normal, low = counts
    return high, normal, low
