import contextlib
import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from ubp.data.pickles import read_pickle, read_torch
from ubp.errors import InputError

CONTENT = {
    "signals": np.random.default_rng(0).standard_normal((5, 7)),
    "half": np.arange(24, dtype=np.float16).reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
    "part": np.arange(40.0).reshape(4, 10)[:, 2:5],
    "names": np.array([["Oz", "Fp1"], ["é", ""]]),
    "big_endian": np.arange(4, dtype=">i2"),
    "flags": np.array([True, False]),
    "zero": np.empty((0, 3)),
    "number": np.float64(250.0),
    "whole": np.int64(-3),
    "list": ["a", 1, -1, 300, 70000, -(2**40), 2.5, None, True, False, ("x",), (), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    "nested": {"a": {"b": [b"bytes", "text" * 100]}},
    1: "numbers may be keys",
}


def same(a, b):
    if isinstance(b, np.ndarray):
        return isinstance(a, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and (a == b).all()
    if isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in b)
    if isinstance(b, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b and type(a) is (type(b) if not isinstance(b, np.generic) else type(b.item()))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("module", [b"numpy._core", b"numpy.core"])
def test_equals_what_python_unpickles(tmp_path, protocol, module):
    data = pickle.dumps(CONTENT, protocol=protocol)
    if protocol < 4:
        data = data.replace(b"numpy._core", module)
    elif module == b"numpy.core":
        old = data.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")
        data = old.replace(b"\x8c\x13numpy._core.numeric", b"\x8c\x12numpy.core.numeric")
    path = tmp_path / "content.pkl"
    path.write_bytes(data)
    assert same(read_pickle(path).value, CONTENT)
    assert b"numpy" in data


def test_reads_what_numpy_and_torch_save(tmp_path):
    np.save(tmp_path / "content.npy", CONTENT)
    assert same(read_pickle(tmp_path / "content.npy").value, CONTENT)
    for protocol in (2, 4, 5):
        torch.save(CONTENT, tmp_path / "content.pt", pickle_protocol=protocol)
        assert same(read_torch(tmp_path / "content.pt").value, CONTENT)


def test_one_array_used_twice_stays_one(tmp_path):
    array, names = np.arange(3), ["a"]
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": array, "b": array, "c": names, "d": names}))
    value = read_pickle(tmp_path / "x.pkl").value
    assert value["a"] is value["b"]
    assert value["c"] is value["d"]


def test_arrays_are_views_of_the_file(tmp_path):
    np.save(tmp_path / "x.npy", {"signals": np.ones((1000, 1000))})
    opened = read_pickle(tmp_path / "x.npy")
    signals = opened.array("signals", 2, "f")
    assert not signals.flags.owndata
    assert not signals.flags.writeable
    total = signals.sum()
    opened.forget()
    assert signals.sum() == total == 1e6


class WritesFile:
    def __reduce__(self):
        return os.system, ("touch bad-file",)


class Evaluates:
    def __reduce__(self):
        return eval, ("open('bad-file', 'w')",)


class CallsKnownNameWrongly:
    def __reduce__(self):
        return np.dtype, ("f8,f8",)


class HasState:
    pass


ATTACKS = {
    "system": {"eeg": WritesFile()},
    "eval": [Evaluates()],
    "in an array": np.array([WritesFile()], dtype=object),
    "fields": CallsKnownNameWrongly(),
    "instance": HasState(),
    "ordered": OrderedDict(a=1),
    "path": Path("bad-file"),
    "function": {"a": np.load},
    "class": np.ndarray,
    "set": {1, 2},
    "complex": {"a": 1j},
    "key": {(1, 2): 3},
    "record": {"a": np.zeros(2, dtype=[("a", "f8")])},
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_refuses_all_else_and_runs_nothing(tmp_path, monkeypatch, name, protocol):
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps(ATTACKS[name], protocol=protocol)
    Path("bare.npy").write_bytes(data)
    np.save("saved.npy", np.array(ATTACKS[name], dtype=object))
    torch.save(ATTACKS[name], "saved.pt", pickle_protocol=protocol)
    before = sorted(tmp_path.iterdir())
    for read, path in ((read_pickle, "bare.npy"), (read_pickle, "saved.npy"), (read_torch, "saved.pt")):
        with pytest.raises(InputError, match=rf"{path} .*; nothing was loaded from it\.$"):
            read(path)
    assert sorted(tmp_path.iterdir()) == before


def test_the_attack_is_real(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(ATTACKS["system"]))
    assert Path("bad-file").exists()


def stacked(*names, arguments=b")"):
    """Pickle that applies a name given as text on the stack."""
    return b"\x80\x04" + b"".join(b"\x8c" + bytes([len(n)]) + n for n in names) + b"\x93" + arguments + b"R."


@pytest.mark.parametrize(
    "data",
    [
        stacked(b"os", b"system", arguments=b"\x8c\x0etouch bad-file\x85"),
        stacked(b"numpy", b"load"),
        stacked(b"numpy.core.multiarray", b"_reconstruct.__globals__"),
        stacked(b"numpy", b"ndarray"),
        stacked(b"builtins", b"getattr"),
        b"\x80\x02cos\nsystem\nX\x0e\x00\x00\x00touch bad-file\x85R.",
        b"cos\nsystem\n(S'touch bad-file'\ntR.",
        b"(S'touch bad-file'\nios\nsystem\n.",
        b"\x80\x04]\x94h\x00e.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x04K\x01K\x02b.",
        b"\x80\x04" + b"]\x94" * 1000 + b"a" * 999 + b".",
        b"\x80\x04.",
        b"\x80\x04}K\x01.",
        b"\x80\x04h\x07.",
        b"",
        b"<html>Not found</html>",
    ],
    ids=range(17),
)
def test_refuses_handmade_pickles(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    Path("x.npy").write_bytes(data)
    if data == b"\x80\x04}K\x01.":
        assert read_pickle("x.npy").value == 1
        return
    with pytest.raises(InputError, match=r"^x\.npy .*\.$"):
        read_pickle("x.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_a_shape_that_its_bytes_do_not_fill_is_refused(tmp_path):
    data = pickle.dumps(np.zeros(4, np.uint8), protocol=4)
    assert data.count(b"K\x04\x85") == 1
    for size in (
        b"K\x05\x85",
        b"J\xff\xff\xff\xff\x85",
        b"J\xff\xff\xff\x7f\x85",
        b"\x8a\x09" + b"\xff" * 8 + b"\0\x85",
    ):
        (tmp_path / "x.npy").write_bytes(data.replace(b"K\x04\x85", size))
        with pytest.raises(InputError, match=r"do not belong together|damaged"):
            read_pickle(tmp_path / "x.npy")


def test_lists_that_double_at_each_level_take_no_time(tmp_path):
    level = ["x"]
    for _ in range(15):
        level = [level, level]
    (tmp_path / "x.npy").write_bytes(pickle.dumps(level))
    value = read_pickle(tmp_path / "x.npy").value
    assert value[0] is value[1]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_files_cut_short(tmp_path, share):
    np.save(tmp_path / "x.npy", CONTENT)
    torch.save(CONTENT, tmp_path / "x.pt")
    for read, name in ((read_pickle, "x.npy"), (read_torch, "x.pt")):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: int(share * len(data))])
        with pytest.raises(InputError, match=rf"{name} "):
            read(tmp_path / name)


def test_damaged_bytes_are_refused_or_harmless(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps({"a": np.arange(3.0), "b": ["x", 1]}, protocol=4)
    random = np.random.default_rng(0)
    for _ in range(3000):
        damaged = bytearray(data)
        for place in random.integers(0, len(data), random.integers(1, 5)):
            damaged[place] = random.integers(256)
        Path("x.npy").write_bytes(damaged)
        with contextlib.suppress(InputError):
            read_pickle("x.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_other_files_are_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_pickle(tmp_path / "absent.npy")
    np.save(tmp_path / "plain.npy", np.arange(3))
    with pytest.raises(InputError, match="holds a plain array"):
        read_pickle(tmp_path / "plain.npy")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": 1}))
    (tmp_path / "packed.pt").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match=r"no plain member data\.pkl"):
        read_torch(tmp_path / "packed.pt")
    torch.save({"a": torch.ones(3)}, tmp_path / "tensor.pt")
    with pytest.raises(InputError, match=r"tensor\.pt .*nothing was loaded"):
        read_torch(tmp_path / "tensor.pt")


def test_fields_are_checked(tmp_path):
    (tmp_path / "x.npy").write_bytes(pickle.dumps({"a": np.zeros((2, 3)), "b": [1], "c": np.array(["x"])}))
    content = read_pickle(tmp_path / "x.npy")
    assert content.texts("c") == ["x"]
    with pytest.raises(InputError, match=r"has no 'd' \(it has a, b, c\)"):
        content.field("d")
    with pytest.raises(InputError, match=r"'a' has shape \(2, 3\) and type float64; expected 3 axes"):
        content.array("a", 3, "f")
    with pytest.raises(InputError, match="'b' is a list; expected a numpy array"):
        content.array("b", 1, "f")
    with pytest.raises(InputError, match="'b' is not a list of texts"):
        content.texts("b")
    (tmp_path / "y.npy").write_bytes(pickle.dumps([1]))
    with pytest.raises(InputError, match="holds a list"):
        read_pickle(tmp_path / "y.npy").field("a")
