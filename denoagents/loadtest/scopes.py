"""Which names a scope of a syntax tree binds, and what a module's own names stand for.

Rules (the callers through bytecode, `bytecode.py`, keep the same ones by their own means):
    A module-level name stands for a dotted target when everything that binds it agrees: imports of
    one and the same target, or exactly one `def` or `class`. All other names stand for nothing.
    Names bound in a function, a comprehension or the class body at hand are not the module's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
ComprehensionNode = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
Origin = tuple[str, object]
"""How a name was bound: ("import", target), ("definition", place) or ("other", place)."""


class Bindings(ast.NodeVisitor):
    """Collects what one scope binds; nested scopes contribute their name only."""

    def __init__(self, package: str, bare_annotations_bind: bool) -> None:
        self.package = package
        self.bare_annotations_bind = bare_annotations_bind
        self.origins: dict[str, set[Origin]] = {}
        self.declared_global: set[str] = set()

    def bind(self, name: str, kind: str, what: object) -> None:
        self.origins.setdefault(name, set()).add((kind, what))

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.bind(node.id, "other", (node.lineno, node.col_offset))

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.bind(node.name, "definition", (node.lineno, node.col_offset))
        for expression in (*node.decorator_list, *outer_defaults(node.args)):
            self.visit(expression)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.bind(node.name, "definition", (node.lineno, node.col_offset))
        for expression in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(expression)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for expression in outer_defaults(node.args):
            self.visit(expression)

    def visit_comprehension_node(self, node: ComprehensionNode) -> None:
        """A comprehension binds nothing here, except through `:=`."""
        for inner in ast.walk(node):
            if isinstance(inner, ast.NamedExpr):
                self.visit(inner.target)

    visit_ListComp = visit_SetComp = visit_comprehension_node
    visit_DictComp = visit_GeneratorExp = visit_comprehension_node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None or self.bare_annotations_bind:
            self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            target = alias.name if alias.asname else alias.name.partition(".")[0]
            self.bind(alias.asname or target, "import", target)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = absolute_name(self.package, node.level, node.module or "")
        for alias in node.names:
            if alias.name != "*":
                self.bind(alias.asname or alias.name, "import", f"{base}.{alias.name}")

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.bind_optional(node.name, node)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        self.bind_optional(node.name, node)
        self.generic_visit(node)

    visit_MatchStar = visit_MatchAs

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.bind_optional(node.rest, node)
        self.generic_visit(node)

    def bind_optional(self, name: str | None, node: ast.AST) -> None:
        if name is not None:
            self.bind(name, "other", (getattr(node, "lineno", 0), getattr(node, "col_offset", 0)))

    def visit_Global(self, node: ast.Global) -> None:
        self.declared_global.update(node.names)


def outer_defaults(arguments: ast.arguments) -> list[ast.expr]:
    """The default values, which the scope around the function evaluates."""
    return [*arguments.defaults, *(value for value in arguments.kw_defaults if value is not None)]


def parameters(arguments: ast.arguments) -> Iterator[str]:
    """The names of all parameters."""
    yield from (a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))
    yield from (a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None)


def absolute_name(package: str, level: int, name: str) -> str:
    """The dotted module that `from` names, seen from a module of `package`."""
    if level == 0:
        return name
    base = package.rsplit(".", level - 1)[0] if level > 1 else package
    return f"{base}.{name}" if name else base


def collect(body: Iterable[ast.AST], package: str, bare_annotations_bind: bool) -> Bindings:
    """What the statements of one scope bind."""
    bindings = Bindings(package, bare_annotations_bind)
    for node in body:
        bindings.visit(node)
    return bindings


def module_targets(tree: ast.Module, module: str, package: str) -> dict[str, str]:
    """What each module-level name stands for; ambiguous names are left out."""
    origins = collect(tree.body, package, False).origins
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = collect(node.body, package, False)
            for name in inner.declared_global & inner.origins.keys():
                origins.setdefault(name, set()).update(inner.origins[name])
    targets = {}
    for name, ways in origins.items():
        if len(ways) == 1:
            kind, what = next(iter(ways))
            if kind == "import":
                targets[name] = str(what)
            elif kind == "definition":
                targets[name] = f"{module}.{name}"
    return targets
