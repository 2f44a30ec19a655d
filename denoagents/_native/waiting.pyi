from asyncio import AbstractEventLoop
from typing import Any

from denoagents._native.cell import Cell
from denoagents._native.clock import Clock
from denoagents._native.envelope import Accounting, Envelope
from denoagents._native.pulse import Watch
from denoagents._native.runner import Runners
from denoagents._native.spilled import Spilled

def lightness(cell: Cell) -> int: ...

class Waiting(Runners):
    @property
    def books(self) -> Accounting: ...
    guardian: Any
    @property
    def cells(self) -> dict[str, Cell]: ...
    mailbox_limit: int
    mailbox_reserve: int
    queue_limit: int
    disk: Any
    @property
    def queued_bytes(self) -> int: ...
    @property
    def parked_bytes(self) -> int: ...
    @property
    def spilled(self) -> int: ...
    @property
    def choked(self) -> bool: ...
    @property
    def queued(self) -> dict[str, Any]: ...
    def __init__(
        self,
        loop: AbstractEventLoop,
        clock: Clock,
        watch: Watch,
        incarnation: int,
        guardian: Any,
    ) -> None: ...
    def overloaded(self, cell: Cell) -> Exception: ...
    def take_out(self, cell: Cell) -> list[Envelope]: ...
    def read_run(self, cell: Cell, run: Spilled) -> tuple[list[Envelope], int]: ...
    def forget_run(self, run: Spilled) -> None: ...
