"""Key files: private, whole, never overwritten; and the names they may have."""

import pytest

from denoagents.errors import ConfigurationError
from denoagents.security.key import Key


def test_a_key_comes_back_as_it_was_written_and_only_its_owner_reads_it(tmp_path):
    key = Key.make("gpu", "worker")
    path = key.write(tmp_path / "keys")
    assert Key.read(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_key_that_others_can_read_is_refused_with_the_remedy(tmp_path, mode):
    path = Key.make("gpu", "worker").write(tmp_path)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"chmod 600 {path}"):
        Key.read(path)


def test_a_key_is_never_overwritten(tmp_path):
    Key.make("gpu", "worker").write(tmp_path)
    with pytest.raises(ConfigurationError, match="exists already"):
        Key.make("gpu", "worker").write(tmp_path)


def test_no_repr_shows_a_secret():
    key = Key.make("gpu", "worker")
    assert key.secret not in repr(key)


def test_two_keys_are_never_the_same():
    assert len({Key.make("gpu", "worker").secret for _ in range(20)}) == 20


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "x" * 101, 'a"b', "a\n"])
def test_a_name_that_cannot_be_a_files_is_refused(name):
    with pytest.raises(ConfigurationError):
        Key.make(name, "worker")


def test_every_truncation_and_every_changed_key_of_a_file_is_refused(tmp_path):
    path = Key.make("gpu", "worker").write(tmp_path)
    whole = path.read_text()
    for end in range(0, len(whole) - 2, 7):
        path.write_text(whole[:end])
        with pytest.raises(ConfigurationError):
            Key.read(path)
    other = Key.make("other", "worker")
    path.write_text(whole.replace(whole.split('public = "')[1][:64], other.public))
    with pytest.raises(ConfigurationError, match="no whole key file"):
        Key.read(path)


def test_a_link_that_dangles_is_an_error_of_ours(tmp_path):
    (tmp_path / "a.key").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Key.read(tmp_path / "a.key")
