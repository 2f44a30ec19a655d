"""Every queue, map and buffer that lives on has a bound and an owner.

A container that an object keeps (`self.x = {}`, `[]`, `deque()`, `asyncio.Queue()`, a dataclass
field with such a factory, in Python and in csrc) stands here, or the test that reads the sources
fails. The table is bounds.py: what keeps it from growing for ever, and who takes entries out.
Left out are frozen values (a message is bounded by the decoder's limits) and rooms that run once.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from structure.bounds import BOUNDS

ROOT = Path(__file__).parents[2]

RUN_ONCE = ("denoagents/cli/", "denoagents/config/", "denoagents/loadtest/", "denoagents/testing/")

MAKERS = {
    "dict", "list", "set", "deque", "bytearray", "OrderedDict", "defaultdict", "Counter", "Queue",
    "PriorityQueue", "LifoQueue", "WeakValueDictionary", "WeakKeyDictionary", "WeakSet",
}  # fmt: skip


def makes_a_container(node: ast.AST | None) -> bool:
    if isinstance(node, ast.Dict | ast.List | ast.Set):
        return not (getattr(node, "elts", None) or getattr(node, "keys", None))
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func).rpartition(".")[2]
        if name == "field":
            return any(
                keyword.arg == "default_factory" and ast.unparse(keyword.value) in MAKERS
                for keyword in node.keywords
            )
        return name in MAKERS and not any(isinstance(one, ast.GeneratorExp) for one in node.args)
    return False


def is_frozen(scope: ast.ClassDef) -> bool:
    said = [*scope.keywords, *(k for d in scope.decorator_list for k in getattr(d, "keywords", []))]
    return any(one.arg == "frozen" and ast.unparse(one.value) == "True" for one in said)


def pairs_of(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """(target, value) of an assignment; `a, b = {}, []` makes two."""
    if isinstance(node, ast.AnnAssign):
        yield node.target, node.value
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                yield from zip(target.elts, node.value.elts, strict=False)
            else:
                yield target, node.value


def kept_by(scope: ast.AST) -> set[str]:
    """Attributes of objects (or of the module) that start as an empty container."""
    if isinstance(scope, ast.ClassDef) and is_frozen(scope):
        return set()
    lives_on = isinstance(scope, ast.Module | ast.ClassDef)
    found = set()
    for node in ast.iter_child_nodes(scope):
        for target, value in pairs_of(node):
            if not makes_a_container(value):
                continue
            if isinstance(target, ast.Attribute):
                found.add(target.attr)
            elif isinstance(target, ast.Name) and lives_on:
                found.add(target.id)
    return found


def kept_in_python(path: Path) -> set[str]:
    return set().union(*map(kept_by, ast.walk(ast.parse(path.read_text()))))


def kept_in_native(path: Path) -> set[str]:
    """Lines that begin with `self.` are Python but for casts; memory of C is found by its maker."""
    found = set()
    for line in path.read_text().splitlines():
        if not (text := line.strip()).startswith("self.") or "=" not in text:
            continue
        found |= set(re.findall(r"self\.(\w+) = .*\b(?:malloc|calloc|realloc)\(", text))
        try:
            found |= kept_by(ast.parse(text))
        except SyntaxError:  # a cast, or a statement over several lines
            continue
    return found


def kept() -> set[tuple[str, str]]:
    python = {path: kept_in_python(path) for path in (ROOT / "denoagents").rglob("*.py")}
    native = {path: kept_in_native(path) for path in (ROOT / "csrc").glob("*.pyx")}
    return {
        (path.relative_to(ROOT).as_posix(), name)
        for path, names in (python | native).items()
        for name in names
        if not name.startswith("__") and not path.relative_to(ROOT).as_posix().startswith(RUN_ONCE)
    }


def test_every_container_that_lives_on_has_a_bound_and_an_owner():
    listed = {(file, name) for file, names in BOUNDS.items() for name in names}
    unlisted = kept() - listed
    assert not unlisted, "\n".join(["add to bounds.py:", *map(str, sorted(unlisted))])


def test_the_table_names_only_what_exists():
    missing = [
        f"{file} has no {name}"
        for file, names in BOUNDS.items()
        for name in names
        if not (ROOT / file).exists()
        or not re.search(rf"\b{re.escape(name)}\b", (ROOT / file).read_text())
    ]
    assert not missing


def test_the_owners_exist():
    text = "\n".join((ROOT / file).read_text() for file in BOUNDS if (ROOT / file).exists())
    unknown = [
        f"{file} {name}: {owner}"
        for file, names in BOUNDS.items()
        for name, (_, owner) in names.items()
        for cls, method in re.findall(r"\b([A-Z]\w+)(?:\.(\w+))?", owner)
        if not cls.isupper()
        if not re.search(rf"class {cls}\b", text) or (method and f" {method}(" not in text)
    ]
    assert not unknown


def test_a_planted_queue_is_found(tmp_path):
    path = tmp_path / "x.py"
    path.write_text(
        "import asyncio\nclass X:\n    def __init__(self):\n"
        "        self.waiting = asyncio.Queue()\n        self.by_name: dict[str, int] = {}\n"
        "        found = []\n"
    )
    assert kept_in_python(path) == {"waiting", "by_name"}
    path = tmp_path / "x.pyx"
    path.write_text(
        "cdef class X:\n    def __cinit__(self):\n        self.names, self.cells = [], {}\n"
        "        self.word = <int*> malloc(8)\n"
    )
    assert kept_in_native(path) == {"names", "cells", "word"}
