"""What every command has in common: help, exit codes, errors as one line or as JSON."""

import json
import subprocess
import sys
import time

import click
import pytest

from denoagents.cli import command_line
from denoagents.cli.command_line import COMMANDS, run, wants_json
from denoagents.cli.failure import ExitCode, exit_code
from denoagents.errors import (
    ArgumentsError,
    DenoagentsError,
    HandshakeError,
    JoinRefusedError,
    LinkError,
    NotFoundError,
    OutcomeUnknownError,
    Overloaded,
    RemoteError,
    RequestTimeoutError,
    StoreError,
    UnknownActorTypeError,
    UnknownMethodError,
    UnreachableError,
)


@pytest.fixture
def failing(monkeypatch):
    """Make `denoagents config` raise what the test wants."""

    def make(error):
        @click.command("config")
        def command():
            raise error

        monkeypatch.setattr(command_line.CommandLine, "get_command", lambda *_: command)

    return make


def test_help_lists_every_command(capsys):
    assert run(["--help"]) == ExitCode.OK
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in COMMANDS)
    assert "0 ok, 1 verdict failed, 2 usage, 3 unreachable, 4 not found" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_explains_itself(name, capsys):
    assert run([name, "--help"]) == ExitCode.OK
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: denoagents {name}")


def test_help_is_quick_and_loads_no_command():
    code = "import sys; from denoagents.cli import main\ntry: main(['--help'])\n"
    code += "except SystemExit: print(*sys.modules)"
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.perf_counter() - begun < 1.0  # 0.1 s on an idle machine; the process test measures
    heavy = {"asyncio", "rich", "structlog", "zmq", "msgspec", "denoagents.node"}
    assert not heavy & set(done.stdout.split())


def test_a_misspelt_command_is_a_usage_error_of_one_line(capsys):
    assert run(["statsu"]) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert "statsu" in error
    assert error.count("\n") == 1


def test_no_command_shows_the_help(capsys):
    assert run([]) == ExitCode.USAGE
    assert "Usage: denoagents" in capsys.readouterr().err


def test_errors_are_json_for_machines(capsys, failing):
    failing(Overloaded("full", retry_after_s=0.5))
    assert run(["config", "-o", "json"]) == ExitCode.USAGE  # this stand-in has no such flag
    fields = json.loads(capsys.readouterr().err)["error"]
    assert fields["code"] == "usage"
    assert fields["exit_code"] == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnreachableError("x"), 3), (NotFoundError("x"), 4), (UnknownActorTypeError("x"), 4),
        (UnknownMethodError("x"), 4), (ArgumentsError("x"), 2), (JoinRefusedError("x"), 5),
        (HandshakeError("x"), 5), (Overloaded(), 5), (RemoteError("x"), 1),
        (LinkError("port in use"), 5), (StoreError("full"), 5), (RequestTimeoutError("x"), 1),
        (OutcomeUnknownError("x"), 1), (DenoagentsError("x"), 1),
        (ValueError("x"), 1),
    ],
)  # fmt: skip
def test_each_error_has_its_exit_code(error, code, failing, capsys):
    assert exit_code(error) == code
    failing(error)
    assert run(["config"]) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("denoagents: ")


def test_a_remote_error_shows_the_remote_traceback(failing, capsys):
    failing(RemoteError("no", "ValueError", "Traceback: line 7"))
    run(["config"])
    assert capsys.readouterr().err.splitlines() == ["denoagents: no", "Traceback: line 7"]


def test_an_internal_error_can_be_seen_with_its_traceback(failing):
    failing(KeyError("x"))
    with pytest.raises(KeyError):
        run(["--traceback", "config"])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_ctrl_c_ends_with_130_and_without_a_traceback(error, failing, capsys):
    failing(error)
    with pytest.raises(SystemExit) as ended:
        command_line.main(["config"])
    assert ended.value.code == ExitCode.INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "is_json"),
    [(["-o", "json"], True), (["-ojson"], True), (["--output=json"], True),
     (["--output", "json"], True), (["-o", "table"], False), (["json"], False), (["-o"], False)],
)  # fmt: skip
def test_json_is_recognised_before_anything_is_parsed(words, is_json):
    assert wants_json(["status", *words]) is is_json


def test_version_is_printed(capsys):
    assert run(["--version"]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("denoagents ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell, capsys):
    assert run(["completion", shell]) == ExitCode.OK
    assert "_DENOAGENTS_COMPLETE" in capsys.readouterr().out
