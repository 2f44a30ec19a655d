from denoagents.loadtest.corpus import open_corpus
from denoagents.loadtest.shelf import index_share, join_modules, read_shelf, write_shelf


def small_shelf(tmp_path):
    (tmp_path / "a.py").write_text("import os\ndef f():\n    os.getpid()\n")
    (tmp_path / "broken.py").write_text("def (:\n")
    corpus = open_corpus(tmp_path, librarians=1)
    return corpus, join_modules(corpus, "shelf-00", index_share(corpus, "shelf-00"))


def test_a_file_that_is_no_python_is_skipped(tmp_path):
    _, shelf = small_shelf(tmp_path)
    assert list(shelf.definitions) == ["a.f"]
    assert shelf.called_modules() == ["os"]


def test_a_saved_shelf_is_read_back(tmp_path):
    _, shelf = small_shelf(tmp_path)
    path = tmp_path / "library" / "shelf-00.msgpack"
    write_shelf(path, shelf)
    assert read_shelf(path) == shelf
    assert [p.name for p in path.parent.iterdir()] == ["shelf-00.msgpack"]


def test_a_missing_or_a_cut_file_is_read_as_missing(tmp_path):
    _, shelf = small_shelf(tmp_path)
    path = tmp_path / "x.msgpack"
    assert read_shelf(path) is None
    write_shelf(path, shelf)
    path.write_bytes(path.read_bytes()[:-3])
    assert read_shelf(path) is None


def test_an_index_of_sources_that_have_changed_or_gone_is_read_as_missing(tmp_path):
    _, shelf = small_shelf(tmp_path)
    path = tmp_path / "x.msgpack"
    write_shelf(path, shelf)
    (tmp_path / "a.py").write_text("")
    assert read_shelf(path) is None
    (tmp_path / "a.py").unlink()
    assert read_shelf(path) is None
