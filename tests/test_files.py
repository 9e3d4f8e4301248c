import os
import subprocess
import sys

import pytest

from ubp.errors import InputError, UbpError
from ubp.files import atomic_file, atomic_folder, digest, inside, read_json, write_json, write_text


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep/down/file.txt"
    write_text(path, "one\n")
    with pytest.raises(RuntimeError), atomic_file(path, "w") as handle:
        handle.write("two")
        raise RuntimeError
    assert path.read_text() == "one\n"
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_folder_appears_whole_or_not_at_all_and_is_not_overwritten(tmp_path):
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "new") as partial:
        (partial / "a").write_text("a")
        raise RuntimeError
    assert os.listdir(tmp_path) == []
    with atomic_folder(tmp_path / "new") as partial:
        (partial / "a").write_text("a")
    assert os.listdir(tmp_path / "new") == ["a"]
    with pytest.raises(InputError, match="exists already"), atomic_folder(tmp_path / "new"):
        pass


def test_hard_links_are_not_flushed_again(tmp_path, monkeypatch):
    (tmp_path / "old").write_text("old")
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(os.fstat(handle).st_ino))
    with atomic_folder(tmp_path / "new") as partial:
        os.link(tmp_path / "old", partial / "link")
        (partial / "own").write_text("own")
    assert flushed.count((tmp_path / "new/own").stat().st_ino) == 1
    assert (tmp_path / "old").stat().st_ino not in flushed


WRITER = """
import sys, time
from pathlib import Path
from ubp.files import atomic_file, atomic_folder
make, path = {"file": atomic_file, "folder": atomic_folder}[sys.argv[1]], Path(sys.argv[2])
with make(path) as partial:
    if sys.argv[1] == "folder":
        (partial / "left").mkdir()
        (partial / "left/over").write_text("x")
    else:
        partial.write(b"half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_one_writer_at_a_time_and_what_a_killed_one_left_is_taken_over(kind, tmp_path):
    path = tmp_path / "target"
    make = atomic_file if kind == "file" else atomic_folder
    process = subprocess.Popen([sys.executable, "-c", WRITER, kind, str(path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    with pytest.raises(InputError, match="Another process is writing"), make(path):
        pass
    process.kill()
    process.wait()
    assert os.listdir(tmp_path) == ["target.partial"]
    with make(path) as partial:
        if kind == "file":
            partial.write(b"whole")
        else:
            assert os.listdir(partial) == []
            (partial / "whole").write_text("x")
    assert os.listdir(tmp_path) == ["target"]
    assert path.read_bytes() == b"whole" if kind == "file" else os.listdir(path) == ["whole"]


def test_paths_that_leave_the_folder_or_cannot_be_are_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link").symlink_to(tmp_path)
    assert inside(tmp_path / "in", "a/b.png") == tmp_path / "in/a/b.png"
    for name in ("../x", "/etc/passwd", "a/../../x", "link/x"):
        with pytest.raises(InputError, match="leaves"):
            inside(tmp_path / "in", name)
    for name in ("a\0b",):
        with pytest.raises(InputError, match="cannot be used"):
            inside(tmp_path / "in", name)


def test_places_that_cannot_be_written_are_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises((InputError, UbpError), match="cannot be written"):
        write_text(tmp_path / "file/below", "x")
    with pytest.raises((InputError, UbpError), match="cannot be written"):
        write_text(tmp_path / ("n" * 300), "x")


def test_json_is_read_back_and_errors_name_the_file(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, None]})
    assert read_json(tmp_path / "a.json", "a test") == {"b": [1, None]}
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "bad.json").write_text("{")
    for name, message in (
        ("none.json", "does not exist"),
        ("list.json", "holds a list"),
        ("bad.json", "cannot be read"),
    ):
        with pytest.raises(InputError, match=message):
            read_json(tmp_path / name, "a test")


def test_digest_keeps_borders_of_parts():
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest(b"abc", "")}) == 4
    assert digest("abc") == digest(b"abc")
