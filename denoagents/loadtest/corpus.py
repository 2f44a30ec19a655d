"""The demo's input: the source files of this machine's standard library, dealt out to librarians.

Rules: the choice is a pure function of the directory, so every process computes the same table.
Left out by name: site-packages, tests, and the programs that are no library (`LEFT_OUT`).
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LEFT_OUT = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "__pycache__", "lib-dynload", "_bundled"}
    | {"idlelib", "lib2to3", "turtledemo"}
)
"""Directories that are not read: other people's packages, tests, compiled files, whole programs."""

LIBRARIANS = 100
"""How many librarians share the corpus (plan 4.5)."""


@dataclass(frozen=True, slots=True)
class Source:
    """One source file: its module name, and its path relative to the standard library."""

    module: str
    file: str
    is_package: bool
    size_bytes: int


class Corpus:
    """The chosen files, and which librarian keeps which module."""

    def __init__(self, root: Path, sources: Iterable[Source], librarians: int = LIBRARIANS) -> None:
        self.root = root
        self.sources = {source.module: source for source in sources}
        self.librarians = librarians
        self.librarian_keys = [f"shelf-{number:02d}" for number in range(librarians)]
        self.shares: dict[str, list[Source]] = {key: [] for key in self.librarian_keys}
        self._keeper: dict[str, str] = {}
        self._deal()

    def _deal(self) -> None:
        """Give each file, the largest first, to the librarian who has the fewest bytes so far."""
        load = dict.fromkeys(self.shares, 0)
        for source in sorted(self.sources.values(), key=lambda s: (-s.size_bytes, s.module)):
            key = min(load, key=lambda k: (load[k], k))
            load[key] += source.size_bytes + 1  # empty files are spread, too
            self.shares[key].append(source)
            self._keeper[source.module] = key

    def split(self, name: str) -> tuple[str, str] | None:
        """Split a dotted name into the longest module that begins it and the rest, or None."""
        module = name
        while module not in self.sources:
            module, dot, _ = module.rpartition(".")
            if not dot:
                return None
        return module, name[len(module) + 1 :]

    def keeper(self, name: str) -> str | None:
        """Return the key of the librarian who keeps the module of `name`, or None."""
        parts = self.split(name)
        return self._keeper[parts[0]] if parts else None


def module_of(relative: Path) -> tuple[str, bool] | None:
    """Return the module name of a path under the library's root and whether it is a package."""
    parts = relative.with_suffix("").parts
    if not all(part.isidentifier() for part in parts):
        return None
    if parts[-1] == "__init__":
        return (".".join(parts[:-1]), True) if len(parts) > 1 else None
    return ".".join(parts), False


def open_corpus(root: Path | None = None, librarians: int = LIBRARIANS) -> Corpus:
    """List the standard library (or `root`); reads names and sizes, no file's content."""
    root = root or Path(sysconfig.get_path("stdlib"))
    sources = []
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        named = None if LEFT_OUT & set(relative.parts) else module_of(relative)
        if named is not None:
            size_bytes = path.stat().st_size
            sources.append(Source(named[0], relative.as_posix(), named[1], size_bytes))
    return Corpus(root, sources, librarians)
