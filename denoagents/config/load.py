"""The effective configuration: default, profile, file, environment, flags; the later one wins."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from denoagents.config.agreement import disagreements
from denoagents.config.key import Key
from denoagents.config.keys import KEYS
from denoagents.config.profiles import PROFILES
from denoagents.config.setting import Setting
from denoagents.config.sources import (
    PROFILE_VARIABLE,
    Raw,
    find_file,
    read_environment,
    read_file,
    read_flags,
    unknown,
)
from denoagents.config.value import Value
from denoagents.errors import ConfigurationError, nearest

BY_NAME: Final[Mapping[str, Key]] = {key.name: key for key in KEYS}


class ConfigurationProblemsError(ConfigurationError):
    """Everything that is wrong with the configuration, one sentence each."""

    def __init__(self, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))

    def facts(self) -> dict[str, Any]:
        return {"problems": list(self.problems)}


class Config:
    """The effective value of every key; immutable."""

    def __init__(self, settings: Mapping[str, Setting], profile: str, file: Path | None) -> None:
        self._settings = dict(settings)
        self.profile = profile
        self.file = file

    def __getitem__(self, name: str) -> Value:
        return self.setting(name).value

    def __iter__(self) -> Iterator[Setting]:
        return iter(self._settings.values())

    def __repr__(self) -> str:
        changed = sum(setting.origin != "default" for setting in self)
        return f"<Config profile={self.profile} keys={len(self._settings)} changed={changed}>"

    def setting(self, name: str) -> Setting:
        """The key's value with its origin."""
        try:
            return self._settings[name]
        except KeyError:
            raise ConfigurationError(unknown(name, list(self._settings))) from None


def load(
    *,
    file: Path | None = None,
    flags: Sequence[str] = (),
    profile: str | None = None,
    usual_profile: str = "default",
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Read every source; raises `ConfigurationProblemsError` naming all that is wrong.

    `usual_profile` holds where neither `profile` nor the environment names one.
    """
    environment = os.environ if environment is None else environment
    known = list(BY_NAME)
    path = find_file(file, environment)
    profile = profile or environment.get(PROFILE_VARIABLE) or usual_profile
    problems: list[str] = []
    raws = _profile_values(profile, problems)
    sources = [read_environment(environment, known), read_flags(flags, known)]
    if path is not None:
        sources.insert(0, read_file(path, known))
    for findings in sources:
        raws += findings.raws
        problems += findings.problems
    settings = {key.name: Setting.read(key, key.default, "default") for key in KEYS}
    for raw in raws:
        try:
            settings[raw.name] = Setting.read(BY_NAME[raw.name], raw.value, raw.origin)
        except ConfigurationError as error:
            problems.append(f"{raw.origin}: {raw.name}: {error}")
    problems += disagreements(settings)
    if problems:
        raise ConfigurationProblemsError(problems)
    return Config(settings, profile, path)


def check(path: Path) -> Config:
    """Read one file alone, without environment and flags, as `config check` does."""
    return load(file=path, environment={})


def _profile_values(profile: str, problems: list[str]) -> list[Raw]:
    if profile not in PROFILES:
        known = ", ".join(PROFILES)
        problems.append(f"there is no profile {profile!r} ({known}).{nearest(profile, PROFILES)}")
        return []
    return [Raw(name, value, f"profile {profile}") for name, value in PROFILES[profile].items()]
