"""What one librarian knows: the index of its share of the corpus, kept in a file.

Rules: a saved index whose sources have changed, or that is cut short or damaged, is read as missing
and written anew; it appears under its name only when it is whole.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from denoagents.loadtest.corpus import Corpus
from denoagents.loadtest.source_index import Definition, ModuleIndex, index_source


class Shelf(msgspec.Struct):
    """Definitions by dotted name and callers by dotted target, of one librarian's files."""

    python: str
    root: str
    files: dict[str, int]
    """Size in bytes of each source file, by its path below `root`."""
    definitions: dict[str, Definition]
    callers: dict[str, list[str]]

    def is_fresh(self) -> bool:
        """Whether this Python's files are still those that were read."""
        try:
            return self.python == sys.version and all(
                Path(self.root, file).stat().st_size == size for file, size in self.files.items()
            )
        except OSError:
            return False

    def called_modules(self) -> list[str]:
        """What stands before the last dot of each called name: enough to know whom to ask."""
        return sorted({target.rpartition(".")[0] for target in self.callers})


def index_share(corpus: Corpus, key: str) -> Iterable[ModuleIndex]:
    """Index one file a step, so that the caller can do other things in between."""
    for source in corpus.shares[key]:
        content = (corpus.root / source.file).read_bytes()
        with contextlib.suppress(SyntaxError, UnicodeDecodeError):
            yield index_source(content, source.module, source.file, source.is_package)


def join_modules(corpus: Corpus, key: str, modules: Iterable[ModuleIndex]) -> Shelf:
    """Put the indexes of one share together."""
    files = {source.file: source.size_bytes for source in corpus.shares[key]}
    shelf = Shelf(sys.version, str(corpus.root), files, {}, {})
    for module in modules:
        shelf.definitions.update(module.definitions)
        for target, names in module.callers.items():
            shelf.callers.setdefault(target, []).extend(names)
    return shelf


def read_shelf(path: Path) -> Shelf | None:
    """The saved shelf, or None when there is none, or it no longer holds; takes a millisecond."""
    try:
        shelf = msgspec.msgpack.decode(path.read_bytes(), type=Shelf)
    except (OSError, msgspec.DecodeError):
        return None
    return shelf if shelf.is_fresh() else None


def write_shelf(path: Path, shelf: Shelf) -> None:
    """Save under a passing name first; a directory that cannot be written only costs time later."""
    passing = path.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        passing.write_bytes(msgspec.msgpack.encode(shelf))
        passing.replace(path)
