import sys

import pytest

from denoagents._native.clock import Clock
from denoagents.loadtest.chats import Chats
from denoagents.loadtest.corpus import open_corpus
from denoagents.loadtest.library import Librarian, Reading
from denoagents.loadtest.lookup import Desk
from denoagents.loadtest.questions import Draw, Population, Question
from denoagents.loadtest.truth import find_truth
from denoagents.node.node import Node

SOURCE = '''
import os

def save(path):
    """Keep it.

    More words.
    """
    os.replace(path, path)

class Shop:
    """A shop."""
'''


@pytest.fixture
def population(tmp_path, monkeypatch):
    """A library of three files, kept by three librarians."""
    root = tmp_path / "root"
    root.mkdir()
    names = [f"librarysample{letter}" for letter in "abc"]
    for name in names:
        (root / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(root)
    monkeypatch.chdir(tmp_path)
    corpus = open_corpus(root, librarians=3)
    monkeypatch.setattr(Reading, "corpus", corpus)
    yield Population(find_truth(corpus), corpus, seed=1)
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.asyncio
async def test_librarians_answer_look_ups_rightly(population):
    async with Node() as node:
        desk, draw = Desk(node), Draw(population, 3)
        assert all([await desk.is_right(draw.look_up(), "high") for _ in range(60)])


@pytest.mark.asyncio
async def test_an_unknown_name_has_no_place_and_no_callers(population):
    async with Node() as node:
        librarian = node.actor(Librarian, "shelf-00")
        assert await librarian.where("nowhere.at.all") is None
        assert await librarian.callers("nowhere.at.all") == []
        assert [w async for w in librarian.answer("how are you?")] == [
            "I know only where something is defined, and who calls it."
        ]


@pytest.mark.asyncio
async def test_a_librarian_activated_anew_reads_its_file_instead_of_parsing(population):
    async with Node() as node:
        first = await node.actor(Librarian, "shelf-00").stock()
    async with Node() as node:
        second = await node.actor(Librarian, "shelf-00").stock()
    assert (first.is_from_file, second.is_from_file) == (False, True)
    assert (first.definitions, first.called_names) == (second.definitions, second.called_names)


@pytest.mark.asyncio
async def test_chats_gather_the_truth_from_several_librarians(population):
    async with Node() as node:
        chats = Chats(node, population, count=5, seed=1, think_s=0.01)
        await chats.read_catalogues()
        await chats.run(Clock().now_ns() + 300_000_000)
        total = chats.record.total()
        assert total.right > 20
        assert (total.wrong, total.errors.total()) == (0, 0)
        assert chats.streams_read > total.answered
        gathered = [e for e in chats.exchanges.values() if e.librarians == 3]
        assert gathered
        assert gathered[0].answer.count("\n") == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["where", "callers"])
async def test_a_planted_wrong_answer_is_counted_by_look_ups_and_chats(population, kind):
    question = Question(kind, population.names[kind][0])
    look_up = population.look_up(question, Draw(population, 1).random)
    async with Node() as node:
        assert await Desk(node).is_right(look_up, "normal")
        await node.actor(Librarian, look_up.librarian).misremember(question.name)
        assert not await Desk(node).is_right(look_up, "normal")
        chats = Chats(node, population, count=3, seed=1, think_s=0.01)
        await chats.read_catalogues()
        await chats.run(Clock().now_ns() + 300_000_000)
        assert chats.record.total().wrong > 0
