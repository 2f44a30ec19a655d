"""Whose a name is, what each role may do, and the file that keeps the list."""

import threading

import pytest

from denoagents.errors import ConfigurationError, NotAllowedError
from denoagents.security.allow_list import AllowList, Entry
from denoagents.security.folder import KeysFolder, open_keyring
from denoagents.security.key import Key
from denoagents.security.keyring import Keyring
from denoagents.security.roles import check_serves, check_verb
from denoagents.security.settings import SecuritySettings


def public(number):
    return f"{number:064x}"


WORKER = Entry(public(1), "gpu", "worker")
NARROW = Entry(public(2), "gpu-7", "worker")
CLIENT = Entry(public(3), "alice", "client")
OPERATOR = Entry(public(4), "ops", "operator")
INVITED = Entry(public(5), "invite.1", "invited", grants="worker")
BROKER = Entry(public(6), "broker", "broker")
ALL = AllowList([WORKER, NARROW, CLIENT, OPERATOR, INVITED, BROKER])


@pytest.fixture
def ring():
    return Keyring(Key.make("broker", "broker"), ALL)


def test_a_name_belongs_to_the_longest_entry_that_begins_it():
    assert ALL.owner_of("gpu") is WORKER
    assert ALL.owner_of("gpu-1") is WORKER
    assert ALL.owner_of("gpu-7") is NARROW
    assert ALL.owner_of("gpu-7-2") is NARROW
    assert ALL.owner_of("gpu7") is None
    assert ALL.owner_of("invite.1") is None


def test_a_worker_serves_under_its_own_names_alone(ring):
    assert ring.refusal(WORKER.public, "gpu-1", "worker", 9) == ""
    assert "belongs to another key" in ring.refusal(WORKER.public, "gpu-7", "worker", 9)
    assert "belongs to another key" in ring.refusal(NARROW.public, "gpu", "worker", 9)
    assert "may be the node" in ring.refusal(WORKER.public, "cpu-1", "worker", 9)


def test_a_key_of_another_role_cannot_be_a_worker(ring):
    for entry in (CLIENT, OPERATOR, INVITED, BROKER):
        assert "cannot be a worker" in ring.refusal(entry.public, entry.name, "worker", 9)
    assert "cannot be a broker" in ring.refusal(WORKER.public, "gpu", "broker", 9)


def test_a_client_cannot_take_a_workers_name(ring):
    assert ring.refusal(CLIENT.public, "anything-1", "client", 9) == ""
    assert "belongs to another key" in ring.refusal(CLIENT.public, "gpu", "client", 9)


def test_an_incarnation_belongs_to_the_name_by_which_the_fleet_knows_it(ring):
    ring.name_of = {7: "gpu-7"}.get
    assert "the incarnation belongs to 'gpu-7'" in ring.refusal(WORKER.public, "gpu", "worker", 7)
    assert ring.refusal(NARROW.public, "gpu-7", "worker", 7) == ""
    assert ring.may_beat(NARROW.public, 7)
    assert not ring.may_beat(WORKER.public, 7)
    assert not ring.may_beat(public(99), 7)


def test_an_unlisted_a_revoked_and_an_expired_key_are_not_let_in(ring):
    assert not ring.is_allowed(public(99))
    assert not ring.is_allowed(None)
    assert not ring.is_allowed("")
    assert ring.is_allowed(WORKER.public)
    ring.allowed = ALL.without("gpu")
    assert not ring.is_allowed(WORKER.public)
    assert ring.refusal(WORKER.public, "gpu", "worker", 9) == "its key is not on the allow-list"
    ring.allowed = AllowList([Entry(public(5), "invite.1", "invited", expires_s=1.0)])
    assert not ring.is_allowed(public(5))


def test_roles_may_do_what_they_are_for_and_errors_name_the_role():
    for entry in (WORKER, CLIENT, OPERATOR):
        check_verb(entry, "status")
    check_verb(OPERATOR, "drain")
    check_verb(INVITED, "enrol")
    for entry, verb in ((CLIENT, "drain"), (WORKER, "set"), (OPERATOR, "enrol"), (None, "status")):
        with pytest.raises(NotAllowedError):
            check_verb(entry, verb)
    with pytest.raises(NotAllowedError, match=r"'alice' has the role client.*role operator"):
        check_verb(CLIENT, "drain")
    with pytest.raises(NotAllowedError):
        check_verb(INVITED, "status")
    check_serves(WORKER)
    for entry in (CLIENT, OPERATOR, INVITED, None):
        with pytest.raises(NotAllowedError, match="role worker"):
            check_serves(entry)


def test_an_endpoint_is_answered_by_the_key_of_its_workers_name(ring):
    ring.broker = BROKER.public
    ring.know_servers([("gpu-1", "tcp://a:1"), ("gpu-7", "tcp://b:2"), ("who", "tcp://c:3")])
    assert ring.server_key("tcp://a:1") == bytes.fromhex(WORKER.public)
    assert ring.server_key("tcp://b:2") == bytes.fromhex(NARROW.public)
    assert ring.server_key("tcp://c:3") == bytes(32)
    assert ring.server_key("tcp://elsewhere:4") == bytes.fromhex(BROKER.public)
    ring.allowed = ALL.without("gpu-7")
    assert ring.server_key("tcp://b:2") == bytes.fromhex(WORKER.public)


def test_the_list_outlives_the_process_and_keeps_what_was_revoked(tmp_path):
    folder = KeysFolder(tmp_path / "keys")
    folder.change(lambda allowed: allowed.with_entry(WORKER).with_entry(CLIENT))
    before = folder.stamp()
    folder.change(lambda allowed: allowed.without("gpu"))
    assert folder.stamp() != before
    assert folder.allowed().entries == [CLIENT]
    assert [one.name for one in folder.listed().revoked] == ["gpu"]
    folder.change(lambda allowed: allowed.with_entry(WORKER))
    assert folder.listed().revoked == []


def test_changes_at_the_same_time_lose_nothing(tmp_path):
    folder = KeysFolder(tmp_path)

    def add(first):
        for number in range(first, first + 10):
            entry = Entry(public(number), f"n{number}", "worker")
            folder.change(lambda allowed, entry=entry: allowed.with_entry(entry))

    threads = [threading.Thread(target=add, args=(first,)) for first in (100, 200, 300)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(folder.allowed()) == 30
    assert not [one for one in tmp_path.iterdir() if one.name.startswith("allowed.json.")]


def test_a_list_that_others_can_write_and_a_damaged_one_are_refused(tmp_path):
    folder = KeysFolder(tmp_path)
    folder.change(lambda allowed: allowed.with_entry(WORKER))
    path = tmp_path / "allowed.json"
    path.chmod(0o666)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        folder.allowed()
    path.chmod(0o600)
    path.write_text(path.read_text()[:40])
    with pytest.raises(ConfigurationError, match="damaged"):
        folder.allowed()


def test_what_is_missing_is_told_with_the_command_that_makes_it(tmp_path):
    nowhere = SecuritySettings(folder=str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="keys new broker --role broker"):
        open_keyring(nowhere, "broker")
    folder = KeysFolder(tmp_path)
    settings = SecuritySettings(folder=str(tmp_path))
    with pytest.raises(ConfigurationError, match="no key of the role worker"):
        open_keyring(settings, "worker", "gpu-1")
    Key.make("gpu", "worker").write(tmp_path)
    with pytest.raises(ConfigurationError, match="keys allow broker PUBLIC --role broker"):
        open_keyring(settings, "worker", "gpu-1")
    folder.change(lambda allowed: allowed.with_entry(BROKER))
    ring = open_keyring(settings, "worker", "gpu-1")
    assert ring is not None
    assert (ring.key.name, ring.broker) == ("gpu", BROKER.public)
    Key.make("cpu", "worker").write(tmp_path)
    with pytest.raises(ConfigurationError, match=r"several worker keys .*security.key=NAME"):
        open_keyring(settings, "worker", "other")
    assert open_keyring(SecuritySettings(), "worker") is None
