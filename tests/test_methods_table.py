"""The benchmark of all methods side by side, on a study small enough for the tests."""

import argparse
import dataclasses
from types import SimpleNamespace

import pandas as pd
import pytest

import methods as benchmark
from conftest import N_TEST, make_study
from ubp.config import TrainOptions
from ubp.methods import METHODS


def asked(out, study, **changes):
    values = {"study": study, "out": out, "encoder": "gabor", "width": (13, 6), "methods": ["vanilla", "nice"]}
    values |= {"settings": ["intra-subject"], "subjects": None, "seeds": 1, "epochs": None, "control_subjects": 1}
    values |= {
        "processes": 1,
        "change": [["all", "epochs=12"], ["all", "learning_rate=1e-3"], ["all", "batch_size=20"]],
    }
    return argparse.Namespace(**(values | changes))


@pytest.fixture
def in_this_process(monkeypatch):
    pool = SimpleNamespace(map=lambda function, tasks: map(function, tasks))
    context = type("Pool", (), {"__enter__": lambda self: pool, "__exit__": lambda self, *error: None})
    monkeypatch.setattr(benchmark, "ProcessPoolExecutor", lambda *arguments: context())


def test_methods_stand_beside_their_controls_and_a_refusal_is_told(tmp_path, in_this_process, capsys):
    make_study(tmp_path / "study", n_subjects=2)
    benchmark.compare_methods(asked(tmp_path / "out", tmp_path / "study"))
    table = pd.read_csv(tmp_path / "out/methods.csv").set_index("method")
    assert list(table.index) == ["ridge", "vanilla"]
    row = table.loc["vanilla"]
    assert row["top1_low"] <= row["top1"] <= row["top1_high"]
    assert row["top1_chance"] == pytest.approx(1 / N_TEST)
    assert row["top1"] > 3 * row["top1_chance"]
    assert row["top1_above"]
    assert row["shuffled_top1"] < row["top1"]
    text = (tmp_path / "out/methods.md").read_text()
    assert "nice | refused" in text
    assert "nice is refused: The window has 8 samples, but TSConv needs at least 75" in text
    assert r"vanilla: epochs 12 (50), learning\_rate 0.001 (0.0001), batch\_size 20 (1024)." in text
    assert "intra-subject, nice: The window has 8" in capsys.readouterr().out


@pytest.mark.parametrize("setting", benchmark.SETTINGS)
def test_changes_go_over_the_published_options(setting, tmp_path):
    arguments = asked(tmp_path, None, change=[["nice", "beta1=0.7"], ["all", "weight_decay=0.5"]])
    changes = benchmark.changes_of(arguments, "nice", setting)
    assert (changes["beta1"], changes["weight_decay"]) == (0.7, 0.5)
    assert changes["epochs"] == benchmark.EPOCHS[setting]["nice"]
    assert "beta1" not in benchmark.changes_of(arguments, "ubp", setting)
    arguments = asked(tmp_path, tmp_path, change=None)
    assert benchmark.changes_of(arguments, "nice", setting) == {}
    assert benchmark.changed("nice", setting, {}) == "nice: as published."


def test_every_method_has_settings_for_the_simulated_study():
    known = {field.name for field in dataclasses.fields(TrainOptions)}
    for name in METHODS:
        for setting in benchmark.SETTINGS:
            changes = benchmark.changes_of(asked(None, None, change=None), name, setting)
            assert set(changes) <= known
            assert METHODS[name].train_options(setting, **changes).epochs <= METHODS[name].train_options(setting).epochs
