from collections.abc import Callable
from typing import final

from denoagents._native.packet import Packet

READABLE: int
CONNECTED: int

def library_candidates() -> list[str]: ...
def library_path() -> str: ...

@final
class Context:
    def __init__(self, io_threads: int = 1, max_sockets: int = 65536) -> None: ...
    @property
    def address(self) -> int: ...
    def close(self) -> None: ...

@final
class Frame: ...

@final
class Socket:
    has_more: bool
    fd: int
    bytes_in: int
    bytes_out: int
    packets_in: int
    packets_out: int
    junk_in: int
    on_input: Callable[[], None] | None
    def __init__(self, context: Context, listens: bool) -> None: ...
    def configure(
        self,
        *,
        max_packet_bytes: int,
        receive_queue: int,
        handshake_ms: int,
        heartbeat_ms: int,
        heartbeat_timeout_ms: int,
        backlog: int,
    ) -> None: ...
    def secure(self, public: bytes, secret: bytes, server: bytes | None = None) -> None: ...
    @property
    def address(self) -> int: ...
    def bind(self, endpoint: str) -> str: ...
    def connect(self, endpoint: str) -> None: ...
    def look(self) -> int: ...
    def send(
        self,
        route: bytes | None,
        kind: int,
        flags: int,
        seq: int,
        ack: int,
        now_ns: int,
        placement_version: int,
        count: int,
        raw_length: int,
        body: bytes,
    ) -> bool: ...
    def send_datagram(self, route: bytes | None, packet: bytes) -> bool: ...
    def receive(self, limit: int = 64) -> list[Packet]: ...
    def close(self, linger_ms: int = 0) -> None: ...
