"""The demo's app: librarians, each of whom has read its share of Python's standard library.

Run it by hand with `denoagents up denoagents.loadtest.library`; the index files appear in the
directory `library` of the working directory.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from denoagents.actor.actor import Actor
from denoagents.actor.declaration import idempotent
from denoagents.loadtest.corpus import Corpus, open_corpus
from denoagents.loadtest.questions import parse_question
from denoagents.loadtest.shelf import Shelf, index_share, join_modules, read_shelf, write_shelf
from denoagents.loadtest.source_index import Definition

__all__ = ["Librarian", "Stock"]


class Stock(msgspec.Struct, frozen=True):
    """What a librarian has, where it works, and how it got its index."""

    pid: int
    modules: int
    definitions: int
    called_names: int
    is_from_file: bool
    opened_ms: float


class Reading:
    """What the librarians of one process share: the list of files, and one pair of eyes."""

    corpus: Corpus | None = None
    turn = threading.Lock()

    @classmethod
    def index(cls, key: str, path: Path) -> Shelf:
        """Make an index from the sources and save it, one librarian at a time."""
        with cls.turn:
            if cls.corpus is None:
                cls.corpus = open_corpus()
            shelf = join_modules(cls.corpus, key, index_share(cls.corpus, key))
        write_shelf(path, shelf)
        return shelf


class Librarian(Actor):
    """Knows where things are defined, what they do, and who calls them, in its own files."""

    async def on_start(self) -> None:
        """Read the index back, or make it, on a pool thread: others are served meanwhile."""
        begun = time.perf_counter()
        key = self.context.address.rpartition("/")[2]
        path = Path("library") / f"{key}.msgpack"
        saved = read_shelf(path)
        if saved is not None:
            self._shelf = saved
        else:
            self._shelf = await asyncio.to_thread(Reading.index, key, path)
        took_ms = (time.perf_counter() - begun) * 1000
        sizes = (len(self._shelf.files), len(self._shelf.definitions), len(self._shelf.callers))
        self._stock = Stock(os.getpid(), *sizes, saved is not None, took_ms)

    @idempotent
    async def stock(self) -> Stock:
        """Say what is in the index, and where."""
        return self._stock

    @idempotent
    async def where(self, name: str) -> Definition | None:
        """Where `name` is defined, and the first paragraph of its docstring."""
        return self._shelf.definitions.get(name)

    @idempotent
    async def callers(self, name: str) -> list[str]:
        """Who calls `name`, in this librarian's files."""
        return self._shelf.callers.get(name, [])

    @idempotent
    async def catalogue(self) -> list[str]:
        """The modules and classes whose names are called in this librarian's files."""
        return self._shelf.called_modules()

    async def answer(self, question: str) -> AsyncIterator[str]:
        """Answer a question in words: a place and a summary word by word, callers one by one."""
        asked, shelf = parse_question(question), self._shelf
        if asked is None:
            yield "I know only where something is defined, and who calls it."
        elif asked.kind == "callers":
            for caller in shelf.callers.get(asked.name, []):
                yield caller
        elif (found := shelf.definitions.get(asked.name)) is None:
            yield f"{asked.name} is not in my files."
        else:
            yield f"{found.name} is a {found.kind}, defined in {found.file}, line {found.line}."
            for word in found.summary.split():
                yield word

    async def misremember(self, name: str) -> None:
        """Shift a definition by a line, forget a caller: proves that wrong answers are noticed."""
        found = self._shelf.definitions.get(name)
        if found is not None:
            self._shelf.definitions[name] = msgspec.structs.replace(found, line=found.line + 1)
        self._shelf.callers[name] = self._shelf.callers.get(name, [])[1:]
