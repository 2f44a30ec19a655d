"""What one process saw of a run: operations, how they ended, what was handled; a JSON-lines file.

Rules:
    An operation is (voice, actor, number): a *voice* is one ordered sender (a client, at one
    priority), numbers rise from 1 in the order in which that voice sends to that actor.
    Times are of the machine's monotonic clock: files of processes on one machine compare.
    A handler writes its line at once, before its reply can leave: what a killed process has done is
    on record. `checker` judges the files of a folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import msgspec

from denoagents.errors import DenoagentsError, RejectedError, RemoteError, UsageError

Promise = Literal["plain", "reliable", "durable"]
Ending = Literal["ok", "fail", "unknown"]
"""ok: it ran; fail: it certainly did not; unknown: nobody can say."""
BUFFER_BYTES = 64 * 1024


class Record(msgspec.Struct, frozen=True, tag_field="e", tag=str.lower, omit_defaults=True):
    """One line; `t` is when, in ns."""

    t: int


class Begin(Record, frozen=True):
    """The first line of a file: whose it is."""

    writer: str
    pid: int


class End(Record, frozen=True):
    """The last line of a writer that was not killed: all its operations have their ending."""


class Invoke(Record, frozen=True):
    """An operation is about to be sent."""

    voice: str
    actor: str
    number: int
    promise: Promise = "plain"
    is_ask: bool = True


class Result(Record, frozen=True):
    """How it ended, for who sent it; of a tell, `ok` says that it was taken for delivery."""

    voice: str
    actor: str
    number: int
    ending: Ending
    why: str = ""
    """The code of the error."""


class Handle(Record, frozen=True):
    """A turn of `actor` began with this operation, in the process that writes the file."""

    voice: str
    actor: str
    number: int
    fence: int = 0
    """The turn's fence token; 0 when there is none."""


class Read(Record, frozen=True):
    """What the state of a durable actor holds of one voice, in the order of handling."""

    voice: str
    actor: str
    runs: list[tuple[int, int]]
    """Numbers as runs, first and last included: [(1, 40), (42, 50)]."""


class Plan(Record, frozen=True):
    """So many faults of a kind are going to be made."""

    kind: str
    count: int
    seed: int = 0


class Fault(Record, frozen=True):
    """One of them was made."""

    kind: str
    target: str = ""
    lasts_s: float = 0.0


class Over(Record, frozen=True):
    """From now on no turn may begin in what this process was until now: killed or evicted."""

    pid: int
    since: int = 0
    """When it stopped answering, in ns (0: now); recovery counts from there."""


Line = Begin | End | Invoke | Result | Handle | Read | Plan | Fault | Over


class History:
    """Writes one file; not for several threads."""

    def __init__(self, folder: Path, writer: str, *, is_kill_safe: bool = False) -> None:
        """`is_kill_safe`: each line is with the kernel when its method returns; for handlers."""
        folder.mkdir(parents=True, exist_ok=True)
        self.writer = writer
        self.path = folder / f"{writer}-{os.getpid()}-{time.monotonic_ns()}.jsonl"
        self._encoder = msgspec.json.Encoder()
        self._limit = 0 if is_kill_safe else BUFFER_BYTES
        self._buffer = bytearray()
        self._numbers: dict[tuple[str, str], int] = {}
        self._fd = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        self.write(Begin(time.monotonic_ns(), writer, os.getpid()))

    def write(self, record: Line) -> None:
        """Add a line."""
        self._buffer += self._encoder.encode(record) + b"\n"
        if len(self._buffer) > self._limit:
            self.flush()

    def flush(self) -> None:
        """Hand what is buffered to the kernel."""
        if self._buffer:
            os.write(self._fd, self._buffer)
            self._buffer.clear()

    def close(self) -> None:
        """End the file properly: every operation invoked here has its ending."""
        if self._fd >= 0:
            self.write(End(time.monotonic_ns()))
            self.flush()
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what a client writes -------------------------------------------------------------------

    def next_number(self, voice: str, actor: str) -> int:
        """The number of the voice's next operation for that actor."""
        number = self._numbers.get((voice, actor), 0) + 1
        self._numbers[voice, actor] = number
        return number

    def invoke(
        self, voice: str, actor: str, number: int, promise: Promise, *, is_ask: bool
    ) -> None:
        """It is about to be sent."""
        self.write(Invoke(time.monotonic_ns(), voice, actor, number, promise, is_ask))

    def end(self, voice: str, actor: str, number: int, ending: Ending, why: str = "") -> None:
        """It has ended."""
        self.write(Result(time.monotonic_ns(), voice, actor, number, ending, why))

    async def watch(self, voice: str, actor: str, number: int, sending: Awaitable[Any]) -> Any:
        """Await an invoked operation and write how it ends.

        Errors of denoagents end here (the file has them, None is returned); others pass, and so
        does a cancellation, whose ending is unknown.
        """
        try:
            value = await sending
        except DenoagentsError as error:
            self.end(voice, actor, number, ending_of(error), error.code)
            return None
        except BaseException as error:
            self.end(voice, actor, number, "unknown", type(error).__name__)
            raise
        self.end(voice, actor, number, "ok")
        return value

    # --- what a handler writes ------------------------------------------------------------------

    def handle(self, voice: str, actor: str, number: int, fence: int = 0) -> None:
        """A turn began with this operation."""
        self.write(Handle(time.monotonic_ns(), voice, actor, number, fence))

    # --- what the test writes -------------------------------------------------------------------

    def read(self, voice: str, actor: str, runs: Sequence[tuple[int, int]]) -> None:
        """What a durable actor's state holds of that voice at the end."""
        self.write(Read(time.monotonic_ns(), voice, actor, list(runs)))

    def plan(self, kind: str, count: int, seed: int = 0) -> None:
        """So many faults of that kind will be made."""
        self.write(Plan(time.monotonic_ns(), kind, count, seed))

    def fault(self, kind: str, target: str = "", lasts_s: float = 0.0) -> None:
        """One was made, just now."""
        self.write(Fault(time.monotonic_ns(), kind, target, lasts_s))

    def over(self, pid: int, since_ns: int = 0) -> None:
        """What this process was until now must begin no turn any more."""
        self.write(Over(time.monotonic_ns(), pid, since_ns))


def ending_of(error: DenoagentsError) -> Ending:
    """What an error says about whether the operation ran; a handler's own error says that it did.

    >>> ending_of(RejectedError("no")), ending_of(RemoteError("ValueError"))
    ('fail', 'ok')
    """
    if isinstance(error, RemoteError):
        return "ok"
    return "fail" if isinstance(error, RejectedError | UsageError) else "unknown"


def add_to_runs(runs: list[tuple[int, int]], number: int) -> None:
    """Note one more handled number: a run grows, or another begins; nothing is dropped or sorted.

    >>> runs = [(1, 2)]
    >>> for number in (3, 5, 5): add_to_runs(runs, number)
    >>> runs
    [(1, 3), (5, 5), (5, 5)]
    """
    if runs and runs[-1][1] + 1 == number:
        runs[-1] = (runs[-1][0], number)
    else:
        runs.append((number, number))


def numbers_of(runs: Iterable[tuple[int, int]]) -> list[int]:
    """Runs as numbers, in their order."""
    return [number for first, last in runs for number in range(first, last + 1)]


class Torn(msgspec.Struct, frozen=True):
    """A line that cannot be read; `is_last` when it is where a killed writer stopped."""

    text: bytes
    is_last: bool


_decoder = msgspec.json.Decoder(Line)


def read_file(path: Path) -> Iterable[Line | Torn]:
    """The lines of one file, in order."""
    with path.open("rb") as file:
        for line in file:
            try:
                yield _decoder.decode(line)
            except msgspec.MsgspecError:
                yield Torn(line[:80], is_last=not line.endswith(b"\n"))
