"""Loads an app: a Python file or `package.module` whose actor classes a worker hosts."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

from denoagents.errors import UsageError, nearest

if TYPE_CHECKING:
    from denoagents.actor.actor import Actor


PLAIN_NAMES: Final = frozenset({"app", "main", "actors", "__init__"})
"""Modules that are called so in many apps: the folder names the app."""


class AppError(UsageError):
    """The app cannot be loaded, or holds nothing to host."""

    code = "app"


@dataclass(frozen=True, slots=True)
class Application:
    """A loaded app."""

    name: str
    """The group its workers form, unless they are told another: the module's last name."""

    types: tuple[type[Actor], ...]


def is_file(spec: str) -> bool:
    """Whether an APP argument means a file rather than a module."""
    return spec.endswith(".py") or os.sep in spec


def group_name(spec: str) -> str:
    """The group of an app, known before it is loaded; hello/app.py and hello.app are "hello"."""
    parts = (
        [*Path(spec).resolve().parts[-2:-1], Path(spec).stem] if is_file(spec) else spec.split(".")
    )
    plain = parts[-1] in PLAIN_NAMES and len(parts) > 1 and parts[-2].isidentifier()
    return parts[-2] if plain else parts[-1]


def require_file(spec: str) -> None:
    """An `AppError` if APP means a file that is not there; nothing is loaded."""
    path = Path(spec)
    if is_file(spec) and not path.is_file():
        known = [str(p) for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise AppError(f"there is no file {path}.{nearest(str(path), known)}")


def load_application(spec: str) -> Application:
    """Import the app and find its actor classes; every failure is an `AppError` with the place."""
    require_file(spec)
    module = _import(spec)
    types = actor_types(module)
    if not types:
        raise AppError(
            f"{spec} holds no actor: define a class that inherits from denoagents.Actor, "
            "or name imported ones in __all__"
        )
    return Application(group_name(spec), types)


def actor_types(module: ModuleType) -> tuple[type[Actor], ...]:
    """The public actor classes that a module defines, imports from other apps, or exports."""
    from denoagents.actor.actor import Actor

    exported = set(getattr(module, "__all__", ()))
    found: dict[str, type[Actor]] = {}
    for name, value in vars(module).items():
        if not (isinstance(value, type) and issubclass(value, Actor)) or value is Actor:
            continue
        own = value.__module__ == module.__name__ or name in exported
        if name.startswith("_") or (value.__module__.startswith("denoagents.") and not own):
            continue
        other = found.setdefault(value.__name__, value)
        if other is not value:
            raise AppError(
                f"{module.__name__} holds two actor types named {value.__name__} "
                f"({other.__module__} and {value.__module__}); rename one of them"
            )
    return tuple(found.values())


def _import(spec: str) -> ModuleType:
    try:
        return _import_file(Path(spec)) if is_file(spec) else _import_module(spec)
    except AppError:
        raise
    except (Exception, SystemExit) as error:
        raise AppError(f"{spec} cannot be loaded: {_summary(error)}") from error


def _import_file(path: Path) -> ModuleType:
    name = path.stem
    if not name.isidentifier():
        raise AppError(f"{path} cannot be imported: {name!r} is not a Python name; rename the file")
    if name in sys.modules or name in sys.stdlib_module_names:
        raise AppError(f"{path} would hide the module {name!r} that Python needs; rename the file")
    sys.path.insert(0, str(path.parent.resolve()))
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _import_module(name: str) -> ModuleType:
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            hint = f" Did you mean {name}.py?" if Path(f"{name}.py").is_file() else ""
            raise AppError(f"there is no module {name} on the path.{hint}") from error
        raise


def _summary(error: BaseException) -> str:
    """The error and the last line of the app's own code, in one sentence."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return text
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    own = [f for f in frames if not f.filename.startswith(str(Path(__file__).parents[1]))]
    return f"{text} ({own[-1].filename}, line {own[-1].lineno})" if own else text
