"""The architecture: each room has its floor, and no import points up, sideways or around.

A room is a folder or a file of denoagents/. It imports only from rooms on floors below its own;
typing-only imports and imports inside functions count. Needs that point upward go through a
`Protocol` declared below and handed in by constructor. On the ground words build on words, and at
the roof commands on configuration: a room there may import those that the table names first.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "denoagents"

FLOORS = {
    1: "ground: words that everyone shares",
    2: "mechanisms: small parts that take numbers, not settings",
    3: "cores: one responsibility each; they know nothing of one another",
    4: "process: the only place where the cores meet",
    5: "fleet: many nodes",
    6: "doors: how work comes in",
    7: "roof: where a person types",
}

ROOMS = {
    "errors": (1, "every error: whose fault it was, and what can be done"),
    "units": (1, "amounts with their unit: bytes, rates, durations, as people write them"),
    "_native": (1, "the compiled parts; given the time, but for clock, socket and pulse"),
    "clock": (1, "the one source of time, real or virtual"),
    "address": (1, "names of actors, and the slot that each belongs to"),
    "envelope": (1, "what travels with a message"),
    "durability": (1, "what outlives a process, and what a store promises to keep"),
    "metrics": (2, "counting: histograms that merge"),
    "limits": (2, "who may go now: token bucket, priorities, admission"),
    "security": (2, "who may talk to whom"),
    "actor": (3, "declaration, mailbox, turns, supervision: one actor's life"),
    "link": (3, "sessions between two processes: nothing lost, nothing twice, in order"),
    "cluster": (3, "members, placement, death and hand-over, as pure state machines"),
    "store": (3, "what survives the process"),
    "execution": (3, "work beside the loop: threads and processes"),
    "cache": (3, "answers kept for later"),
    "provider": (3, "models behind HTTP, and their quota"),
    "governor": (3, "a process within its CPU and memory allowance"),
    "monitoring": (3, "what operators see: metrics, traces, events"),
    "node": (4, "wires the cores into one running process"),
    "agent": (5, "an actor with a model, instructions, tools and a conversation"),
    "broker": (5, "the control plane: admits, places, watches; never on the message path"),
    "testing": (6, "the kit that users and we test with: a whole fleet, simulated"),
    "gateway": (6, "the fleet behind HTTP"),
    "loadtest": (6, "workloads, and the one open-loop runner that measures them"),
    "config": (7, "the plan's keys, mapped to every room's settings"),
    "cli": (7, "the commands, a file each"),
    "__main__": (8, "python -m denoagents"),
    "__init__": (8, "the public names, imported when first used; nothing below imports it"),
}

ORDERED = {1, 7}
"""Floors on which a room may import those named before it."""

EXCEPTIONS: dict[tuple[str, str], str] = {}
"""(importing module, imported module) -> why that import may stand against the rules."""

LAZY = {"__init__", "__main__", "cli", "testing"}
"""Rooms that may import inside functions: they must be quick to start."""


class Import(NamedTuple):
    """One import statement's target, as a module of ours."""

    source: str
    target: str
    line: int
    is_lazy: bool

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
NATIVE = {f"denoagents._native.{path.stem}" for path in (ROOT / "csrc").glob("*.pyx")}
MODULES = SOURCES.keys() | NATIVE


def targets_of(node: ast.AST, module: str, path: Path) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            here = module.split(".")
            here = here[: len(here) - node.level + (path.name == "__init__.py")]
            base = ".".join([*here, *([base] if base else [])])
        for alias in node.names:
            submodule = f"{base}.{alias.name}"
            yield submodule if submodule in MODULES else base


def imports_of(module: str, path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(), str(path))
    lazy = {
        inner
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        for target in targets_of(node, module, path):
            if target.split(".")[0] == "denoagents":
                yield Import(module, target, getattr(node, "lineno", 0), node in lazy)


IMPORTS = [
    one
    for module, path in SOURCES.items()
    for one in imports_of(module, path)
    if (one.source, one.target) not in EXCEPTIONS
]


def is_below(target: str, source: str) -> bool:
    floor = ROOMS[target][0]
    if floor == ROOMS[source][0] and floor in ORDERED:
        order = list(ROOMS)
        return order.index(target) < order.index(source)
    return floor < ROOMS[source][0]


def listed(found: list[Import], rule: str) -> str:
    return f"{rule}:\n" + "\n".join(f"  {one}" for one in dict.fromkeys(found))


def test_every_room_has_its_floor():
    rooms = {room_of(module) for module in SOURCES}
    assert rooms <= ROOMS.keys(), f"give {rooms - ROOMS.keys()} a floor and a sentence"


def test_no_import_points_up_or_sideways():
    found = [
        one
        for one in IMPORTS
        if room_of(one.source) != room_of(one.target)
        and not is_below(room_of(one.target), room_of(one.source))
    ]
    assert not found, listed(found, "a room imports only from floors below")


def test_nothing_in_the_package_imports_the_test_kit():
    found = [one for one in IMPORTS if room_of(one.target) == "testing" != room_of(one.source)]
    assert not found, listed(found, "the test kit is for tests, ours and users'")


def test_names_come_from_their_defining_module():
    found = [
        one
        for one in IMPORTS
        if one.target in SOURCES
        and SOURCES[one.target].name == "__init__.py"
        and one.source not in {"denoagents", "denoagents.__main__"}
    ]
    assert not found, listed(found, "inside the package import from the defining module")


def test_imports_stand_at_the_head_of_the_file():
    found = [one for one in IMPORTS if one.is_lazy and room_of(one.source) not in LAZY]
    assert not found, listed(found, "only the roof may import inside functions")


def test_every_import_names_a_module_that_exists():
    found = [one for one in IMPORTS if one.target not in MODULES]
    assert not found, listed(found, "no such module")


def native_edges() -> dict[str, set[str]]:
    """Which native part cimports or imports which module of ours."""
    pattern = re.compile(
        r"^ *(?:from|c?import) +(denoagents[\w.]*)(?: +c?import +(\w+))?", re.MULTILINE
    )
    edges: dict[str, set[str]] = {}
    files = [*(ROOT / "csrc").glob("*.pyx"), *(PACKAGE / "_native").glob("*.pxd")]
    for path in files:
        name = f"denoagents._native.{path.stem}"
        for base, first in pattern.findall(path.read_text()):
            target = f"{base}.{first}" if base == "denoagents._native" else base
            if target != name:
                edges.setdefault(name, set()).add(target)
    return edges


def test_native_parts_know_only_the_ground():
    found = [
        f"{part} imports {target}"
        for part, targets in native_edges().items()
        for target in targets
        if ROOMS[room_of(target)][0] > 1
    ]
    assert not found, found


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach one another (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in edges.get(module, ()):
            if target not in index:
                visit(target)
            if target in stack:
                low[module] = min(low[module], low[target])
        if low[module] == index[module]:
            at = stack.index(module)
            group, stack[at:] = stack[at:], []
            if len(group) > 1 or module in edges.get(module, ()):
                found.append(sorted(group))

    for module in list(edges):
        if module not in index:
            visit(module)
    return found


def test_no_import_goes_in_a_circle():
    edges = native_edges()
    for one in IMPORTS:
        edges.setdefault(one.source, set()).add(one.target)
    found = circles(edges)
    assert not found, "\n".join(" <-> ".join(group) for group in found)


# --- what cores may not touch --------------------------------------------------------------------

OWNERS = {
    "time": (
        {"cli", "loadtest", "testing", "security"},  # invitations end by the wall clock
        "the time is handed in as ns; real time is `clock`'s",
    ),
    "os.environ": ({"config", "cli"}, "the environment is read by config, which shows the origin"),
    "os.getenv": ({"config", "cli"}, "the environment is read by config, which shows the origin"),
    "zmq": ({"link", "node", "broker", "loadtest"}, "ZeroMQ is behind the link's transport"),
    "rich": ({"cli", "loadtest"}, "tables are for people: commands, and the demo's live view"),
    "click": ({"cli"}, "commands are the roof's"),
}
PURE = {
    "denoagents.link.session": "sessions are simulated",
    "denoagents.cluster": "placement, death and hand-over are simulated",
    "denoagents.limits": "admission is simulated",
}
DOES_IO = {"asyncio", "socket", "threading", "subprocess", "selectors", "random", "zmq", "uvloop"}


def foreign_names(path: Path) -> set[str]:
    """Modules that a file imports, and the os.* names that it uses."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names.add(f"{node.value.id}.{node.attr}")
    return names


@pytest.mark.parametrize("name", OWNERS)
def test_what_has_an_owner_is_used_by_its_owner_alone(name):
    owners, why = OWNERS[name]
    found = [
        module
        for module, path in SOURCES.items()
        if room_of(module) not in owners and name in foreign_names(path)
    ]
    assert not found, f"{found} use {name}; {why}"


@pytest.mark.parametrize("pure", PURE)
def test_pure_cores_take_events_and_the_time_and_do_no_io(pure):
    found = [
        f"{module} imports {name}"
        for module, path in SOURCES.items()
        if f"{module}.".startswith(f"{pure}.")
        for name in foreign_names(path) & DOES_IO
    ]
    assert not found, f"{found}: {PURE[pure]}"


# --- the checks themselves ------------------------------------------------------------------------


def test_a_planted_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_typing_only_and_lazy_imports_are_seen(tmp_path):
    path = tmp_path / "x.py"
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from denoagents.errors import DenoagentsError\n"
        "def f():\n    import denoagents.errors\n"
    )
    found = [(one.target, one.is_lazy) for one in imports_of("denoagents.x", path)]
    assert found == [("denoagents.errors", False), ("denoagents.errors", True)]
