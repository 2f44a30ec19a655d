from collections import Counter

import pytest

from denoagents.loadtest.corpus import open_corpus
from denoagents.loadtest.questions import Draw, Population, Question, expected_text, parse_question
from denoagents.loadtest.truth import Fact, Truth


@pytest.fixture
def population(tmp_path) -> Population:
    for module in ("a", "b", "c"):
        (tmp_path / f"{module}.py").write_text("")
    facts = {f"a.f{n}": Fact("function", "a.py", n, "Does\nthings.") for n in range(50)}
    callers = {"os.replace": {"a": ["a.f1"], "b": ["b.g", "b.h"]}}
    return Population(Truth(facts, callers), open_corpus(tmp_path, librarians=3), seed=1)


@pytest.mark.parametrize("kind", ["where", "callers"])
def test_a_question_survives_being_put_in_words(kind):
    question = Question(kind, "heapq.merge")
    assert parse_question(question.text) == question


def test_other_words_are_no_question():
    assert parse_question("who is calling?") is None


def test_the_same_seed_draws_the_same_questions(population):
    first, second = Draw(population, 7), Draw(population, 7)
    assert [first.look_up() for _ in range(100)] == [second.look_up() for _ in range(100)]


def test_popular_names_are_drawn_far_more_often(population):
    draw = Draw(population, 3)
    counts = Counter(draw.question(where_share=1.0).name for _ in range(5000))
    ranked = [count for _, count in counts.most_common()]
    assert ranked[0] > 8 * ranked[20] > 0


def test_a_look_up_of_callers_expects_what_that_librarian_alone_knows(population):
    draw = Draw(population, 5)
    seen = {}
    for _ in range(50):
        look_up = population.look_up(Question("callers", "os.replace"), draw.random)
        seen[look_up.librarian] = look_up.expected
    assert seen == {
        population.corpus.keeper("a"): frozenset({"a.f1"}),
        population.corpus.keeper("b"): frozenset({"b.g", "b.h"}),
    }


def test_the_expected_text_is_one_line(population):
    text = expected_text(population.truth, "a.f3")
    assert text == "a.f3 is a function, defined in a.py, line 3. Does things."
