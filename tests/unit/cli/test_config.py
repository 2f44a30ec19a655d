"""`denoagents config`: what is shown, and what a check finds."""

import json

import pytest

from denoagents.cli.command_line import run
from denoagents.config.keys import KEYS


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DENOAGENTS_CONFIG", raising=False)


def test_show_prints_every_key_with_value_and_origin(capsys):
    assert run(["config", "show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    first_words = {line.split()[0] for line in lines if line.strip()}
    assert {key.name for key in KEYS} <= first_words
    peak = next(line for line in lines if line.startswith("agent.memory.peak"))
    assert "150MB" in peak
    assert "default" in peak
    assert "not yet in effect" in peak


def test_show_for_machines_has_values_origins_and_whether_they_hold(capsys, monkeypatch):
    monkeypatch.setenv("DENOAGENTS_LINK__WINDOW", "1MiB")
    assert run(["config", "show", "link", "-o", "json", "--set", "link.max_payload=2MiB"]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert all(name.startswith("link.") for name in settings)
    window = settings["link.window"]
    assert window["value"] == "1MiB"
    assert window["origin"] == "environment DENOAGENTS_LINK__WINDOW"
    assert window["in_effect"] is True
    assert settings["link.max_payload"]["origin"] == "flag --set"


def test_show_changed_leaves_the_defaults_out(capsys):
    run(["config", "show", "--changed"])
    assert "all at their defaults" in capsys.readouterr().out
    run(["config", "show", "--changed", "--profile", "open"])
    assert "profile open" in capsys.readouterr().out


def test_an_unknown_section_names_the_nearest(capsys):
    assert run(["config", "show", "agnet"]) == 2
    assert "Did you mean 'agent'?" in capsys.readouterr().err


def test_check_of_a_right_file_says_what_is_not_yet_in_effect(tmp_path, capsys):
    path = tmp_path / "fleet.toml"
    path.write_text('[agent.memory]\npeak = "160MB"\n[link]\nwindow = "1MiB"\n')
    assert run(["config", "check", str(path)]) == 0
    out = capsys.readouterr().out
    assert "agent.memory.peak is not yet in effect" in out
    assert "is right" in out
    assert "link.window" not in out


def test_check_of_a_wrong_file_fails_with_every_problem(tmp_path, capsys):
    path = tmp_path / "fleet.toml"
    path.write_text('[agent.memory]\npaek = "1MB"\n[link]\nwindow = "lots"\n')
    assert run(["config", "check", str(path)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert run(["config", "check", str(path), "-o", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    assert len(found["problems"]) == 2


def test_a_wrong_setting_stops_any_command(capsys, monkeypatch):
    monkeypatch.setenv("DENOAGENTS_LINK__WINDWO", "1MiB")
    assert run(["status"]) == 2
    assert "Did you mean 'link.window'?" in capsys.readouterr().err
