"""Where values come from: a TOML file, the environment, flags; each with its origin.

Rules: this is the only place of denoagents that reads the environment. A source finds all that is
wrong with it, not only the first thing; nothing is ignored silently.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from denoagents.errors import nearest

PREFIX: Final = "DENOAGENTS_"
FILE_VARIABLE: Final = "DENOAGENTS_CONFIG"
PROFILE_VARIABLE: Final = "DENOAGENTS_PROFILE"
DEFAULT_FILE: Final = Path("denoagents.toml")


@dataclass(frozen=True, slots=True)
class Raw:
    """A value as it was written, and where."""

    name: str
    value: Any
    origin: str


@dataclass(slots=True)
class Findings:
    """What the sources hold, and what is wrong with them."""

    raws: list[Raw] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_file(explicit: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The file to read: the one named, the variable's, or ./denoagents.toml if it is there."""
    if explicit is not None:
        return explicit
    if environment.get(FILE_VARIABLE):
        return Path(environment[FILE_VARIABLE])
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def read_file(path: Path, known: Sequence[str]) -> Findings:
    """Every key of a TOML file."""
    findings = Findings()
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        findings.problems.append(f"there is no file {path}")
    except (OSError, UnicodeDecodeError) as error:
        findings.problems.append(f"{path} cannot be read: {error}")
    except tomllib.TOMLDecodeError as error:
        findings.problems.append(f"{path} is not TOML: {error}")
    else:
        for name, value in _flatten(tables, set(known)):
            _add(findings, name, value, f"file {path}", known)
    return findings


def read_environment(environment: Mapping[str, str], known: Sequence[str]) -> Findings:
    """Every variable DENOAGENTS_SECTION__KEY; others with our prefix only if they look like one."""
    findings = Findings()
    by_flat = {_flat(name): name for name in known}
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable in (FILE_VARIABLE, PROFILE_VARIABLE):
            continue
        tail = variable[len(PREFIX) :]
        origin = f"environment {variable}"
        if "__" in tail:
            _add(findings, tail.lower().replace("__", "."), environment[variable], origin, known)
        elif (meant := by_flat.get(_flat(tail))) is not None:
            right = PREFIX + meant.upper().replace(".", "__")
            findings.problems.append(
                f"{origin}: sections are set apart by two underscores. Did you mean {right!r}?"
            )
    return findings


def read_flags(flags: Sequence[str], known: Sequence[str]) -> Findings:
    """Every `--set section.key=value`."""
    findings = Findings()
    for flag in flags:
        name, equals, value = flag.partition("=")
        if not equals:
            findings.problems.append(f"flag --set {flag}: write --set section.key=value")
        else:
            _add(findings, name.strip(), value.strip(), "flag --set", known)
    return findings


def unknown(name: str, known: Sequence[str]) -> str:
    """What to say of a key that does not exist: the nearest name, or the keys of its section."""
    hint = nearest(name, known)
    if not hint:
        last = [key for key in known if key.rpartition(".")[2] == name.rpartition(".")[2]]
        hint = f" Did you mean {last[0]!r}?" if last else " See `denoagents config show`."
    return f"there is no key {name!r}.{hint}"


def _add(findings: Findings, name: str, value: Any, origin: str, known: Sequence[str]) -> None:
    if name in known:
        findings.raws.append(Raw(name, value, origin))
    elif any(key.startswith(name + ".") for key in known):
        inside = next(key for key in known if key.startswith(name + "."))
        findings.problems.append(f"{origin}: {name!r} is a section; it holds keys like {inside!r}")
    else:
        findings.problems.append(f"{origin}: {unknown(name, known)}")


def _flatten(
    tables: Mapping[str, Any], known: set[str], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    for word, value in tables.items():
        name = f"{prefix}{word}"
        if isinstance(value, dict) and value and name not in known:
            yield from _flatten(value, known, f"{name}.")
        elif not isinstance(value, dict) or name in known:
            yield name, value


def _flat(name: str) -> str:
    return name.lower().replace(".", "").replace("_", "")
