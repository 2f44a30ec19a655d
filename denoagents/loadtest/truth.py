"""What is true about the standard library, found in one process, without actors or syntax trees.

Definitions and docstrings come from `inspect` on imported modules, callers from compiled code.

Rules, fixed before any answer is seen; what they leave out is never asked:
    A module is imported unless importing it does something (`NOT_IMPORTED`); one that fails to
    import, or comes from another file, gives no definitions.
    A definition is a public function, class, or method of a public class, that is found in its own
    module under its own name, and whose name the module's code makes once; of each module the
    first 8 by checksum.
    A summary counts if its first line stands in the object's own source (no made-up docstrings).
    A called name is asked about if all its parts are public and it has 1 to 40 callers.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import sys
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import msgspec

from denoagents.loadtest.bytecode import callers_by_bytecode
from denoagents.loadtest.child import end_with_parent
from denoagents.loadtest.corpus import Corpus, Source, open_corpus

NOT_IMPORTED = ("this", "antigravity", "__hello__", "__phello__", "distutils", "idlelib")
"""Modules and packages whose import prints, opens a browser, or is replaced by others' tools."""

MOST_CALLERS = 40
"""A name with more callers makes no answer that a person would read."""


MOST_DEFINITIONS = 8
"""Definitions asked about per module: enough variety, and `inspect` takes 2 ms for each."""


class Fact(msgspec.Struct, frozen=True):
    """The truth about one definition."""

    kind: str
    file: str
    line: int
    summary: str


class Truth(msgspec.Struct):
    """All facts that questions are drawn from."""

    definitions: dict[str, Fact]
    callers: dict[str, dict[str, list[str]]]
    """Dotted target -> module -> its callers in that module."""

    def all_callers(self, target: str) -> set[str]:
        """Who calls `target`, in the whole corpus."""
        return {name for names in self.callers[target].values() for name in names}


def is_public(name: str) -> bool:
    """Whether no part of a dotted name is private."""
    return not any(part.startswith("_") for part in name.split("."))


def import_quietly(source: Source, path: Path) -> ModuleType | None:
    """The module, or None when it cannot be imported here or comes from elsewhere."""
    if source.module.split(".")[0] in NOT_IMPORTED or source.module.endswith("__main__"):
        return None
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            module = importlib.import_module(source.module)
    except (Exception, SystemExit):
        return None
    file = getattr(module, "__file__", None)
    return module if file is not None and Path(file) == path else None


def made_once(code: CodeType) -> dict[str, CodeType]:
    """The names that a module's or class's code makes by exactly one `def` or `class`."""
    found: dict[str, list[CodeType]] = {}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found.setdefault(constant.co_name, []).append(constant)
    return {name: codes[0] for name, codes in found.items() if len(codes) == 1}


def own_objects(
    module: ModuleType, code: CodeType, prefix: str = "", owner: type | None = None
) -> Iterator[tuple[str, str, FunctionType | type]]:
    """Qualified name, kind and object of each definition that the rules admit."""
    once = made_once(code)
    for name, value in sorted(vars(owner or module).items()):
        if not is_public(name) or name not in once:
            continue
        if not isinstance(value, FunctionType | type) or value.__module__ != module.__name__:
            continue
        if value.__qualname__ != prefix + name:
            continue
        if isinstance(value, type):
            yield prefix + name, "class", value
            yield from own_objects(module, once[name], f"{prefix}{name}.", value)
        else:
            yield prefix + name, "method" if owner else "function", value


def fact_about(kind: str, thing: FunctionType | type, source: Source, path: Path) -> Fact | None:
    """The fact, or None where `inspect` cannot tell or the docstring is not in the source."""
    if not thing.__doc__:
        return None
    try:
        if inspect.getsourcefile(inspect.unwrap(thing)) != str(path):
            return None
        lines, line = inspect.getsourcelines(thing)
    except (OSError, TypeError):
        return None
    summary = inspect.cleandoc(thing.__doc__).partition("\n\n")[0]
    if not summary or summary.partition("\n")[0] not in "".join(lines):
        return None
    return Fact(kind, source.file, line, summary)


def find_definitions(corpus: Corpus, source: Source) -> dict[str, Fact]:
    """The facts about one module's definitions."""
    if not is_public(source.module):
        return {}
    path = corpus.root / source.file
    module = import_quietly(source, path)
    if module is None:
        return {}
    code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True, optimize=0)
    facts: dict[str, Fact] = {}
    found = sorted(own_objects(module, code), key=lambda entry: zlib.crc32(entry[0].encode()))
    for qualname, kind, thing in found:
        if len(facts) == MOST_DEFINITIONS:
            break
        name = f"{source.module}.{qualname}"
        parts = corpus.split(name)
        if parts is None or parts[0] != source.module:
            continue  # a function named as a submodule
        fact = fact_about(kind, thing, source, path)
        if fact is not None:
            facts[name] = fact
    return facts


def find_truth(corpus: Corpus) -> Truth:
    """Read, import and compile the whole corpus; takes some seconds."""
    definitions: dict[str, Fact] = {}
    callers: dict[str, dict[str, list[str]]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for source in corpus.sources.values():
            definitions.update(find_definitions(corpus, source))
            content = (corpus.root / source.file).read_bytes()
            found = callers_by_bytecode(content, source.module, source.file, source.is_package)
            for target, names in found.items():
                callers.setdefault(target, {})[source.module] = sorted(names)
    asked = {
        target: by_module
        for target, by_module in callers.items()
        if is_public(target) and sum(map(len, by_module.values())) <= MOST_CALLERS
    }
    return Truth(definitions, asked)


def write_truth(path: Path, truth: Truth) -> None:
    """Save for the processes that check answers."""
    path.write_bytes(msgspec.msgpack.encode(truth))


def read_truth(path: Path) -> Truth:
    """Read what `write_truth` saved."""
    return msgspec.msgpack.decode(path.read_bytes(), type=Truth)


def main() -> None:
    """Find the truth in a process of its own: `python -m denoagents.loadtest.truth FILE`."""
    end_with_parent()
    write_truth(Path(sys.argv[1]), find_truth(open_corpus()))


if __name__ == "__main__":
    main()
