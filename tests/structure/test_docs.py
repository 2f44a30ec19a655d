"""What the README files say is true: examples run, commands, tests, files and links exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = sorted({README, *ROOT.glob("*.md"), *ROOT.glob("[a-z]*/**/*.md")})
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def text_of(page: Path) -> str:
    return page.read_text() if page.exists() else ""


def blocks(path: Path, *languages: str) -> list[str]:
    return [code for language, code in FENCE.findall(text_of(path)) if language in languages]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


EXAMPLES = [
    pytest.param(code, id=f"{name_of(page)}-{number}")
    for page in PAGES
    for number, code in enumerate(blocks(page, "python"), 1)
] or [""]
KNOWN_TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^\s*(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
}


def test_there_is_a_readme():
    assert README.exists(), "README.md is missing"


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_runs_as_it_stands(code, tmp_path):
    """Each block marked `python` is a program of its own; one with tests runs under pytest."""
    assert code, "no README.md shows an example in Python"
    (tmp_path / "example.py").write_text(code)
    has_tests = re.search(r"^(?:async )?def test_", code, re.MULTILINE)
    command = (
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "example.py"]
        if has_tests
        else ["example.py"]
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text_of(page))
    gone = [one for one in links if "://" not in one and not (page.parent / one).exists()]
    assert not gone


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_are_named_exist(page):
    named = re.findall(r"`((?:tools|tests|bench|csrc|denoagents|\.ci)/[\w./-]+)", text_of(page))
    gone = [one for one in named if not any(ROOT.glob(one.rstrip("/.")))]
    assert not gone


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tests_that_are_named_exist(page):
    gone = set(re.findall(r"\btest_\w+(?!\w|\.py|/)", text_of(page))) - KNOWN_TESTS
    files = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    assert not gone - files


def test_each_sentence_of_the_semantics_names_its_test():
    section = re.search(r"^## Semantics\n(.*?)(?=^## |\Z)", text_of(README), re.M | re.S)
    assert section, "README.md has no section 'Semantics'"
    points = re.split(r"\n(?=[-*] )", section[1])[1:]
    assert points
    assert [point for point in points if "test_" not in point] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_that_are_shown_exist(page):
    import click

    from denoagents.cli.command_line import command_line

    shown = {
        verb
        for code in blocks(page, "sh", "bash", "console", "shell")
        for verb in re.findall(r"^(?:\$ )?denoagents ([a-z]\w*)", code, re.MULTILINE)
    }
    known = set(command_line.list_commands(click.Context(command_line)))
    assert known
    assert shown <= known
