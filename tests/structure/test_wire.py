"""Nothing that can run code when it is read ever reads bytes from outside."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNSAFE = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle"}
UNSAFE_CALLS = {"recv_pyobj", "send_pyobj", "eval", "exec"}
READERS: dict[tuple[str, str], str] = {}
"""(call, file) -> why that file may."""


def test_no_module_imports_what_runs_code_when_read():
    found = []
    for path in (ROOT / "denoagents").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            found += [f"{path}:{name}" for name in names if name.split(".")[0] in UNSAFE]
    assert not found


def test_no_module_calls_what_runs_code_when_read():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} {name}"
        for path in (ROOT / "denoagents").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (name := ast.unparse(node.func).rpartition(".")[2]) in UNSAFE_CALLS
        and ast.unparse(node.func) in {name, f"socket.{name}", f"self.{name}"}
        and (name, path.relative_to(ROOT).as_posix()) not in READERS
    ]
    assert not found


def test_no_native_part_imports_what_runs_code_when_read():
    pattern = re.compile(
        rf"^\s*(?:from|c?import)\s+({'|'.join(UNSAFE)})\b|recv_pyobj", re.MULTILINE
    )
    found = [
        path.name for path in (ROOT / "csrc").glob("*.pyx") if pattern.search(path.read_text())
    ]
    assert not found


def test_yaml_and_xml_are_not_read():
    found = [
        path.name
        for path in (ROOT / "denoagents").rglob("*.py")
        if re.search(r"^\s*(?:from|import)\s+(?:yaml|xml)\b", path.read_text(), re.MULTILINE)
    ]
    assert not found
