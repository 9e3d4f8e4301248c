"""Table 3 as a command, and the presets it trains."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from test_cli import refused, run
from ubp.commands.reproduce import PRESET_OF, table3
from ubp.config import Common, TrainOptions
from ubp.data.simulated import Simulation, simulation_of, source
from ubp.evaluate import RANKS
from ubp.published import published

SHORT = TrainOptions(epochs=1, batch_size=64, learning_rate=1e-3)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("UBP_CACHE", str(tmp_path_factory.getbasetemp() / "reproduce-features"))


def test_transformations_train_and_are_evaluated_with_a_gallery_of_their_own(tiny_folder, tmp_path, capsys):
    names = ("flip", "mosaic", "mean")
    arguments = ("--subject", "sub-01", "--epochs", 1, "--batch-size", 20, "--width", 13, "--quiet")
    assert run("train", tiny_folder, "--preset", *names, "--out", tmp_path / "runs", *arguments) == 0
    assert run("evaluate", tmp_path / "runs", "--no-ridge", "--quiet") == 0
    results = pd.read_csv(tmp_path / "runs/results.csv").set_index("method")
    assert list(results.index) == list(names)
    assert results.loc["mosaic", "gallery_level"] == "mosaic2"
    assert results.loc["mean", "gallery_level"] == "mean-of-w13-uniform+noise25+low2.55+mosaic2"
    stored = json.loads((tmp_path / "runs/intra-subject/sub-01/mean/seed-0/model.json").read_text())
    assert [level["kind"] for level in stored["preset"]["ladder"][0]["levels"]] == [
        "blur",
        "noise",
        "low-resolution",
        "mosaic",
    ]


def test_unknown_presets_list_the_near_name(tiny_folder, tmp_path, capsys):
    sentence = refused(capsys, "train", tiny_folder, "--preset", "gray-scale", "--out", tmp_path / "runs")
    assert "did you mean 'grayscale'" in sentence
    assert "low-resolution" in sentence
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def made(tiny_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "table3"
    common = Common(store=tmp_path_factory.mktemp("features"), quiet=True)
    options = replace(SHORT, batch_size=20)

    def make(**changes):
        arguments = {
            "out": out,
            "subjects": ("sub-02",),
            "width": 13,
            "step": 6,
            "seeds": (0, 1),
            "options": options,
            "common": common,
        }
        return table3(tiny_folder, **(arguments | changes))

    return out, make, make()


def test_table_3_has_the_papers_ten_rows_with_ours_beside_them(made):
    out, _, rows = made
    paper = published("table3")
    assert list(PRESET_OF) == list(paper["transformation"])
    assert list(rows["transformation"]) == list(PRESET_OF.values())
    np.testing.assert_allclose(rows["published_top1"], paper["intra_top1"] / 100)
    np.testing.assert_allclose(rows["published_top5"], paper["intra_top5"] / 100)
    gain = rows.set_index("transformation")["published_difference"]
    assert gain["ubp"] == pytest.approx(0.088)
    assert gain["vanilla"] == 0
    assert pd.isna(rows["difference"][0])
    for name in ("top1", "top5", "difference"):
        known = rows[rows[name].notna()]
        assert ((known[f"{name}_low"] <= known[name]) & (known[name] <= known[f"{name}_high"])).all()
    np.testing.assert_allclose(pd.read_csv(out / "table3.csv")["top1"], rows["top1"])
    assert set(rows["level"][:3]) == {"crisp", "flip0.5", "crop0.667"}


def test_table_3_is_what_the_ranks_say(made):
    out, _, rows = made
    hits = {}
    for method in rows["transformation"]:
        ranks = [pd.read_csv(path)["rank"] for path in sorted(out.glob(f"runs/*/*/{method}/seed-*/{RANKS}"))]
        assert len(ranks) == 2
        hits[method] = {k: np.mean([(rank <= k).mean() for rank in ranks]) for k in (1, 5)}
    for row in rows.to_dict("records"):
        assert row["top1"] == pytest.approx(hits[row["transformation"]][1])
        assert row["top5"] == pytest.approx(hits[row["transformation"]][5])
        if row["transformation"] != "vanilla":
            assert row["difference"] == pytest.approx(row["top1"] - hits["vanilla"][1])


def test_the_markdown_table_holds_every_row_and_says_what_was_done(made):
    out, _, rows = made
    text = (out / "table3.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 12 + 11
    assert f"| color-jitter | {100 * rows['top1'][4]:.1f} | " in lines[6]
    assert lines[6].endswith("| 41.3 / 76.2 |")
    assert f"| noise | {100 * rows['difference'][5]:+.1f} | " in lines[18]
    assert lines[18].endswith("| +5.6 |")
    assert "gallery of 12 test images under the row's transformation" in text
    assert "1 subject, 2 seeds" in text


def test_the_rows_of_table_3_can_be_compared(made, tmp_path, capsys):
    out, _, rows = made
    assert run("compare", out, "--baseline", "vanilla", "--format", "csv", "--out", tmp_path) == 0
    found = pd.read_csv(tmp_path / "differences.csv").set_index("method")
    for row in rows[rows["transformation"] != "vanilla"].to_dict("records"):
        gain = found.loc[row["transformation"]]
        assert [row["difference"], row["difference_low"], row["difference_high"]] == pytest.approx(
            gain[["difference", "low", "high"]].tolist()
        )


def test_table_3_again_trains_nothing_and_can_take_fewer_seeds(made):
    out, make, rows = made
    models = {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}
    assert len(models) == 20
    pd.testing.assert_frame_equal(make(), rows)
    fewer = make(seeds=(1,))
    assert {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")} == models
    assert list(fewer["transformation"]) == list(rows["transformation"])


def test_table_3_simulates_a_study_with_its_true_width(tmp_path):
    simulation = Simulation(
        n_concepts=4,
        images_per_concept=2,
        n_test=6,
        train_repetitions=1,
        test_repetitions=1,
        true_width=9,
        width_step=4,
    )
    common = Common(quiet=True)
    rows = table3(out=tmp_path / "t", seeds=(0,), options=SHORT, simulation=simulation, common=common)
    assert len(rows) == 10
    levels = rows.set_index("transformation")["level"]
    assert levels["blur"] == levels["ubp"] == "w9-exponential3"
    assert levels["uniform-blur"] == "w9-uniform"
    assert levels["low-resolution"] == "low1.76"
    results = pd.read_csv(tmp_path / "t/results.csv")
    assert set(results["channels"]) == {17}
    assert {path.name for path in (tmp_path / "t").iterdir()} == {
        "features",
        "results.csv",
        "runs",
        "study",
        "table3.csv",
        "table3.md",
    }


def test_the_command_and_what_it_refuses(tiny_folder, tmp_path, capsys):
    base = ("reproduce", "table3", tiny_folder, "--out", tmp_path / "t", "--quiet")
    assert "did you mean 'inter-subject'" in refused(capsys, *base, "--setting", "intersubject")
    assert "subject" in refused(capsys, *base, "--subject", "sub-09")
    assert "makes no ladder" in refused(capsys, *base, "--width", 12)
    assert refused(capsys, "reproduce", "table3", tmp_path / "absent", "--out", tmp_path / "t")
    assert not (tmp_path / "t").exists()
    (tmp_path / "t/study").mkdir(parents=True)
    assert refused(capsys, "reproduce", "table3", "--out", tmp_path / "t")


def test_another_study_in_the_folder_is_refused(tiny_folder, tmp_path, capsys):
    (tmp_path / "t").mkdir()
    (tmp_path / "t/study").symlink_to(tiny_folder)
    assert "not the study that table3 simulates" in refused(capsys, "reproduce", "table3", "--out", tmp_path / "t")


def test_a_simulation_is_read_back_from_a_studys_source():
    simulation = Simulation(n_test=7, channels=("Oz", "O1"), true_width=9)
    assert simulation_of(source(simulation)) == simulation
    for other in ("", "somewhere", "ubp simulate", "ubp simulate {", 'ubp simulate {"n_test": 7}', "ubp simulate 7"):
        assert simulation_of(other) is None
