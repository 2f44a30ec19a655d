from typing import Any

WANTS_REPLY: int
STREAMS: int
CANCELLED: int
RELIABLE: int
LATE: int
SPILLED: int

class ReplyTo:
    @property
    def number(self) -> int: ...
    deadline_ns: int
    place: Any
    credit: int
    stream: int
    sequence: int
    floor: int
    deaths: int
    letter: Any
    started: bool
    outgoing: Any
    def expire(self) -> Any: ...
    def end(self) -> Any: ...
    def item_payload(self, payload: bytes) -> Any: ...
    def resolve(self, value: Any) -> Any: ...
    def reject(self, error: BaseException) -> Any: ...
    def resolve_payload(self, payload: bytes) -> Any: ...
    def handled(self) -> Any: ...
    def owner_ended(self, is_death: bool) -> Any: ...
    def repeat(self, answer: Any) -> Any: ...

class Envelope:
    method: Any
    arguments: tuple[Any, ...] | None
    payload: bytes | None
    deadline_ns: int
    priority: int
    flags: int
    reply: ReplyTo | None
    caller: Any
    chain: Any
    trace: Any
    attempts: int
    cell: Any
    turn: Any
    @property
    def identity(self) -> tuple[int, int] | None: ...
    @property
    def floor(self) -> int: ...
    def __init__(
        self,
        method: Any,
        arguments: tuple[Any, ...] | None,
        payload: bytes | None,
        deadline_ns: int = 0,
        priority: int = 1,
        flags: int = 0,
        reply: ReplyTo | None = None,
        caller: Any = None,
        chain: Any = None,
        trace: Any = None,
    ) -> None: ...

class Accounting:
    sent: int
    acknowledged: int
    retained: int
    sender_refused: int
    sender_expired: int
    unknown: int
    resent: int
    reliable_sent: int
    reliable_handled: int
    reliable_refused: int
    reliable_expired: int
    reliable_quarantined: int
    reliable_withdrawn: int
    reliable_outstanding: int
    accepted: int
    handled: int
    failed: int
    cancelled: int
    refused: int
    expired: int
    dead_lettered: int
    moved: int
    waiting: int
    running: int
    duplicates: int
    repeats: int
    retried: int
    def sender(self) -> dict[str, int]: ...
    def reliable(self) -> dict[str, int]: ...
    def receiver(self) -> dict[str, int]: ...
