"""Every native part has its stub, is documented there or in its source, and was built from csrc."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "denoagents" / "_native"
PARTS = sorted(path.stem for path in (ROOT / "csrc").glob("*.pyx"))


@pytest.mark.parametrize("part", PARTS)
def test_every_native_part_has_a_stub(part):
    assert (NATIVE / f"{part}.pyi").exists()


def test_every_stub_and_declaration_has_its_source():
    declared = {path.stem for suffix in ("pyi", "pxd") for path in NATIVE.glob(f"*.{suffix}")}
    assert declared - {"__init__"} <= set(PARTS)


@pytest.mark.parametrize("part", sorted(path.stem for path in NATIVE.glob("*.pyi")))
def test_stubs_are_fully_typed(part):
    text = (NATIVE / f"{part}.pyi").read_text()
    untyped = [line for line in text.splitlines() if re.match(r"\s*def .*\)\s*:\s*\.\.\.", line)]
    assert not untyped, "every function of a stub says what it returns"


def test_no_source_includes_another():
    found = [
        path.name
        for path in (ROOT / "csrc").glob("*.pyx")
        if re.search(r"^\s*include\s+[\"']", path.read_text(), re.MULTILINE)
    ]
    assert not found
