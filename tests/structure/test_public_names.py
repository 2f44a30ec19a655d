"""Each room says in its `__init__` what it offers, in under 40 lines, and offers it."""

import ast
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "denoagents"
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
MOST_LINES = 40
SPEAKING = {"_native", "testing"}
"""The one says what to type when it was not compiled; the other is lazy: pytest loads it always."""


@pytest.mark.parametrize("room", ROOMS)
def test_a_rooms_front_door_is_short_and_without_logic(room):
    text = (PACKAGE / room / "__init__.py").read_text()
    assert text.count("\n") < MOST_LINES
    if room in SPEAKING:
        return
    allowed = (ast.Import, ast.ImportFrom, ast.Expr, ast.Assign, ast.AnnAssign)
    logic = [ast.unparse(node) for node in ast.parse(text).body if not isinstance(node, allowed)]
    assert not logic


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_offers_what_its_all_names(room):
    module = importlib.import_module(f"denoagents.{room}")
    text = (PACKAGE / room / "__init__.py").read_text()
    has_imports = any(isinstance(node, ast.ImportFrom) for node in ast.parse(text).body)
    if room == "_native":  # its modules are its names
        return
    assert hasattr(module, "__all__") or not has_imports, "name the public names in __all__"
    missing = [name for name in getattr(module, "__all__", []) if not hasattr(module, name)]
    assert not missing


def test_the_package_offers_what_its_all_names():
    import denoagents

    missing = [name for name in denoagents.__all__ if not hasattr(denoagents, name)]
    assert not missing
    assert set(denoagents.__all__) <= set(dir(denoagents))


def test_types_and_run_time_see_the_same_public_names():
    """mypy reads the imports under TYPE_CHECKING, Python the table; they must not drift apart."""
    import denoagents

    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    typed = {
        (alias.name, node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("denoagents.")
        for alias in node.names
    }
    assert typed == set(denoagents._HOMES.items())


def test_a_misspelt_public_name_is_an_attribute_error():
    import denoagents

    with pytest.raises(AttributeError, match="no attribute 'Aktor'"):
        getattr(denoagents, "Aktor")  # noqa: B009 - mypy would tell at once
