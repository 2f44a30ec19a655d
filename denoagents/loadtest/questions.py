"""What the demo asks: questions in words, look-ups, and how often each name is drawn.

Rules: everything is drawn from a seed and from the truth alone; a few names are asked far more
often than the rest (Zipf's law), as in real traffic.
"""

from __future__ import annotations

import bisect
import itertools
import random
import re
from dataclasses import dataclass
from typing import Literal

from denoagents.loadtest.corpus import Corpus
from denoagents.loadtest.truth import Truth

ZIPF_EXPONENT = 1.1
"""The share of rank r falls as r to this power; 1.0–1.2 is what caches and libraries see."""

WHERE_SHARE = 0.7
"""Share of look-ups that ask where something is defined; the others ask who calls it."""

Kind = Literal["where", "callers"]
TEMPLATES: dict[Kind, str] = {
    "where": "where is {} defined, and what does it do?",
    "callers": "who calls {}?",
}
PATTERNS: dict[Kind, re.Pattern[str]] = {
    kind: re.compile(re.escape(text).replace(r"\{\}", r"([\w.]+)"))
    for kind, text in TEMPLATES.items()
}


@dataclass(frozen=True, slots=True)
class Question:
    """One question about one dotted name."""

    kind: Kind
    name: str

    @property
    def text(self) -> str:
        return TEMPLATES[self.kind].format(self.name)


FAMOUS = (Question("where", "heapq.merge"), Question("callers", "os.replace"))
"""Asked by the first chats, so that printed answers are ones a reader can judge."""


def parse_question(text: str) -> Question | None:
    """The question that a text means, or None."""
    for kind, pattern in PATTERNS.items():
        match = pattern.fullmatch(text.strip())
        if match:
            return Question(kind, match.group(1))
    return None


@dataclass(frozen=True, slots=True)
class LookUp:
    """A question for one librarian, with the true answer."""

    question: Question
    librarian: str
    expected: object


class ZipfDraw:
    """Draws from a list whose first entries are the popular ones."""

    def __init__(self, count: int, random_source: random.Random) -> None:
        weights = (1 / rank**ZIPF_EXPONENT for rank in range(1, count + 1))
        self._cumulative = list(itertools.accumulate(weights))
        self._random = random_source

    def __call__(self) -> int:
        point = self._random.random() * self._cumulative[-1]
        return min(bisect.bisect(self._cumulative, point), len(self._cumulative) - 1)


class Population:
    """All questions that can be asked, in an order that is the same for every process."""

    def __init__(self, truth: Truth, corpus: Corpus, seed: int) -> None:
        self.truth, self.corpus = truth, corpus
        order = random.Random(seed)
        self.names: dict[Kind, list[str]] = {
            "where": sorted(truth.definitions),
            "callers": sorted(truth.callers),
        }
        for names in self.names.values():
            order.shuffle(names)

    def callers_at(self, target: str) -> dict[str, list[str]]:
        """The true callers of a name, by the librarian who keeps the calling module."""
        found: dict[str, list[str]] = {}
        for module, names in self.truth.callers[target].items():
            key = self.corpus.keeper(module)
            assert key is not None
            found.setdefault(key, []).extend(names)
        return found

    def look_up(self, question: Question, random_source: random.Random) -> LookUp:
        """The question put to the one librarian who must know, or to one of several."""
        if question.kind == "where":
            key = self.corpus.keeper(question.name)
            assert key is not None
            return LookUp(question, key, self.truth.definitions[question.name])
        by_librarian = self.callers_at(question.name)
        key = random_source.choice(sorted(by_librarian))
        return LookUp(question, key, frozenset(by_librarian[key]))


class Draw:
    """An endless supply of questions for one process, from its own seed."""

    def __init__(self, population: Population, seed: int) -> None:
        self.population = population
        self.random = random.Random(seed)
        self._draw: dict[Kind, ZipfDraw] = {
            kind: ZipfDraw(len(names), self.random) for kind, names in population.names.items()
        }

    def question(self, where_share: float = WHERE_SHARE) -> Question:
        kind: Kind = "where" if self.random.random() < where_share else "callers"
        return Question(kind, self.population.names[kind][self._draw[kind]()])

    def look_up(self) -> LookUp:
        return self.population.look_up(self.question(), self.random)


def expected_text(truth: Truth, name: str) -> str:
    """The whole answer to "where is … defined", as the truth has it."""
    fact = truth.definitions[name]
    place = f"{name} is a {fact.kind}, defined in {fact.file}, line {fact.line}."
    return " ".join(f"{place} {fact.summary}".split())
