"""The demo's chats: many conversations at once, each asking questions and reading streamed answers.

Rules: a chat asks, reads the whole answer, thinks, and asks again; answers are compared with the
truth. A question whose librarian died is asked anew, and its time counts from the first asking.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from denoagents._native.clock import Clock
from denoagents._native.histogram import Histogram
from denoagents.errors import DenoagentsError
from denoagents.loadtest.event_loop import together
from denoagents.loadtest.lookup import Desk
from denoagents.loadtest.questions import (
    FAMOUS,
    Draw,
    Population,
    Question,
    expected_text,
)
from denoagents.loadtest.runner import error_code
from denoagents.loadtest.tally import Record
from denoagents.node.node import Node

THINK_S = 3.0
"""Mean time between an answer and the next question; fifty such chats ask some 15 a second."""

CALLERS_SHARE = 0.4
"""Share of questions that several librarians answer together."""

ATTEMPTS = 3
"""How often a question is asked when the outcome is unknown."""

GAP = {"where": " ", "callers": "\n"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question, its answer, and how many librarians spoke."""

    question: str
    answer: str
    librarians: int


class Chats:
    """All chats of one process."""

    def __init__(
        self, node: Node, population: Population, count: int, seed: int, think_s: float = THINK_S
    ) -> None:
        self.record = Record()
        self.first_word = Histogram()
        """From the question to the first piece of the answer, in ns."""
        self.streams = 0
        self.streams_read = 0
        """Asked for, and read to their end."""
        self.pieces = 0
        self.asked_again = 0
        self.busy = 0
        self.exchanges: dict[str, Exchange] = {}
        """What to show: the famous questions, and one more."""
        self._population = population
        self._desk = Desk(node)
        self._clock = Clock()
        self._random = random.Random(seed)
        self._draw = Draw(population, seed)
        self._called_at: dict[str, list[str]] = {}
        self._shown = self._openings()
        self.count = count
        self._think_s = think_s

    async def read_catalogues(self) -> None:
        """Ask each librarian once which modules' names are called in its files."""
        keys = self._population.corpus.librarian_keys
        catalogues = await asyncio.gather(
            *(self._desk.librarian(key, "normal").catalogue() for key in keys)
        )
        for key, modules in zip(keys, catalogues, strict=True):
            for module in modules:
                self._called_at.setdefault(module, []).append(key)

    async def run(self, end_ns: int) -> None:
        """All chats, until `end_ns`; each ends after the answer that it is reading then."""
        others = [None] * (self.count - len(self._shown))
        openings = [*self._shown, *others][: self.count]
        await together(*(self._chat(question, end_ns) for question in openings))

    def _openings(self) -> list[Question]:
        """The first three chats' first questions: the famous ones where this Python has them."""
        names = self._population.names
        known = [question for question in FAMOUS if question.name in names[question.kind]]
        return [*known, Question("callers", names["callers"][0])]

    async def _chat(self, question: Question | None, end_ns: int) -> None:
        await asyncio.sleep(self._random.random() * self._think_s)
        while self._clock.now_ns() < end_ns:
            self.busy += 1
            await self._discuss(question or self._draw.question(1 - CALLERS_SHARE))
            self.busy -= 1
            question = None
            rest_s = (end_ns - self._clock.now_ns()) / 1e9
            await asyncio.sleep(max(0.0, min(rest_s, self._random.expovariate(1 / self._think_s))))

    async def _discuss(self, question: Question) -> None:
        begin_ns, right, error = self._clock.now_ns(), False, ""
        for attempt in range(ATTEMPTS):
            try:
                right, error = await self._ask(question, begin_ns), ""
                break
            except DenoagentsError as failure:
                error = error_code(failure)
                self.asked_again += attempt + 1 < ATTEMPTS
        self.record.add("normal", begin_ns, self._clock.now_ns(), right=right, error=error)

    async def _ask(self, question: Question, begin_ns: int) -> bool:
        """Gather the answer from all who know; True if it is the truth."""
        keys = self._who_knows(question)
        readings = (self._read(key, question, begin_ns) for key in keys)
        pieces = [piece for part in await asyncio.gather(*readings) for piece in part]
        if question.kind == "where":
            right = " ".join(pieces) == expected_text(self._population.truth, question.name)
        else:
            right = sorted(pieces) == sorted(self._population.truth.all_callers(question.name))
        if question in self._shown:
            text = GAP[question.kind].join(pieces)
            self.exchanges[question.text] = Exchange(question.text, text, len(keys))
        return right

    def _who_knows(self, question: Question) -> list[str]:
        if question.kind == "where":
            keeper = self._population.corpus.keeper(question.name)
            return [keeper] if keeper else []
        return self._called_at.get(question.name.rpartition(".")[0], [])

    async def _read(self, key: str, question: Question, begin_ns: int) -> list[str]:
        pieces: list[str] = []
        self.streams += 1
        async for piece in self._desk.librarian(key, "normal").answer(question.text):
            if not pieces:
                self.first_word.record(self._clock.now_ns() - begin_ns)
            pieces.append(piece)
        self.streams_read += 1
        self.pieces += len(pieces)
        return pieces
