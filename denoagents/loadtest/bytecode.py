"""Who calls what, read from compiled code: the other route to the truth about callers.

Nothing here looks at a syntax tree: names are what the module's code stores, and a call is a CALL
instruction that begins where a dotted name was loaded and whose next larger extent is that call's.
Callers are named by the code object's qualified name. The rules are those of `scopes.py`.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType

CALLS = frozenset({"CALL", "CALL_KW", "CALL_FUNCTION_EX", "PRECALL"})
OPERATORS = frozenset({"BINARY_OP", "BINARY_SUBSCR", "COMPARE_OP", "CONTAINS_OP", "IS_OP"})
ROOTS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
SILENT = frozenset({"CACHE", "EXTENDED_ARG", "PUSH_NULL", "NOP", "RESUME"})

Place = tuple[int, int]
Origin = tuple[str, object]


def all_code(code: CodeType) -> Iterator[CodeType]:
    """A code object and all that it contains."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from all_code(constant)


def instructions(code: CodeType) -> list[dis.Instruction]:
    """The instructions that matter."""
    return [i for i in dis.get_instructions(code) if i.opname not in SILENT]


def caller_name(module: str, code: CodeType) -> str:
    """The qualified name, without what Python makes up (`<lambda>`, `<listcomp>`, `<locals>`)."""
    parts: list[str] = [module]
    for part in code.co_qualname.split("."):
        if part == "<locals>":
            continue
        if part.startswith("<"):
            break
        parts.append(part)
    return ".".join(parts)


class _Names:
    """What the module's names stand for, from the instructions that store them."""

    def __init__(self, module: str, package: str) -> None:
        self.module = module
        self.package = package
        self.origins: dict[str, set[Origin]] = {}

    def absolute(self, level: object, name: str) -> str:
        if not level:
            return name
        parts = self.package.split(".")
        parts = parts[: len(parts) - int(str(level)) + 1]
        return ".".join([*parts, name] if name else parts)

    def read(self, code: CodeType, steps: list[dis.Instruction], stores: str) -> None:
        """Note every store by instructions named `stores` (STORE_NAME or STORE_GLOBAL)."""
        defined = {c.co_name for c in code.co_consts if isinstance(c, CodeType)}
        base, is_from = "", False
        for number, step in enumerate(steps):
            before = steps[number - 1] if number else None
            if step.opname == "IMPORT_NAME":
                is_from = steps[number - 1].argval is not None
                base = self.absolute(steps[number - 2].argval, step.argval)
            elif step.opname in (f"STORE_{stores}", f"DELETE_{stores}"):
                origin: Origin = ("other", place(step))
                if before is not None and before.opname == "IMPORT_NAME":
                    origin = ("import", base.partition(".")[0])
                elif before is not None and before.opname == "IMPORT_FROM":
                    origin = ("import", f"{base}.{before.argval}" if is_from else base)
                elif step.argval in defined:
                    origin = ("definition", place(step))
                self.origins.setdefault(step.argval, set()).add(origin)

    def targets(self) -> dict[str, str]:
        found = {}
        for name, ways in self.origins.items():
            if len(ways) == 1:
                kind, what = next(iter(ways))
                if kind == "import":
                    found[name] = str(what)
                elif kind == "definition":
                    found[name] = f"{self.module}.{name}"
        return found


def place(step: dis.Instruction) -> Place:
    """Where the source of an instruction begins: line and column."""
    positions = step.positions
    return (positions.lineno or 0, positions.col_offset or 0) if positions else (0, 0)


def place_end(step: dis.Instruction) -> Place:
    """Where the source of an instruction ends: line and column."""
    positions = step.positions
    return (positions.end_lineno or 0, positions.end_col_offset or 0) if positions else (0, 0)


def called_names(code: CodeType, steps: list[dis.Instruction]) -> Iterator[tuple[str, ...]]:
    """The dotted names, as written, that this one code object calls."""
    stored = {s.argval for s in steps if s.opname in ("STORE_NAME", "DELETE_NAME")}
    is_module = code.co_name == "<module>"
    by_start: dict[Place, list[dis.Instruction]] = {}
    for step in steps:
        by_start.setdefault(place(step), []).append(step)
    number = 0
    while number < len(steps):
        root = steps[number]
        number += 1
        if root.opname not in ROOTS:
            continue
        parts, last = [root.argval], root
        while number < len(steps) and steps[number].opname in ATTRIBUTES:
            if place(steps[number]) != place(root):
                break
            last = steps[number]
            parts.append(last.argval)
            number += 1
        is_own = root.opname != "LOAD_GLOBAL" and not is_module and root.argval in stored
        if not is_own and is_called(last, by_start[place(root)]):
            yield tuple(parts)


def is_called(loaded: dis.Instruction, beside: list[dis.Instruction]) -> bool:
    """Whether the smallest larger thing that begins where `loaded` does is a call."""
    end = place_end(loaded)
    larger = [step for step in beside if place_end(step) > end]
    if not larger:
        return False
    smallest = min(place_end(step) for step in larger)
    names = {step.opname for step in larger if place_end(step) == smallest}
    return bool(names & CALLS) and not names & OPERATORS  # a failing assert calls, too


def callers_by_bytecode(
    source: bytes, module: str, file: str, is_package: bool
) -> dict[str, set[str]]:
    """Each called dotted target, with the qualified names of the code that calls it."""
    code = compile(source, file, "exec", dont_inherit=True, optimize=0)
    names = _Names(module, module if is_package else module.rpartition(".")[0])
    inner = [(part, instructions(part)) for part in all_code(code)]
    names.read(*inner[0], "NAME")
    for part, steps in inner:
        names.read(part, steps, "GLOBAL")
    targets = names.targets()
    callers: dict[str, set[str]] = {}
    for part, steps in inner:
        for parts in called_names(part, steps):
            if parts[0] in targets:
                target = ".".join((targets[parts[0]], *parts[1:]))
                callers.setdefault(target, set()).add(caller_name(module, part))
    return callers
