"""`denoagents store`: what an operator types, and what it answers."""

import asyncio
import json

import pytest

from denoagents.cli.command_line import run
from denoagents.durability import Commit, Handled
from denoagents.store.state_store import SqliteStateStore


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DENOAGENTS_CONFIG", raising=False)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "actors.db"

    async def fill():
        store = SqliteStateStore(path, now_ms=lambda: 0)
        await store.open()
        for n in range(3):
            await store.commit(Commit(f"Account/{n}", 2, b"state", 1, Handled(7, 1)), "os")
        await store.close()

    asyncio.run(fill())
    return path


def answer(capsys, *words, code=0):
    assert run(["store", *words, "-o", "json"]) == code
    return json.loads(capsys.readouterr().out)


def test_show_tells_what_is_there(path, capsys):
    assert answer(capsys, "show", "--store", str(path))["types"] == {"Account": 3}
    assert answer(capsys, "show", "Account/1", "--store", str(path))["state_bytes"] == 5
    assert run(["store", "show", "--store", str(path)]) == 0
    assert "Account: 3" in capsys.readouterr().out


def test_the_configuration_names_the_store(path, capsys, monkeypatch):
    monkeypatch.setenv("DENOAGENTS_STORE__PATH", str(path))
    assert answer(capsys, "verify")["is_whole"] is True


def test_without_a_name_the_remedy_is_told(capsys):
    assert run(["store", "show", "--set", "store.path="]) == 2
    assert "store.path" in capsys.readouterr().err


def test_backup_and_restore(path, capsys):
    assert answer(capsys, "backup", "copy.db", "--store", str(path))["actors"] == 3
    assert answer(capsys, "delete", "Account/1", "--store", str(path))["actors"] == ["Account/1"]
    done = answer(capsys, "restore", "copy.db", "--store", str(path))
    assert done["actors"] == 3
    assert done["replaced"] == f"{path}.replaced"
    assert answer(capsys, "show", "--store", str(path))["actors"] == 3


def test_delete_of_what_is_not_there_is_not_found(path, capsys):
    assert run(["store", "delete", "Account/9", "--store", str(path)]) == 4
    assert "holds nothing" in capsys.readouterr().err


def test_prune_by_age(path, capsys):
    done = answer(capsys, "prune", "--store", str(path))
    assert (done["actors"], done["window_entries"]) == (0, 3)
    done = answer(capsys, "prune", "--untouched", "30d", "--store", str(path))
    assert done["actors"] == 3


def test_verify_fails_on_damage_with_a_list(path, capsys):
    text = path.read_bytes()
    path.write_bytes(text.replace(b"state", b"STATE", 9))
    found = answer(capsys, "verify", "--store", str(path), code=1)
    assert found["is_whole"] is False
    assert found["problems"]


def test_a_store_that_is_missing_is_refused_and_not_made(tmp_path, capsys):
    assert run(["store", "verify", "--store", "none.db", "-o", "json"]) == 5
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "store"
    assert not list(tmp_path.iterdir())
