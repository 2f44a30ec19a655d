"""Names say what a thing is: the concept's noun, no catch-all words, errors that end in Error."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "util", "utils", "helper", "helpers", "common", "misc", "base", "manager", "handler",
    "processor", "data", "info", "stuff", "lib", "tools",
}  # fmt: skip
ABBREVIATIONS = {"msg", "mgr", "cfg", "conf", "ctx", "srv", "conn", "req", "resp", "ratelim", "cmd"}
FLOW = {"Overloaded", "LinkLost"}
"""The two exceptions that are signals, not faults."""

MOST_LINES = {"denoagents": 400, "csrc": 400, "bench": 300, "tests": 600}
LONGER: dict[str, str] = {}
"""File -> why it is longer."""

PYTHON = [
    path
    for folder in ("denoagents", "bench", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
NATIVE = [*(ROOT / "csrc").glob("*.pyx"), *(ROOT / "denoagents/_native").glob("*.pxd")]
TREES = {path: ast.parse(path.read_text()) for path in PYTHON}


def words(name: str) -> set[str]:
    """The lower-case words of a snake_case or CamelCase name."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_files_are_named_by_their_concept():
    found = {
        relative(path): bad
        for path in [*PYTHON, *NATIVE]
        for part in path.relative_to(ROOT).with_suffix("").parts
        if (bad := words(part) & (FORBIDDEN | ABBREVIATIONS))
    }
    assert not found


def test_classes_are_named_by_their_concept():
    found = {
        f"{relative(path)}:{node.lineno} {node.name}": bad
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and (bad := words(node.name) & (FORBIDDEN | ABBREVIATIONS))
    }
    found |= {
        f"{relative(path)} {name}": bad
        for path in NATIVE
        for name in re.findall(r"^\s*(?:cdef\s+)?class\s+(\w+)", path.read_text(), re.MULTILINE)
        if (bad := words(name) & (FORBIDDEN | ABBREVIATIONS))
    }
    assert not found


def test_errors_end_in_error_but_the_two_flow_signals():
    found = [
        f"{relative(path)}:{node.lineno} {node.name}"
        for path, tree in TREES.items()
        if relative(path).startswith("denoagents/")
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and node.name not in FLOW
        and any(ast.unparse(base).endswith(("Error", "Exception")) for base in node.bases)
        and not node.name.endswith("Error")
    ]
    assert not found


def test_every_file_opens_with_a_sentence():
    found = [
        relative(path)
        for path, tree in TREES.items()
        if tree.body and not ast.get_docstring(tree) and "tests/unit/" not in relative(path)
    ]
    found += [
        relative(path)
        for path in NATIVE
        if path.suffix == ".pyx" and not path.read_text().lstrip().startswith('"""')
    ]
    assert not found


@pytest.mark.parametrize("folder", MOST_LINES)
def test_no_file_is_a_god(folder):
    found = {
        relative(path): lines
        for path in [*PYTHON, *NATIVE]
        if relative(path).startswith(f"{folder}/")
        and (lines := path.read_text().count("\n")) > MOST_LINES[folder]
        and relative(path) not in LONGER
    }
    assert not found, (
        f"over {MOST_LINES[folder]} lines; divide by concept, or give the reason in LONGER"
    )


def test_words_are_told_apart():
    assert words("HTTPHandler") == {"http", "handler"}
    assert words("database_view") == {"database", "view"}
