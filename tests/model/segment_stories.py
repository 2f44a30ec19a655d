"""Stories of a log and its disk: what was appended, acknowledged, and must be there after."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from denoagents.errors import StoreError, StoreFullError
from denoagents.store.segment_log import Mode, SegmentLog
from denoagents.testing.disk import PowerLostError, SimulatedDisk

FOLDER = "log"


def make_log(disk: SimulatedDisk, mode: Mode = "disk", segment_bytes: int = 700) -> SegmentLog:
    return SegmentLog(FOLDER, mode=mode, segment_bytes=segment_bytes, files=disk, identity=77)


def payload_of(sequence: int, life: int = 0) -> bytes:
    random = Random(sequence * 1000 + life)
    return b"%d:%d:" % (sequence, life) + random.randbytes(random.choice([0, 3, 40, 200]))


@dataclass
class Story:
    """Appends, commits, forgets, until the disk stops it; then reads what is left."""

    disk: SimulatedDisk
    mode: Mode
    random: Random
    kept: dict[int, bytes] = field(default_factory=dict)
    """Records that must be there."""
    maybe: dict[int, set[bytes]] = field(default_factory=dict)
    """Records that may be there: they were handed over."""
    newest: dict[int, bytes] = field(default_factory=dict)
    """What was appended last under each sequence, and not acknowledged yet."""
    forgotten: int = 0
    life: int = 0

    def run(self, steps: int) -> None:
        """Work until the disk stops or the steps are done."""
        log = make_log(self.disk, self.mode)
        try:
            log.open()
            self.check(log)
            for _ in range(steps):
                self.step(log)
        except PowerLostError:
            pass

    def step(self, log: SegmentLog) -> None:
        try:
            choice = self.random.random()
            if choice < 0.6:
                sequence = log.next_sequence
                payload = payload_of(sequence, self.life)
                self.maybe.setdefault(sequence, set()).add(payload)
                self.newest[sequence] = payload
                place = log.append(payload)
                if self.random.random() < 0.3:
                    assert log.read(place) == payload
            elif choice < 0.95:
                self.acknowledge(log.commit())
            else:
                self.forgotten = self.random.randint(
                    self.forgotten, max(self.forgotten, log.next_sequence - 2)
                )
                log.forget(self.forgotten)
        except StoreError:
            if log.failure is None:
                return  # a read that failed
            try:
                last = log.recover()
            except StoreFullError:
                return
            self.acknowledge(last)
            assert last >= max(self.kept, default=0), "what was acknowledged was cut"
            self.life += 1

    def acknowledge(self, last: int) -> None:
        for sequence in [s for s in self.newest if s <= last]:
            self.kept[sequence] = self.newest.pop(sequence)

    def check(self, log: SegmentLog) -> None:
        """After an opening: all that was acknowledged, nothing that never was, no hole."""
        served = dict(log.records())
        sequences = sorted(served)
        assert sequences == list(range(sequences[0], sequences[-1] + 1)) if sequences else True
        for sequence, payload in served.items():
            if sequence in self.kept:
                assert payload == self.kept[sequence], f"record {sequence} is another one"
            assert payload in self.maybe[sequence], f"record {sequence} was never appended"
        if self.mode == "disk":
            missing = [s for s in self.kept if s > self.forgotten and s not in served]
            assert not missing, f"acknowledged records {missing} are gone"
        else:
            self.kept = {s: p for s, p in self.kept.items() if s in served}
        self.kept.update(served)
        self.newest.clear()
        self.maybe = {s: {p} for s, p in served.items()}
        self.life += 1

    def end(self) -> None:
        """The machine comes back once more, and nothing disturbs it."""
        log = make_log(self.disk, self.mode)
        log.open()
        self.check(log)
        log.append(b"after")
        log.commit()
        log.close()
        log = make_log(self.disk, self.mode)
        log.open()
        assert list(log.records())[-1][1] == b"after"
