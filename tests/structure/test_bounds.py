"""Every queue, map and buffer that lives on has a bound and an owner: this is their table.

A container that an object keeps (`self.x = {}`, `[]`, `deque()`, `asyncio.Queue()`, a dataclass
field with such a factory, in Python and in csrc) stands here, or the test that reads the sources
fails. The bound says what keeps it from growing for ever; the owner says who takes entries out.
Left out are frozen values (a message is bounded by the decoder's limits) and rooms that run once.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

BOUNDS: dict[tuple[str, str], tuple[str, str]] = {}
"""(file, attribute) -> (bound, who takes entries out)."""

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


def kept_in_python(path: Path) -> set[str]:
    """Attributes of objects (or of the module) that start as an empty container."""
    found = set()
    for scope in ast.walk(ast.parse(path.read_text())):
        if isinstance(scope, ast.ClassDef) and is_frozen(scope):
            continue
        for node in ast.iter_child_nodes(scope):
            if not isinstance(node, ast.Assign | ast.AnnAssign) or not makes_a_container(
                node.value
            ):
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Attribute):
                    found.add(target.attr)
                elif isinstance(target, ast.Name) and isinstance(scope, ast.Module | ast.ClassDef):
                    found.add(target.id)
    return found


NATIVE = re.compile(
    rf"^\s+self\.(\w+)\s*=\s*(?:\{{\}}|\[\]|(?:\w+\.)?(?:{'|'.join(sorted(MAKERS))})\()"
    r"|(?:^|[\s.])(\w+)(?:\[\w+\])? = .*\b(?:malloc|calloc|realloc)\(",
    re.M,
)


def kept_in_native(path: Path) -> set[str]:
    return {first or second for first, second in NATIVE.findall(path.read_text())}


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
    unlisted = kept() - BOUNDS.keys()
    assert not unlisted, "\n".join(["add to BOUNDS:", *map(str, sorted(unlisted))])


def test_the_table_names_only_what_exists():
    missing = [
        f"{file} has no {name}"
        for file, name in BOUNDS
        if not (ROOT / file).exists()
        or not re.search(rf"\b{re.escape(name)}\b", (ROOT / file).read_text())
    ]
    assert not missing


def test_every_bound_and_owner_is_said():
    vague = [key for key, (bound, owner) in BOUNDS.items() if len(bound) < 5 or len(owner) < 3]
    assert not vague


def test_a_planted_queue_is_found(tmp_path):
    path = tmp_path / "x.py"
    path.write_text(
        "import asyncio\nclass X:\n    def __init__(self):\n"
        "        self.waiting = asyncio.Queue()\n        self.by_name: dict[str, int] = {}\n"
        "        found = []\n"
    )
    assert kept_in_python(path) == {"waiting", "by_name"}
    path = tmp_path / "x.pyx"
    path.write_text("cdef class X:\n    def __cinit__(self):\n        self.cells = {}\n")
    assert kept_in_native(path) == {"cells"}
