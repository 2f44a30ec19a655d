"""The histories of one run, read and put in order: by pair of voice and actor, and by actor."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from denoagents.testing.history import (
    Begin,
    End,
    Fault,
    Handle,
    Invoke,
    Over,
    Plan,
    Read,
    Result,
    Torn,
    numbers_of,
    read_file,
)


@dataclass(slots=True)
class Life:
    """One process from its start to its end: the writer of one file."""

    name: str
    pid: int = 0
    began_ns: int = 0
    over_ns: int = 0
    """When it was killed or evicted; 0 when it was not."""
    since_ns: int = 0
    """When it stopped answering."""
    is_ended: bool = False
    """Its file has its last line."""


@dataclass(slots=True)
class Operation:
    """One message, as its sender saw it."""

    at_ns: int
    promise: str
    is_ask: bool
    life: Life
    ending: str = ""
    why: str = ""
    ended_ns: int = 0
    turns: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """One time that a message was handled."""

    at_ns: int
    number: int
    fence: int
    life: Life


@dataclass(slots=True)
class Pair:
    """What one voice sent one actor."""

    voice: str
    actor: str
    operations: dict[int, Operation] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)
    state: list[int] | None = None
    """The numbers that the actor's state holds, in order; None when it was not read."""

    def __str__(self) -> str:
        return f"{self.voice} -> {self.actor}"


class RunRecord:
    """All files of a folder."""

    def __init__(self) -> None:
        self.pairs: dict[tuple[str, str], Pair] = {}
        self.lives: list[Life] = []
        self.overs: list[Over] = []
        self.planned: Counter[str] = Counter()
        self.executed: Counter[str] = Counter()
        self.seeds: list[int] = []
        self.damage: list[str] = []
        """What is wrong with the files themselves."""
        self.torn = 0

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Read every `*.jsonl` of a folder."""
        record = cls()
        for path in sorted(folder.glob("*.jsonl")):
            record._read_file(path)
        record._bury()
        for pair in record.pairs.values():
            pair.turns.sort(key=lambda turn: turn.at_ns)
        return record

    def pair(self, voice: str, actor: str) -> Pair:
        """The pair's record."""
        found = self.pairs.get((voice, actor))
        if found is None:
            found = self.pairs[voice, actor] = Pair(voice, actor)
        return found

    def by_actor(self) -> dict[str, list[Turn]]:
        """Each actor's turns, in the order of time."""
        turns: dict[str, list[Turn]] = defaultdict(list)
        for pair in self.pairs.values():
            turns[pair.actor] += pair.turns
        for one in turns.values():
            one.sort(key=lambda turn: turn.at_ns)
        return turns

    def _read_file(self, path: Path) -> None:  # noqa: C901 - a line for each kind of line
        life = Life(path.stem)
        self.lives.append(life)
        for line in read_file(path):
            match line:
                case Handle():
                    turn = Turn(line.t, line.number, line.fence, life)
                    self.pair(line.voice, line.actor).turns.append(turn)
                case Invoke():
                    self._invoke(line, life)
                case Result():
                    self._end(line, path)
                case Begin():
                    life.name, life.pid, life.began_ns = path.stem, line.pid, line.t
                case End():
                    life.is_ended = True
                case Read():
                    self.pair(line.voice, line.actor).state = numbers_of(line.runs)
                case Plan():
                    self.planned[line.kind] += line.count
                    self.seeds = sorted({*self.seeds, line.seed})
                case Fault():
                    self.executed[line.kind] += 1
                case Over():
                    self.overs.append(line)
                case Torn(is_last=True):
                    self.torn += 1
                case Torn():
                    self.damage.append(f"{path.name} has a line that cannot be read: {line.text!r}")

    def _invoke(self, line: Invoke, life: Life) -> None:
        operations = self.pair(line.voice, line.actor).operations
        if line.number in operations:
            self.damage.append(f"{line.voice} -> {line.actor} sent its number {line.number} twice")
            return
        operations[line.number] = Operation(line.t, line.promise, line.is_ask, life)

    def _end(self, line: Result, path: Path) -> None:
        pair = self.pair(line.voice, line.actor)
        operation = pair.operations.get(line.number)
        if operation is None:
            self.damage.append(f"{path.name} ends {pair} {line.number}, which was never sent")
        elif operation.ending:
            self.damage.append(
                f"{pair} {line.number} ended as {operation.ending}, and then as {line.ending}"
            )
        else:
            operation.ending, operation.why = line.ending, line.why
            operation.ended_ns = line.t

    def _bury(self) -> None:
        """Each life that was over: by its process and its time."""
        for over in self.overs:
            for life in self.lives:
                if life.pid == over.pid and life.began_ns < over.t and not life.over_ns:
                    life.over_ns, life.since_ns = over.t, over.since or over.t
