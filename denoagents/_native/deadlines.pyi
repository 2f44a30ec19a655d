from denoagents._native.envelope import ReplyTo

TICK_S: float

class Deadlines:
    count: int
    def due(self, now_ns: int) -> list[ReplyTo]: ...
    def __len__(self) -> int: ...
