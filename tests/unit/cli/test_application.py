"""Loading an app, and every way in which it can be wrong."""

import sys

import pytest

from denoagents.cli.application import AppError, group_name, load_application

COUNTER = """from denoagents import Actor
class Counter(Actor):
    async def add(self) -> int:
        return 1
"""


@pytest.fixture
def app(tmp_path, monkeypatch):
    """Write a module with a name of its own, and forget it afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)

    def write(text, name="an_app_of_tests.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    yield write
    for name in set(sys.modules) - before:
        if "of_tests" in name:
            del sys.modules[name]


def names(spec):
    return [one.__name__ for one in load_application(spec).types]


def test_a_file_is_loaded_with_its_actors(app):
    assert names(app(COUNTER)) == ["Counter"]


def test_a_module_of_a_package_is_loaded_from_the_working_directory(app):
    app("", "a_package_of_tests/__init__.py")
    app(COUNTER, "a_package_of_tests/counting.py")
    assert names("a_package_of_tests.counting") == ["Counter"]


def test_actors_imported_from_a_neighbour_are_hosted_too(app):
    app(COUNTER, "neighbour_of_tests.py")
    assert names(app("from neighbour_of_tests import Counter\n")) == ["Counter"]


def test_private_actors_and_denoagents_own_are_not(app):
    text = (
        COUNTER.replace("Counter", "_Hidden")
        + "from denoagents.loadtest.library import Librarian\n"
    )
    with pytest.raises(AppError, match="holds no actor"):
        load_application(app(text))
    assert names(app(text + "__all__ = ['Librarian']\n", "b_app_of_tests.py")) == ["Librarian"]


def test_an_app_without_actors_says_what_to_write(app):
    with pytest.raises(AppError, match=r"inherits from denoagents\.Actor"):
        load_application(app("x = 1\n"))


def test_a_missing_file_names_the_nearest(app):
    right = app(COUNTER, "billing_of_tests.py")
    with pytest.raises(AppError, match="Did you mean"):
        load_application(right.replace("billing", "biling"))


def test_a_missing_module_is_told_from_a_missing_import(app):
    with pytest.raises(AppError, match=r"^there is no module nowhere_of_tests\.x"):
        load_application("nowhere_of_tests.x")
    with pytest.raises(
        AppError, match="cannot be loaded: ModuleNotFoundError: No module named 'qqq'"
    ):
        load_application(app("import qqq\n"))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("x = \n", "SyntaxError"),
        ("1 / 0\n", r"ZeroDivisionError: division by zero \(.*an_app_of_tests.py, line 1\)"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("from denoagents import Actor\nclass A(Actor):\n    async def f(self, x): ...\n", "A.f"),
    ],
)
def test_an_app_that_fails_names_the_place(app, text, part):
    with pytest.raises(AppError, match=part):
        load_application(app(text))


def test_a_file_that_hides_a_module_of_python_is_refused(app):
    with pytest.raises(AppError, match="would hide"):
        load_application(app(COUNTER, "json.py"))
    with pytest.raises(AppError, match="not a Python name"):
        load_application(app(COUNTER, "my-app.py"))


def test_two_types_of_one_name_are_refused(app):
    app(COUNTER, "one_of_tests.py")
    text = COUNTER + "from one_of_tests import Counter as Other\n"
    with pytest.raises(AppError, match="two actor types named Counter"):
        load_application(app(text))


@pytest.mark.parametrize(
    ("spec", "group"),
    [("hello/app.py", "hello"), ("/x/shop/main.py", "shop"), ("billing.py", "billing"),
     ("shop.billing", "billing"), ("shop.app", "shop"), ("app", "app")],
)  # fmt: skip
def test_a_group_is_named_after_its_app(spec, group):
    assert group_name(spec) == group
