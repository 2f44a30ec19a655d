"""Plays your stories, replays failing ones: `python -m denoagents.testing FILE.py:STORY`."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from pathlib import Path

from denoagents.testing.story import Story, simulate


def load(place: str) -> Story:
    """The story at `FILE.py:NAME`."""
    path, _, name = place.rpartition(":")
    file = Path(path)
    if not file.is_file():
        raise SystemExit(f"{place}: write FILE.py:STORY; there is no file {path!r}")
    sys.path.insert(0, str(file.parent.resolve()))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    story: Story | None = getattr(module, name, None)
    if story is None:
        raise SystemExit(f"{place}: {path} has no {name!r}")
    return story


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 if every story ended well."""
    parser = argparse.ArgumentParser(prog="python -m denoagents.testing", description=__doc__)
    parser.add_argument("story", help="FILE.py:STORY, an async function that takes the fleet")
    parser.add_argument("--seed", type=int, help="one story; what it raises is raised")
    parser.add_argument("--seeds", default="0-99", help="many stories, FIRST-LAST")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell what happens")
    given = parser.parse_args(arguments)
    story = load(given.story)
    if given.seed is not None:
        print(simulate(story, seed=given.seed, is_told=given.verbose))  # noqa: T201
        return 0
    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    began, failed = time.perf_counter(), []
    for seed in seeds:
        try:
            simulate(story, seed=seed)
        except Exception as error:
            failed.append(seed)
            print(f"{type(error).__name__}: {error}", *error.__notes__[-1:], sep="\n  ")  # noqa: T201
    took_s = time.perf_counter() - began
    print(f"{len(seeds)} stories in {took_s:.1f} s, {len(failed)} failed: {failed}")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
