from pathlib import Path

import pytest

from denoagents.loadtest.corpus import open_corpus


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for name, size in [
        ("big.py", 900),
        ("small.py", 10),
        ("pkg/__init__.py", 5),
        ("pkg/inner.py", 300),
        ("test/skipped.py", 5),
        ("site-packages/other.py", 5),
        ("no-module.py", 5),
    ]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#" * size)
    return tmp_path


def test_tests_and_other_peoples_packages_are_left_out(library):
    assert sorted(open_corpus(library).sources) == ["big", "pkg", "pkg.inner", "small"]


def test_every_file_has_one_keeper_and_the_bytes_are_spread(library):
    corpus = open_corpus(library, librarians=2)
    shares = {key: {s.module for s in share} for key, share in corpus.shares.items()}
    assert sorted(map(sorted, shares.values())) == [["big"], ["pkg", "pkg.inner", "small"]]


def test_a_dotted_name_belongs_to_the_longest_module_that_begins_it(library):
    corpus = open_corpus(library)
    assert corpus.split("pkg.inner.Thing.go") == ("pkg.inner", "Thing.go")
    assert corpus.split("pkg.Thing") == ("pkg", "Thing")
    assert corpus.split("nowhere.Thing") is None
    assert corpus.keeper("pkg.inner.Thing") == corpus.keeper("pkg.inner")


def test_this_machines_library_gives_each_of_100_librarians_something_to_read():
    corpus = open_corpus()
    assert len(corpus.shares) == 100
    assert all(corpus.shares.values())
