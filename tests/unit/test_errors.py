"""Errors cross processes as plain values, and come back as the same class."""

import pytest

from denoagents.errors import DenoagentsError, Overloaded, RejectedError, from_wire, to_wire


@pytest.fixture
def sold_out():
    """An error class of a user, which cannot be made without its arguments."""

    class SoldOutError(RejectedError):
        code = "sold_out"

        def __init__(self, item: str, left: int) -> None:
            self.left = left
            super().__init__(f"{item} is sold out")

        def facts(self):
            return {"left": self.left}

    yield SoldOutError
    del DenoagentsError.by_code["sold_out"]


def test_a_class_comes_back_with_its_sentence_and_its_facts():
    error = from_wire(to_wire(Overloaded("too much", 2)))
    assert (type(error), str(error), error.retry_after_s) == (Overloaded, "too much", 2)


def test_a_users_class_needs_no_defaults(sold_out):
    error = from_wire(to_wire(sold_out("soap", 0)))
    assert (type(error), str(error), error.left) == (sold_out, "soap is sold out", 0)


@pytest.mark.parametrize("facts", [None, [], {"retry_after_s": "soon"}, {"a": None, 1: 2}])
def test_facts_of_another_kind_are_left_out(facts):
    error = from_wire({"code": "overloaded", "message": "too much", "facts": facts})
    assert (error.code, error.__dict__) == ("overloaded", {"retry_after_s": 0.0})


@pytest.mark.parametrize("fields", [{}, {"code": []}, {"code": "nobody knows", "facts": {"a": 1}}])
def test_what_is_unknown_is_a_remote_error(fields):
    assert from_wire(fields).code == "remote"
