"""The index of one source file, by its syntax tree: definitions, docstrings, and who calls what.

A call is `name(...)` or `dotted.name(...)` whose dotted name stands on one line, unparenthesised,
and whose first part is a name of the module itself (see `scopes.py`). Its caller is the innermost
class or function around it, or the module; lambdas and comprehensions belong to what holds them.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

import msgspec

from denoagents.loadtest.scopes import (
    ComprehensionNode,
    FunctionNode,
    collect,
    module_targets,
    outer_defaults,
    parameters,
)


class Definition(msgspec.Struct, frozen=True):
    """Where a function, method or class is defined, and the first paragraph of its docstring."""

    name: str
    kind: str
    file: str
    line: int
    summary: str


class ModuleIndex(msgspec.Struct):
    """What one source file holds: definitions by dotted name, callers by dotted target."""

    definitions: dict[str, Definition]
    callers: dict[str, list[str]]


class _Scope:
    """One scope around the node at hand: what it binds itself, and the caller it stands for."""

    def __init__(self, caller: str, own: set[str], is_class: bool = False) -> None:
        self.caller = caller
        self.own = own
        self.is_class = is_class


class _Calls(ast.NodeVisitor):
    """Walks a module with its scopes and notes each call of a name that stands for something."""

    def __init__(self, module: str, package: str, targets: dict[str, str]) -> None:
        self.package = package
        self.targets = targets
        self.scopes = [_Scope(module, set(), is_class=True)]
        self.callers: dict[str, set[str]] = {}

    def is_global(self, name: str) -> bool:
        inner = self.scopes[-1]
        return not any(name in s.own for s in self.scopes[1:] if s is inner or not s.is_class)

    def visit_Call(self, node: ast.Call) -> None:
        parts = dotted_parts(node.func)
        starts_here = (node.lineno, node.col_offset) == (node.func.lineno, node.func.col_offset)
        if parts and starts_here and parts[0] in self.targets and self.is_global(parts[0]):
            target = ".".join((self.targets[parts[0]], *parts[1:]))
            self.callers.setdefault(target, set()).add(self.scopes[-1].caller)
        self.generic_visit(node)

    def visit_all(self, nodes: Sequence[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def visit_block(self, body: Sequence[ast.stmt]) -> None:
        """Statements after one that always leaves the block are never run, hence never call."""
        for statement in body:
            self.visit(statement)
            if isinstance(statement, ast.Return | ast.Raise | ast.Continue | ast.Break):
                return

    def generic_visit(self, node: ast.AST) -> None:
        for value in vars(node).values() if not isinstance(node, ast.expr_context) else ():
            if isinstance(value, list):
                if value and isinstance(value[0], ast.stmt):
                    self.visit_block(value)
                else:
                    self.visit_all([item for item in value if isinstance(item, ast.AST)])
            elif isinstance(value, ast.AST):
                self.visit(value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit_all([node.target] if node.value is None else [node.target, node.value])

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Constant):
            self.visit_block(node.body if node.test.value else node.orelse)
        else:
            self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        if isinstance(node.test, ast.Constant) and not node.test.value:
            self.visit_block(node.orelse)
        else:
            self.generic_visit(node)

    def function(self, node: FunctionNode, caller: str) -> None:
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        bindings = collect(body, self.package, True)
        own = (set(bindings.origins) | set(parameters(node.args))) - bindings.declared_global
        self.scopes.append(_Scope(caller, own))
        if isinstance(node, ast.Lambda):
            self.visit(node.body)
        else:
            self.visit_block(node.body)
        self.scopes.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.visit_all([*node.decorator_list, *outer_defaults(node.args)])
        self.function(node, f"{self.scopes[-1].caller}.{node.name}")

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit_all(outer_defaults(node.args))
        self.function(node, self.scopes[-1].caller)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.visit_all([*node.decorator_list, *node.bases, *node.keywords])
        bindings = collect(node.body, self.package, False)
        own = set(bindings.origins) - bindings.declared_global
        self.scopes.append(_Scope(f"{self.scopes[-1].caller}.{node.name}", own, is_class=True))
        self.visit_block(node.body)
        self.scopes.pop()

    def visit_comprehension_node(self, node: ComprehensionNode) -> None:
        self.visit(node.generators[0].iter)  # the scope around evaluates the first iterable
        names = {
            inner.id
            for generator in node.generators
            for inner in ast.walk(generator.target)
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
        }
        self.scopes.append(_Scope(self.scopes[-1].caller, names))
        for number, generator in enumerate(node.generators):
            self.visit_all([generator.target, *([generator.iter] if number else ())])
            self.visit_all(generator.ifs)
        if isinstance(node, ast.DictComp):
            self.visit_all([node.key, node.value])
        else:
            self.visit(node.elt)
        self.scopes.pop()

    visit_ListComp = visit_SetComp = visit_comprehension_node
    visit_DictComp = visit_GeneratorExp = visit_comprehension_node


def dotted_parts(node: ast.expr) -> list[str] | None:
    """The parts of `a.b.c` when it stands on one line and begins with a bare name."""
    parts: list[str] = []
    inner = node
    while isinstance(inner, ast.Attribute):
        parts.append(inner.attr)
        inner = inner.value
    is_plain = (
        isinstance(inner, ast.Name)
        and inner.col_offset == node.col_offset
        and node.lineno == node.end_lineno
    )
    if not (is_plain and isinstance(inner, ast.Name)):
        return None
    return [inner.id, *reversed(parts)]


def find_definitions(tree: ast.Module, module: str, file: str) -> dict[str, Definition]:
    """Functions and classes of the module, and the methods of its classes; the first one counts."""
    found: dict[str, Definition] = {}

    def scan(node: ast.AST, prefix: str, in_class: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                is_class = isinstance(child, ast.ClassDef)
                name = f"{prefix}.{child.name}"
                kind = "class" if is_class else "method" if in_class else "function"
                line = min([child.lineno, *(d.lineno for d in child.decorator_list)])
                summary = (ast.get_docstring(child) or "").partition("\n\n")[0]
                found.setdefault(name, Definition(name, kind, file, line, summary))
                if is_class:
                    scan(child, name, True)
            elif isinstance(child, ast.stmt | ast.ExceptHandler):
                scan(child, prefix, in_class)

    scan(tree, module, False)
    return found


def index_source(source: bytes, module: str, file: str, is_package: bool) -> ModuleIndex:
    """Read one source file; raises SyntaxError when it is none."""
    tree = ast.parse(source, file)
    package = module if is_package else module.rpartition(".")[0]
    calls = _Calls(module, package, module_targets(tree, module, package))
    calls.visit_block(tree.body)
    callers = {target: sorted(names) for target, names in calls.callers.items()}
    return ModuleIndex(find_definitions(tree, module, file), callers)
