"""Where external look-ups are put, and their answers checked against the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

from denoagents.actor.reference import options
from denoagents.loadtest.library import Librarian
from denoagents.loadtest.questions import LookUp
from denoagents.loadtest.source_index import Definition
from denoagents.loadtest.truth import Fact
from denoagents.node.node import Node

Priority = Literal["high", "normal", "low"]


class Desk:
    """Keeps one ref for each librarian and priority."""

    def __init__(self, node: Node, timeouts_s: Mapping[str, float] | None = None) -> None:
        self._node = node
        self._timeouts_s = timeouts_s or {}
        self._refs: dict[tuple[str, str], Librarian] = {}

    def librarian(self, key: str, priority: str) -> Librarian:
        ref = self._refs.get((key, priority))
        if ref is None:
            ref = options(
                self._node.actor(Librarian, key),
                priority=cast("Priority", priority),
                timeout_s=self._timeouts_s.get(priority),
            )
            self._refs[key, priority] = ref
        return ref

    async def is_right(self, look_up: LookUp, priority: str) -> bool:
        """Put one look-up and compare its answer with the truth."""
        ref, question = self.librarian(look_up.librarian, priority), look_up.question
        if question.kind == "where":
            return agrees(await ref.where(question.name), look_up.expected)
        return frozenset(await ref.callers(question.name)) == look_up.expected


def agrees(found: Definition | None, fact: object) -> bool:
    """Whether a librarian's definition says what the truth says."""
    return (
        isinstance(fact, Fact)
        and found is not None
        and Fact(found.kind, found.file, found.line, found.summary) == fact
    )
