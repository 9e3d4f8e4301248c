"""Every brain encoder as ONNX against torch: several batch sizes, every subject; and what is refused."""

import json
import os
import re
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from onnx_export import SUBJECTS, make_model
from sentences import one_sentence
from test_cli import run
from ubp.brain import BRAIN_ENCODERS
from ubp.config import BRAVL
from ubp.errors import InputError, UbpError
from ubp.model import Model
from ubp.onnx_encoder import encoder_onnx, knows_subjects
from ubp.onnx_export import TOLERANCE, export_onnx, largest_difference

N_CHANNELS, N_TIMES = 5, 160
skip_slow = pytest.mark.skipif("UBP_SLOW_TESTS" not in os.environ, reason="slow; set UBP_SLOW_TESTS to run it")


def make(name, n_channels=N_CHANNELS, n_times=N_TIMES, **options):
    return make_model(name, n_channels, n_times, embed_dim=24, **options)


@cache
def exported(name):
    model = make(name)
    return model, encoder_onnx(model)


def saved(folder, *arguments, **options):
    make(*arguments, **options).save(folder)
    return folder


def session_of(data):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", [*BRAIN_ENCODERS, BRAVL])
def test_onnx_gives_what_torch_gives(name):
    model, data = exported(name)
    mean, deviation = (part.numpy() for part in model.scale)
    onnx.checker.check_model(onnx.load_from_string(data))
    session, random = session_of(data), np.random.default_rng(1)
    known = knows_subjects(model)
    assert known == (name == "atm-s")
    assert [one.name for one in session.get_inputs()] == ["signals", "subject"][: 1 + known]
    different = set()
    for size in (1, 2, 3, 16):
        signals = (random.standard_normal((size, N_CHANNELS, N_TIMES)) * deviation + mean).astype(np.float32)
        for number, who in enumerate((*SUBJECTS, "sub-09")) if known else ((0, None),):
            number = -1 if who == "sub-09" else number
            given = {"subject": np.full(size, number, np.int64)} if known else {}
            (found,) = session.run(["embedding"], {"signals": signals, **given})
            expected = model.embed(signals, who)
            assert found.shape == expected.shape
            assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()
            different.add(found[0, 0].item())
    assert len(different) == 4 * (4 if known else 1)


PARTS = {
    "members": ({"subject_layers": True, "members": 2}, True),
    "adapter": ({"subject_layers": True, "adapter": "residual", "components": 9, "members": 2}, True),
    "both tables": ({"brain_encoder": "atm-s+tsconv", "subject_layers": True}, True),
    "one of two": ({"brain_encoder": "tsconv+atm-s"}, True),
    "scale": ({"alignment": "scale"}, False),
    "euclidean": ({"alignment": "euclidean", "members": 2}, False),
    "riemannian": ({"alignment": "riemannian", "subject_layers": True, "adapter": "linear"}, True),
    "tokens": ({"alignment": "euclidean", "brain_encoder": "atm-s"}, True),
    "bravl": ({"alignment": "euclidean", "brain_encoder": BRAVL}, False),
}
"""Options of training, and whether the file has an input for the subject."""


@pytest.mark.parametrize("setting", ["intra-subject", "inter-subject"])
@pytest.mark.parametrize("case", PARTS)
def test_subject_layers_wherever_they_are_and_alignments_are_in_the_file(case, setting, tmp_path):
    options, known = PARTS[case]
    options = {"brain_encoder": "tsconv"} | options
    model = make(options.pop("brain_encoder"), setting=setting, **options)
    about, out = model.description, tmp_path / "a.onnx"
    model.save(tmp_path / "model")
    assert export_onnx(tmp_path / "model", out) <= TOLERANCE
    session = session_of(out.read_bytes())
    assert [one.name for one in session.get_inputs()] == ["signals", "subject"][: 1 + known]
    assert session.get_modelmeta().custom_metadata_map["aligned_as"] == (about.subject if about.aligned else "")
    signals = (np.random.default_rng(4).standard_normal((3, N_CHANNELS, N_TIMES)) * 2e-6).astype(np.float32)
    different = set()
    for number in (*range(len(about.trained_on)), -1) if known else (None,):
        given = {} if number is None else {"subject": np.full(3, number, np.int64)}
        found = session.run(None, {"signals": signals, **given})[0]
        owner = about.subject if number in (None, -1) else about.trained_on[number]
        ready = signals
        if about.aligned:
            alignment = model.alignment[owner]
            ready = (alignment.matrix.numpy() @ (signals - alignment.centre.numpy())).astype(np.float32)
        expected = model.embed(ready, "sub-09" if number == -1 else owner, aligned=True)
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())
        different.add(found[0, 0].item())
    assert len(different) == (1 + len(about.trained_on) if known else 1)


def test_a_file_with_the_alignment_of_somebody_else_is_not_taken():
    model = make("tsconv", alignment="euclidean")
    other = replace(model, alignment=dict.fromkeys(model.alignment, model.alignment["sub-01"]))
    with pytest.raises(InputError) as caught:
        largest_difference(model, encoder_onnx(other))
    one_sentence(caught, "differs from torch by")


def test_subjects_may_differ_within_a_batch():
    model, data = exported("atm-s")
    signals = np.random.default_rng(2).standard_normal((4, N_CHANNELS, N_TIMES)).astype(np.float32) * 1e-6
    numbers = np.array([2, -1, 0, 1])
    (found,) = session_of(data).run(None, {"signals": signals, "subject": numbers})
    for row, who in enumerate(("sub-04", "sub-09", "sub-01", "sub-02")):
        expected = model.embed(signals[row : row + 1], who)[0]
        assert np.abs(found[row] - expected).max() <= TOLERANCE * np.abs(expected).max()


def test_the_command_writes_a_checked_file_that_tells_what_it_needs(tmp_path, capsys):
    folder, out = saved(tmp_path / "model", "eegproject"), tmp_path / "out" / "model.onnx"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert run("export-model", folder, "--out", out) == 0
    assert "differ by at most" in capsys.readouterr().out
    assert [path.name for path in out.parent.iterdir()] == ["model.onnx"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    session, model = session_of(out.read_bytes()), Model.load(folder)
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["channels"]) == ["c0", "c1", "c2", "c3", "c4"]
    assert (said["sfreq"], said["tmin"], said["n_times"], said["embedding_dim"]) == ("250", "-0.1", "160", "24")
    assert (said["image_encoder"], said["image_encoder_fingerprint"]) == ("onnx:tower.onnx", "f" * 64)
    assert (said["subjects"], said["gallery_level"]) == (json.dumps(SUBJECTS), model.description.preset.base.name)
    assert said["model_identity"] == model.description.identity()
    assert session.get_inputs()[0].shape == ["batch", 5, 160]
    assert session.get_outputs()[0].shape == ["batch", 24]
    for place in (b"/secret/place", str(tmp_path).encode(), str(Path(torch.__file__).parent).encode(), b"forward("):
        assert place not in out.read_bytes()
    signals = np.random.default_rng(3).standard_normal((9, 5, 160)).astype(np.float32) * 1e-6
    np.testing.assert_allclose(session.run(None, {"signals": signals})[0], model.embed(signals), rtol=0, atol=1e-5)


def test_the_lines_of_the_documentation_run(tmp_path, monkeypatch):
    text = (Path(__file__).parents[1] / "docs/sharing.md").read_text()
    (code,) = re.findall("```python\n(.*?)```", text, re.S)
    model, data = exported("eegproject")
    (tmp_path / "model.onnx").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)
    expected = model.embed(np.zeros((8, N_CHANNELS, N_TIMES), np.float32))
    np.testing.assert_allclose(names["embedding"], expected, rtol=0, atol=1e-5)


def test_a_file_that_differs_is_not_written(tmp_path):
    (_, data), other = exported("eegproject"), make("eegproject")
    with torch.no_grad():
        next(other.encoder.parameters()).mul_(1.001)
    with pytest.raises(InputError) as caught:
        largest_difference(other, data)
    one_sentence(caught, "differs from torch by", "at most 1e-05", "nothing is written")
    other.scale[1][2] = 0.0  # every embedding is nan
    other.save(tmp_path / "model")
    with pytest.raises(InputError) as caught:
        export_onnx(tmp_path / "model", tmp_path / "a.onnx")
    one_sentence(caught, "differs from torch by inf")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path, capsys):
    folder = saved(tmp_path / "model", "eegproject")
    for arguments, message in (
        ((folder, "--out", tmp_path / "a.pt"), "ends in .onnx"),
        ((tmp_path, "--out", tmp_path / "a.onnx"), "model.json does not exist"),
        (("hf://someone/brain", "--out", tmp_path / "a.onnx"), "run `ubp pull`"),
    ):
        assert run("export-model", *arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.splitlines()) == 1
    assert run("export", folder, "--out", tmp_path / "epochs") == 2
    assert "use `ubp export-model`" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_extra_is_hinted_at(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UbpError, match=r"onnxscript is needed; install it with: pip install 'ubp\[onnx\]'"):
        export_onnx(saved(tmp_path / "model", "eegproject"), tmp_path / "a.onnx")


def test_a_model_of_braindecode_is_exported():
    model = make("braindecode:EEGNet", n_channels=8, n_times=250)
    assert largest_difference(model, encoder_onnx(model)) <= TOLERANCE


@skip_slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ATCNet", "cannot be run by ONNX Runtime"),
        ("SyncNet", "torch's exporter ended without an answer"),
        ("ShallowFBCSPNet", ""),
    ],
)
def test_the_command_writes_a_model_of_braindecode_or_says_why_not(name, message, tmp_path, capfd):
    folder = saved(tmp_path / "model", f"braindecode:{name}", n_channels=17, n_times=250)
    capfd.readouterr()
    if not message:
        assert export_onnx(folder, tmp_path / "a.onnx") <= TOLERANCE
    else:
        with pytest.raises(InputError) as caught:
            export_onnx(folder, tmp_path / "a.onnx")
        one_sentence(caught, message, f"braindecode:{name}")
        assert not (tmp_path / "a.onnx").exists()
    assert capfd.readouterr().err == ""
