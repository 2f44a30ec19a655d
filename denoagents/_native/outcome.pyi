from asyncio import AbstractEventLoop
from typing import Any

from denoagents._native.cell import Cell, Turn
from denoagents._native.clock import Clock
from denoagents._native.envelope import Envelope
from denoagents._native.pulse import Watch
from denoagents._native.waiting import Waiting
from denoagents._native.window import Windows

class Outcomes(Waiting):
    @property
    def windows(self) -> Windows: ...
    def __init__(
        self,
        loop: AbstractEventLoop,
        clock: Clock,
        watch: Watch,
        incarnation: int,
        guardian: Any,
    ) -> None: ...
    def cancel(self, envelope: Envelope) -> bool: ...
    def expire(self, envelope: Envelope) -> bool: ...
    def cancel_turn(self, turn: Turn) -> None: ...
    def discard(self, cell: Cell, error: BaseException, has_failed: bool = False) -> int: ...
    def take_waiting(self, cell: Cell) -> list[Envelope]: ...
