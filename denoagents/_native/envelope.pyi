from typing import Any

WANTS_REPLY: int
STREAMS: int
CANCELLED: int

class ReplyTo:
    @property
    def number(self) -> int: ...
    deadline_ns: int
    place: Any
    credit: int
    def expire(self) -> Any: ...
    def end(self) -> Any: ...
    def item_payload(self, payload: bytes) -> Any: ...
    def resolve(self, value: Any) -> Any: ...
    def reject(self, error: BaseException) -> Any: ...
    def resolve_payload(self, payload: bytes) -> Any: ...

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
    cell: Any
    turn: Any
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
    def sender(self) -> dict[str, int]: ...
    def receiver(self) -> dict[str, int]: ...
