import sys
from textwrap import dedent

import pytest

from denoagents.loadtest.corpus import open_corpus
from denoagents.loadtest.truth import Fact, find_definitions, find_truth, read_truth, write_truth

SOURCE = '''
import contextlib, dataclasses, os

def plain():
    """Plain words.

    More.
    """
    return os.getpid()

@contextlib.contextmanager
def wrapped():
    """Wrapped words."""
    yield

def twice(): "One."
def twice(): "Two."

def silent(): ...

def _private(): "Private."

@dataclasses.dataclass
class MadeUp:
    x: int = 0

class Shop:
    """A shop."""
    def sell(self):
        """Sell."""

Alias = Shop
'''


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    (tmp_path / "librarytruthsample.py").write_text(dedent(SOURCE))
    monkeypatch.syspath_prepend(tmp_path)
    yield open_corpus(tmp_path, librarians=1)
    sys.modules.pop("librarytruthsample", None)


def test_facts_are_those_the_rules_admit(corpus):
    facts = find_definitions(corpus, corpus.sources["librarytruthsample"])
    file = "librarytruthsample.py"
    assert facts == {
        "librarytruthsample.plain": Fact("function", file, 4, "Plain words."),
        "librarytruthsample.wrapped": Fact("function", file, 11, "Wrapped words."),
        "librarytruthsample.Shop": Fact("class", file, 27, "A shop."),
        "librarytruthsample.Shop.sell": Fact("method", file, 29, "Sell."),
    }


def test_the_truth_is_saved_and_read_back(corpus, tmp_path):
    truth = find_truth(corpus)
    write_truth(tmp_path / "truth", truth)
    assert read_truth(tmp_path / "truth") == truth
    assert truth.all_callers("os.getpid") == {"librarytruthsample.plain"}
