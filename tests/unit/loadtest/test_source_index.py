from pathlib import Path
from textwrap import dedent

import pytest

from denoagents.loadtest.bytecode import callers_by_bytecode
from denoagents.loadtest.corpus import open_corpus
from denoagents.loadtest.source_index import index_source


def callers(source: str, module: str = "app", is_package: bool = False) -> dict[str, set[str]]:
    """The callers that both routes find; they must agree."""
    content = dedent(source).encode()
    by_tree = index_source(content, module, "app.py", is_package).callers
    by_code = callers_by_bytecode(content, module, "app.py", is_package)
    assert {target: set(names) for target, names in by_tree.items()} == by_code
    return by_code


def test_a_call_through_an_import_is_found_with_its_function():
    found = callers(
        """
        import os
        def save(path):
            os.replace(path, path + ".old")
        """
    )
    assert found == {"os.replace": {"app.save"}}


@pytest.mark.parametrize(
    ("statement", "call", "target"),
    [
        ("import os.path", "os.path.join(1)", "os.path.join"),
        ("import os.path as p", "p.join(1)", "os.path.join"),
        ("import xml.dom.minidom as m", "m.parse(1)", "xml.dom.minidom.parse"),
        ("from os import replace as r", "r(1)", "os.replace"),
        ("from os import path", "path.join(*a, **k)", "os.path.join"),
        ("from . import events", "events.go()", "pkg.events.go"),
        ("from .events import go", "go(x=1)", "pkg.events.go"),
    ],
)
def test_names_are_resolved_through_imports_and_aliases(statement, call, target):
    source = f"{statement}\ndef f(a, k):\n    return {call}\n"
    assert callers(source, "pkg.mod") == {target: {"pkg.mod.f"}}


def test_methods_nested_functions_lambdas_and_comprehensions_belong_to_what_holds_them():
    found = callers(
        """
        import os
        class Shop:
            def sell(self):
                def inner():
                    return [os.getpid() for _ in range(3)]
                return lambda: os.getcwd()
        def late():
            return {k: os.stat(k) for k in os.listdir()}
        """
    )
    assert found == {
        "os.getpid": {"app.Shop.sell.inner"},
        "os.getcwd": {"app.Shop.sell"},
        "os.stat": {"app.late"},
        "os.listdir": {"app.late"},
    }


def test_decorators_defaults_and_class_bodies_call_in_the_scope_around():
    found = callers(
        """
        import functools, time
        @functools.lru_cache(None)
        def f(now=time.time()): ...
        class C:
            born = time.monotonic()
            def g(self, now=time.time()): ...
        """
    )
    assert found == {
        "functools.lru_cache": {"app"},
        "time.time": {"app", "app.C"},
        "time.monotonic": {"app.C"},
    }


def test_a_modules_own_functions_are_targets_too():
    assert callers("def f(): ...\ndef g():\n    return f().x()\n") == {"app.f": {"app.g"}}


@pytest.mark.parametrize(
    "source",
    [
        "import os\ndef f(os):\n    os.getpid()\n",
        "import os\ndef f():\n    os = 1\n    os.getpid()\n",
        "try:\n    import os\nexcept ImportError:\n    os = None\ndef f():\n    os.getpid()\n",
        "import os\ndef f():\n    return os.environ\n",
        "import os\ndef f():\n    return os.environ['x'].strip()\n",
        "import os\ndef f():\n    return (os.getpid)()\n",
        "import os\ndef f(a):\n    assert os.name == a, 'no'\n",
        "import os\n@os.register\ndef f(): ...\n",
        "import os\ndef f():\n    return 1\n    os.getpid()\n",
        "import os\nif 0:\n    os.getpid()\n",
        "def f(): ...\ndef f(): ...\ndef g():\n    f()\n",
        "import os\ndef f():\n    for os in ():\n        os.getpid()\n",
        "import os\ndef f():\n    return [os.getpid() for os in ()]\n",
        "import os\ndef f():\n    match 1:\n        case os:\n            os.getpid()\n",
    ],
)
def test_what_is_no_plain_call_of_a_module_name_is_left_out(source):
    assert callers(source) == {}


def test_a_class_body_hides_the_module_only_for_itself():
    found = callers(
        """
        import os
        class C:
            os = 1
            x = os.getpid()
            def f(self):
                return os.getcwd()
        """
    )
    assert found == {"os.getcwd": {"app.C.f"}}


def test_definitions_carry_line_of_the_first_decorator_kind_and_first_paragraph():
    found = index_source(
        b'import a\n\n@a.b\ndef f():\n    """One\n    two.\n\n    Three.\n    """\n'
        b"class C:\n    def m(self): ...\n",
        "pkg.mod",
        "pkg/mod.py",
        False,
    ).definitions
    f = found["pkg.mod.f"]
    assert (f.line, f.kind, f.summary, f.file) == (3, "function", "One\ntwo.", "pkg/mod.py")
    assert found["pkg.mod.C"].kind == "class"
    assert found["pkg.mod.C.m"].kind == "method"


def test_both_routes_agree_on_the_largest_modules_of_this_pythons_library():
    corpus = open_corpus()
    largest = sorted(corpus.sources.values(), key=lambda s: -s.size_bytes)[:25]
    for source in largest:
        content = (Path(corpus.root) / source.file).read_bytes()
        arguments = (content, source.module, source.file, source.is_package)
        by_tree = {t: set(names) for t, names in index_source(*arguments).callers.items()}
        assert by_tree == callers_by_bytecode(*arguments), source.module
