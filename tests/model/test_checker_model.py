"""The offline checker against runs made by a model: right ones hold, a planted wrong is told."""

import itertools
import tempfile
from pathlib import Path
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from denoagents.testing.checker import check
from denoagents.testing.history import Begin, End, Handle, Invoke, Over, Read, Result

PROMISES = ("plain", "reliable", "durable")


class Model:
    """A fleet that keeps its promises: one owner an actor at a time, who may be killed."""

    def __init__(self, seed, count):
        self.chance = Random(seed)
        self.time = itertools.count(1_000_000, 1_000_000)
        self.files = {"client": [Begin(0, "client", 1)]}
        self.life, self.fence = self.begin("w0", 10), 1
        self.lives = 1
        self.states = {}
        self.sent = {}
        self.again = []
        for _ in range(count):
            self.step()
        for (voice, actor), numbers in self.states.items():
            runs = [(number, number) for number in numbers]
            self.files["client"].append(Read(next(self.time), voice, actor, runs))

    def begin(self, name, pid):
        self.files[name] = [Begin(next(self.time), name, pid)]
        return name

    def step(self):
        if self.chance.random() < 0.1:
            return self.kill()
        promise = self.chance.choice(PROMISES)
        pair = self.chance.choice("vw"), f"{promise}/{self.chance.randrange(3)}"
        number = self.sent[pair] = self.sent.get(pair, 0) + 1
        is_ask = self.chance.random() < 0.5
        self.files["client"].append(Invoke(next(self.time), *pair, number, promise, is_ask))
        if promise == "durable":
            self.states.setdefault(pair, [])
        fate = self.chance.random()
        if fate < 0.1:
            return self.end(pair, number, "fail")
        if fate < 0.15:
            return self.end(pair, number, "unknown")
        self.handle(pair, number, promise)
        self.end(pair, number, "unknown" if fate < 0.25 else "ok")
        if promise == "reliable":
            self.again.append((pair, number, promise))
        return None

    def kill(self):
        pid = 10 + self.lives - 1
        self.files["client"].append(Over(next(self.time), pid))
        self.life, self.fence = self.begin(f"w{self.lives}", pid + 1), self.fence + 1
        self.lives += 1
        last = self.again[-2:]
        self.again.clear()
        for one in last:  # their acknowledgements had not come back: they are sent again
            self.handle(*one)

    def handle(self, pair, number, promise):
        self.files[self.life].append(Handle(next(self.time), *pair, number, self.fence))
        if promise == "durable":
            self.states[pair].append(number)

    def end(self, pair, number, ending):
        self.files["client"].append(Result(next(self.time), *pair, number, ending))

    def verdict(self):
        with tempfile.TemporaryDirectory() as name:
            for writer, lines in self.files.items():
                whole = [*lines, End(next(self.time))]
                text = b"".join(msgspec.json.encode(line) + b"\n" for line in whole)
                (Path(name) / f"{writer}.jsonl").write_bytes(text)
            return check(Path(name))

    # --- what can be planted ----------------------------------------------------------------------

    def turns(self, *promises):
        return [
            (lines, at, line)
            for lines in self.files.values()
            for at, line in enumerate(lines)
            if isinstance(line, Handle) and line.actor.partition("/")[0] in promises
        ]

    def results(self, ending, *promises):
        return [
            line
            for line in self.files["client"]
            if isinstance(line, Result)
            and line.ending == ending
            and line.actor.partition("/")[0] in promises
        ]

    def lose(self):
        """A turn that was acknowledged never took place."""
        acked = {(one.voice, one.actor, one.number) for one in self.results("ok", "reliable")}
        found = [one for *_, one in self.turns("reliable")]
        gone = next((o for o in found if (o.voice, o.actor, o.number) in acked), None)
        if gone is None:
            return None
        which = (gone.voice, gone.actor, gone.number)
        for lines in self.files.values():
            lines[:] = [
                o
                for o in lines
                if not (isinstance(o, Handle) and (o.voice, o.actor, o.number) == which)
            ]
        return "what was acknowledged is there"

    def lose_from_state(self):
        acked = {(one.voice, one.actor, one.number) for one in self.results("ok", "durable")}
        for at, line in enumerate(self.files["client"]):
            if not isinstance(line, Read):
                continue
            kept = [run for run in line.runs if (line.voice, line.actor, run[0]) not in acked]
            if len(kept) < len(line.runs):
                self.files["client"][at] = msgspec.structs.replace(line, runs=kept)
                return "what was acknowledged is there"
        return None

    def double_in_state(self):
        for at, line in enumerate(self.files["client"]):
            if isinstance(line, Read) and line.runs:
                runs = [*line.runs, line.runs[-1]]
                self.files["client"][at] = msgspec.structs.replace(line, runs=runs)
                return "nothing runs twice"
        return None

    def double(self):
        found = self.turns("plain")
        if not found:
            return None
        lines, _, line = found[-1]
        lines.append(msgspec.structs.replace(line, t=line.t + 1))
        return "nothing runs twice"

    def swap(self):
        by_pair = {}
        for lines, at, line in self.turns("plain"):
            by_pair.setdefault((line.voice, line.actor), []).append((lines, at, line))
        for found in by_pair.values():
            if len(found) > 1:
                (ls1, at1, one), (ls2, at2, other) = found[0], found[-1]
                ls1[at1] = msgspec.structs.replace(one, number=other.number)
                ls2[at2] = msgspec.structs.replace(other, number=one.number)
                return "each pair keeps its order"
        return None

    def run_refused(self):
        refused = self.results("fail", *PROMISES)
        if not refused:
            return None
        one = refused[0]
        turn = Handle(one.t + 1, one.voice, one.actor, one.number, 0)
        self.files["w0"].append(turn)
        return "what was refused never ran"

    def wake(self):
        """The first worker goes on after its death."""
        if self.lives < 2:
            return None
        found = self.turns("durable")
        if not found:
            return None
        line = found[-1][2]
        self.files["w0"].append(msgspec.structs.replace(line, t=next(self.time), fence=1))
        return "a life that is over begins nothing"

    def go_back(self):
        found = self.turns("durable")
        if not found or self.fence < 2 or found[-1][2].fence < 2:
            return None
        line = found[-1][2]
        self.files[self.life].append(msgspec.structs.replace(line, t=next(self.time), fence=1))
        return "fences never go back"

    def invent(self):
        self.files["w0"].append(Handle(next(self.time), "v", "plain/0", 99_999, 0))
        return "what ran was sent"


PLANTS = (
    "lose", "lose_from_state", "double_in_state", "double", "swap", "run_refused", "wake",
    "go_back", "invent",
)  # fmt: skip


@given(seed=st.integers(0, 2**32), count=st.integers(0, 120))
def test_a_run_that_keeps_every_promise_holds(seed, count):
    verdict = Model(seed, count).verdict()
    assert verdict.is_good, str(verdict)


@given(seed=st.integers(0, 2**32), count=st.integers(20, 120), plant=st.sampled_from(PLANTS))
def test_one_planted_wrong_is_told_by_its_rule(seed, count, plant):
    model = Model(seed, count)
    rule = getattr(model, plant)()
    verdict = model.verdict()
    assert (rule in verdict.violations) if rule else verdict.is_good, f"{plant}\n{verdict}"


def test_every_kind_of_wrong_can_be_planted():
    planted = {plant for plant in PLANTS for seed in range(20) if getattr(Model(seed, 80), plant)()}
    assert planted == set(PLANTS)
