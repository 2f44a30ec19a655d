from typing import final

@final
class Packet:
    route: bytes | None
    user: str | None
    fd: int
    body: bytes | memoryview
    kind: int
    version: int
    flags: int
    seq: int
    ack: int
    now_ns: int
    placement_version: int
    count: int
    raw_length: int

def encode(
    kind: int,
    flags: int = 0,
    seq: int = 0,
    ack: int = 0,
    now_ns: int = 0,
    placement_version: int = 0,
    count: int = 0,
    raw_length: int = 0,
    body: bytes = b"",
) -> bytes: ...
def decode(frame: bytes, route: bytes | None = None, strict: bool = True) -> Packet: ...
