"""The benchmark of parts beyond the paper, on a study small enough for the tests."""

import argparse
import shutil

import numpy as np
import pandas as pd
import pytest

import beyond as benchmark
from conftest import N_TEST, make_study
from ubp.methods import METHODS


def asked(study, out, **changes):
    values = {"study": study, "out": out, "encoder": "gabor", "layer": None, "width": (13, 6), "settings": None}
    values |= {"subjects": ["sub-01"], "seeds": 2, "parts": ["bank", "cosine loss"], "plus": ["bank", "cosine loss"]}
    values |= {"only": None, "validate": 0, "epochs": [8], "batch_size": 20, "learning_rate": 1e-3, "set": []}
    return argparse.Namespace(**{**values, "store": out / "features", "processes": 1, **changes})


def test_the_parts_of_ubp_plus_are_those_of_the_method():
    joined = [
        one for name in benchmark.PLUS_PARTS if not benchmark.PARTS[name].layer for one in [benchmark.PARTS[name]]
    ]
    options = {key: value for part in joined for key, value in part.options.items()}
    assert options == dict(METHODS["ubp-plus"].options)
    assert {part.preset for part in joined if part.preset} == {METHODS["ubp-plus"].preset}


def test_every_part_is_added_and_removed():
    names = [one.name for one in benchmark.configurations(("bank", "layer"), ("bank", "average"))]
    assert names == ["ubp", "ubp + bank", "ubp + average", "ubp-plus", "ubp-plus - bank", "ubp-plus - layer"]


def test_the_table_holds_what_evaluate_found_and_differences_are_paired(tmp_path, capsys):
    make_study(tmp_path / "study", n_subjects=1)
    benchmark.run(asked(tmp_path / "study", tmp_path / "out"))
    table = pd.read_csv(tmp_path / "out/beyond.csv").set_index("configuration")
    for name in table.index:
        for_seed = []
        for seed in range(2):
            ranks = pd.read_csv(tmp_path / f"out/runs/intra-subject/sub-01/{name}/seed-{seed}/ranks.csv")
            assert len(ranks) == N_TEST
            for_seed.append((ranks["rank"] == 1).mean())
        assert table.loc[name, "top1"] == pytest.approx(np.mean(for_seed))
    for name, against in (("ubp + bank", "ubp"), ("ubp-plus", "ubp"), ("ubp-plus - bank", "ubp-plus")):
        assert table.loc[name, "against"] == against
        expected = table.loc[name, "top1"] - table.loc[against, "top1"]
        assert table.loc[name, "difference"] == pytest.approx(expected)
    assert (table["seconds"] > 0).all()
    text = (tmp_path / "out/beyond.md").read_text()
    assert text.count("ubp-plus - ") == 2
    assert f"{100 * table.loc['ubp', 'top1']:.1f}" in text
    capsys.readouterr()
    benchmark.run(asked(tmp_path / "study", tmp_path / "out"))
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out/beyond.csv").set_index("configuration"), table)


def test_validation_never_opens_the_test_split(tmp_path, capsys):
    make_study(tmp_path / "study", n_subjects=1)
    printed = []
    for name in ("clean", "poisoned"):
        place = tmp_path / name
        shutil.copytree(tmp_path / "study", place)
        if name == "poisoned":
            test = (pd.read_csv(place / "sub-01/trials.csv")["split"] == "test").to_numpy()
            signals = np.load(place / "sub-01/signals.npy")
            signals[test] = np.nan
            np.save(place / "sub-01/signals.npy", signals)
        capsys.readouterr()
        benchmark.run(asked(place, tmp_path / f"{name}-out", validate=6, only=["ubp", "ubp + bank"], seeds=1))
        printed.append([line for line in capsys.readouterr().out.splitlines() if "a model" not in line])
        assert not list((tmp_path / f"{name}-out").rglob("ranks.csv"))
    assert printed[0] == printed[1]
    assert sum("ubp" in line for line in printed[0]) == 2
