"""Finds out that the Python files of an app have changed, for `up --reload`."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from pathlib import Path
from typing import Final

from denoagents.cli.application import is_file

EVERY_S: Final = 0.5
MOST_FILES: Final = 5000
"""Files looked at; a folder with more is most likely not the app's own."""
SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist"})


def root_of(spec: str) -> Path:
    """The folder that holds an app: its file's, or its top package's."""
    if is_file(spec):
        return Path(spec).resolve().parent
    top = importlib.util.find_spec(spec.partition(".")[0])
    if top is None or top.origin is None:
        return Path.cwd()
    return Path(top.origin).resolve().parent


def stamps(root: Path) -> dict[Path, int]:
    """Every Python file below `root` with the time of its last change."""
    found: dict[Path, int] = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [one for one in folders if one not in SKIPPED and not one.startswith(".")]
        for name in files:
            if name.endswith(".py") and len(found) < MOST_FILES:
                path = Path(folder, name)
                try:
                    found[path] = path.stat().st_mtime_ns
                except OSError:  # gone while we looked
                    continue
    return found


async def changed(root: Path, before: dict[Path, int]) -> tuple[list[Path], dict[Path, int]]:
    """Wait until files have changed and are still again; returns them and the new stamps."""
    while True:
        await asyncio.sleep(EVERY_S)
        now = await asyncio.to_thread(stamps, root)
        if now == before:
            continue
        while (later := await asyncio.to_thread(stamps, root)) != now:
            now = later
            await asyncio.sleep(EVERY_S / 5)
        return sorted(p for p in now.keys() | before.keys() if now.get(p) != before.get(p)), now
