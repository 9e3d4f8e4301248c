"""Ablations find the window and the channels that a signal was planted in, and their scores follow from the files."""

import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conftest import make_study
from test_cli import refused, run
from ubp.ablate import Source, part_folder
from ubp.ablation import Part, occluded, permuted, regions, sliding_windows
from ubp.ablation_plan import Asked
from ubp.commands.ablating import ablate
from ubp.commands.evaluating import evaluate
from ubp.commands.images import build_store
from ubp.config import Common, TrainOptions
from ubp.data.selection import window_samples
from ubp.data.sensors import find_sensors
from ubp.data.study import Study
from ubp.errors import InputError
from ubp.held_out import calibration_concepts, split_training
from ubp.job import Job
from ubp.model import Model
from ubp.plots.ablation import channels_figure, windows_figure
from ubp.presets import preset

CHANNELS = ("Fp1", "O1", "Cz", "T7", "O2", "P4")
PLANTED_CHANNELS, PLANTED_SAMPLES = ["O1", "O2"], slice(6, 10)
TRAIN = {"epochs": 20, "batch_size": 60, "learning_rate": 2e-3}
OPTIONS = ("--preset", "vanilla", "--epochs", 20, "--batch-size", 60, "--learning-rate", 2e-3, "--quiet")
WINDOWS = ("--time-windows", 0.04, 0.02)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A study with two subjects whose signal is in two channels and four samples; everything else is noise."""
    folder = tmp_path_factory.mktemp("ablate")
    make_study(folder / "study", n_times=16, n_train=150, noise=0.1)
    random = np.random.default_rng(2)
    for subject in ("sub-01", "sub-02"):
        path = folder / "study" / subject / "signals.npy"
        signals = np.load(path)
        noise = random.standard_normal(signals.shape).astype(np.float32)
        for channel in (1, 4):
            noise[:, channel, PLANTED_SAMPLES] = 10 * signals[:, channel, PLANTED_SAMPLES]
        np.save(path, noise)
        pd.DataFrame({"name": CHANNELS, "type": "eeg"}).to_csv(path.with_name("channels.csv"), index=False)
    return folder


@pytest.fixture(scope="module")
def common(place):
    return Common(store=place / "features", quiet=True, device="cpu")


@pytest.fixture(autouse=True)
def cache(place, monkeypatch):
    monkeypatch.setenv("UBP_CACHE", str(place / "features"))


@pytest.fixture(scope="module")
def both(place, common):
    """Windows alone and channels permuted, of one subject."""
    asked = Asked((0.04, 0.02), channels="permute")
    out = place / "both"
    found = ablate(
        place / "study", out=out, asked=asked, preset="vanilla", subjects=["sub-01"], changes=TRAIN, common=common
    )
    written = {path.name: path.read_bytes() for path in out.glob("*.*")}
    return out, found, written


def by_hand(place, folder, rows=slice(None), times=slice(None), change=None):
    """Top-1 of a model on its held-out concepts, from the files, one query after the other."""
    model = Model.load(folder)
    about = model.description
    table = pd.read_csv(place / "study/sub-01/trials.csv")
    signals = np.load(place / "study/sub-01/signals.npy")[:, rows][:, :, times]
    names = sorted(set(table.loc[table["split"] == "train", "concept"]))
    held = np.random.default_rng(1).permutation(np.array(names))[: about.options.calibration_concepts]
    images = sorted(set(table.loc[table["concept"].isin(held), "image"]))
    means = np.stack([signals[(table["image"] == image).to_numpy()].mean(axis=0) for image in images])
    if change is not None:
        means = change(means)
    store = build_store(Study.open(place / "study"), "gabor", about.preset.ladder, Common(store=place / "features"))
    gallery = store.vectors(about.preset.base, images)
    queries = model.embed(means.astype(np.float32))
    return np.mean([np.argmax(gallery @ query) == row for row, query in enumerate(queries)])


def test_the_planted_window_is_found(place, both):
    out, found, written = both
    table = pd.read_csv(io.BytesIO(written["windows.csv"]))
    assert table.equals(found["windows"].summary.astype(table.dtypes))
    assert table["start"].tolist() == pytest.approx([0.02 * number for number in range(7)])
    best = table.loc[table["score"].idxmax()]
    assert (best["start"], best["stop"]) == (0.06, 0.09)
    outside = table[(table["stop"] < 0.06) | (table["start"] > 0.09)]
    assert len(outside) == 4
    assert (outside["low"] <= outside["reference"]).all()
    assert best["low"] > best["reference"] == pytest.approx(1 / 30)
    for number, start in enumerate(range(0, 14, 2)):
        folder = (
            out / "models" / part_folder(Part(table["part"][number], (), (start / 100, (start + 3) / 100)), "alone")
        )
        model = folder / "intra-subject/sub-01/vanilla/seed-0"
        assert table["score"][number] == pytest.approx(by_hand(place, model, times=slice(start, start + 4)))


def test_the_planted_channels_are_found(place, both):
    out, _, written = both
    table = pd.read_csv(io.BytesIO(written["channels.csv"])).set_index("part")
    assert set(table["score"].nlargest(2).index) == set(PLANTED_CHANNELS)
    assert (table.loc[PLANTED_CHANNELS, "low"] > 0).all()
    others = table.drop(index=PLANTED_CHANNELS)
    assert (others["low"] <= 0).all()
    assert others["score"].max() < table.loc[PLANTED_CHANNELS, "score"].min() / 2
    model = out / "models/everything/intra-subject/sub-01/vanilla/seed-0"
    assert table["with_everything"].tolist() == pytest.approx([by_hand(place, model)] * 6)
    runs = pd.read_csv(io.BytesIO(written["channels_runs.csv"]))
    assert (runs["with_everything"] - runs["without"]).tolist() == pytest.approx(runs["score"].tolist())


def test_the_figures_are_written_with_a_map_of_the_head(both):
    _, _, written = both
    endings = (".csv", "_runs.csv", ".png", ".svg")
    assert set(written) == {"ablation.json"} | {f"{what}{end}" for what in ("windows", "channels") for end in endings}
    assert b"<svg" in written["windows.svg"]
    assert Image.open(io.BytesIO(written["channels.png"])).width == 1620


def test_no_held_out_concept_is_trained_on_and_the_file_says_what_was_done(place, both):
    out, _, written = both
    study = Study.open(place / "study")
    for path in out.rglob("model.json"):
        about = Model.load(path.parent).description
        assert (about.n_images, about.options.calibration_concepts) == (150 - 30, 30)
    about = json.loads(written["ablation.json"])
    assert (about["split"], about["queries"]) == ("validation", "30 held-out training concepts, mean of repetitions")
    assert about["ways"] == {"windows": "alone", "channels": "permute"}
    assert len(about["results"]["windows"]) == 7
    for options in (
        TrainOptions(calibration_concepts=12),
        TrainOptions(calibration_concepts=12, validation_concepts=9),
    ):
        job = Job("sub-01", preset("vanilla"), options)
        parts = split_training(job.trials(study, "train"), options)
        kept = {row[1] for row in (*parts.calibration.calibration, *parts.calibration.temperature)}
        kept -= set(parts.validation.images) if parts.validation else set()
        images = Source(study, None).images(job)
        assert set(images) == kept
        assert not set(images) & set(parts.training.images)
        assert calibration_concepts(study.recording("sub-01").trials.query("split == 'train'")["concept"], options) == {
            study.concepts[image] for image in kept
        }


def test_run_again_nothing_is_trained_and_what_is_missing_is_continued(place, both):
    out, _, written = both
    before = {path: path.stat().st_mtime_ns for path in out.rglob("model.*")}
    missing = next(path for path in before if path.name == "model.json" and "alone" in str(path))
    missing.unlink()
    assert (
        run("ablate", place / "study", "--out", out, "--subject", "sub-01", *OPTIONS, *WINDOWS, "--channels", "permute")
        == 0
    )
    changed = {path for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed == {missing, missing.with_name("model.safetensors")}
    assert (out / "windows.csv").read_bytes() == written["windows.csv"]


@pytest.mark.parametrize("by", ["leave-out", "alone", "occlude"])
def test_other_ways_find_the_channels_too(place, common, both, by):
    out, *_ = both
    found = ablate(
        place / "study",
        out=out,
        asked=Asked(channels=by),
        preset="vanilla",
        subjects=["sub-01"],
        metric="mean_percentile_rank",
        changes=TRAIN,
        common=common,
    )
    table = found["channels"].summary.set_index("part")
    assert set(table["score"].nlargest(2).index) == set(PLANTED_CHANNELS)
    assert set(table["reference"]) == ({0.5} if by == "alone" else {0.0})
    described = Model.load(next(out.glob("models/without-O1-*/*/*/*/*"))).description if by == "leave-out" else None
    assert described is None or described.channels == ("Fp1", "Cz", "T7", "O2", "P4")
    if by == "occlude":
        model = Model.load(out / "models/everything/intra-subject/sub-01/vanilla/seed-0")
        mean = model.scale[0].numpy()

        def change(signals):
            signals[:, 1] = mean[1]
            return signals

        again = ablate(
            place / "study",
            out=out,
            asked=Asked(channels=by),
            preset="vanilla",
            subjects=["sub-01"],
            changes=TRAIN,
            common=common,
        )["channels"].runs.set_index("part")
        folder = out / "models/everything/intra-subject/sub-01/vanilla/seed-0"
        assert again.loc["O1", "without"] == pytest.approx(by_hand(place, folder, change=change))


def test_regions_take_channels_together(place, common, both):
    out, *_ = both
    found = ablate(
        place / "study",
        out=out,
        asked=Asked(channels="permute", by_region=True),
        preset="vanilla",
        subjects=["sub-01"],
        changes=TRAIN,
        common=common,
    )
    table = found["channels"].summary.set_index("part")
    assert table["channels"].to_dict() == {"Fp": "Fp1", "O": "O1; O2", "C": "Cz", "T": "T7", "P": "P4"}
    assert table["score"].idxmax() == "O"
    # nothing is left to tell the images by
    assert table.loc["O", "with_everything"] - table.loc["O", "score"] < 0.1


def test_windows_by_a_model_of_everything(place, common, both):
    out, *_ = both
    asked = Asked((0.04, 0.04), "permute")
    found = ablate(
        place / "study", out=out, asked=asked, preset="vanilla", subjects=["sub-01"], changes=TRAIN, common=common
    )
    table = found["windows"].summary
    # the planted samples 6 to 9 are halves of the second and third window
    assert set(table["score"].nlargest(2).index) == {1, 2}


def test_of_the_test_split_it_is_what_evaluate_gives(place, common, tmp_path):
    asked = Asked((0.08, 0.08))
    found = ablate(
        place / "study",
        out=tmp_path / "out",
        asked=asked,
        preset="ubp",
        width=13,
        seeds=(0, 1),
        split="test",
        changes=TRAIN | {"epochs": 3},
        common=common,
    )
    runs = found["windows"].runs.set_index(["part", "subject", "seed"])["score"]
    assert len(runs) == 2 * 2 * 2
    for part, window in zip(found["windows"].summary["part"], ((0.0, 0.07), (0.08, 0.15)), strict=True):
        folder = tmp_path / "out/models" / part_folder(Part(part, (), window), "alone")
        results = evaluate(folder, ridge=False, common=common).table
        assert len(results) == 4
        for row in results.to_dict("records"):
            assert runs[part, row["subject"], row["seed"]] == pytest.approx(row["top1"])
    about = json.loads((tmp_path / "out/ablation.json").read_text())
    assert about["queries"] == "12 test images, mean of repetitions"
    assert found["windows"].summary["seeds"].tolist() == [2, 2]


def test_across_subjects_the_queries_are_those_of_the_subject_left_out(place, common, tmp_path):
    found = ablate(
        place / "study",
        out=tmp_path / "out",
        asked=Asked(channels="permute"),
        preset="vanilla",
        setting="inter-subject",
        subjects=["sub-01"],
        changes=TRAIN | {"epochs": 1},
        common=common,
    )
    about = Model.load(tmp_path / "out/models/everything/inter-subject/sub-01/vanilla/seed-0").description
    assert about.trained_on == ("sub-02",)
    folder = tmp_path / "out/models/everything/inter-subject/sub-01/vanilla/seed-0"
    assert found["channels"].summary["with_everything"][0] == pytest.approx(by_hand(place, folder))


def test_without_times_and_places_channels_are_ablated_alone_as_bars(place, tmp_path, capsys):
    study = make_study(tmp_path / "spikes", n_subjects=1, n_times=1, n_train=60).root
    about = json.loads((study / "dataset.json").read_text())
    (study / "dataset.json").write_text(json.dumps(about | {"modality": "spikes", "sfreq": None, "tmin": None}))
    assert run("ablate", study, "--out", tmp_path / "out", *OPTIONS[:2], "--epochs", 1, "--quiet") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "No windows of time" in printed
    assert "a bar chart takes its place" in printed
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {"models", "channels.csv", "channels_runs.csv", "channels.png", "channels.svg", "ablation.json"}
    assert "no sfreq and tmin" in refused(capsys, "ablate", study, "--out", tmp_path / "no", *OPTIONS, *WINDOWS)
    assert not (tmp_path / "no").exists()


REFUSED = {
    ("--windows-by", "leave-out", *WINDOWS): "expected one of alone, permute, occlude",
    ("--channels", "permut"): "did you mean 'permute'",
    ("--split", "tset"): "did you mean 'test'",
    ("--metric", "top99"): "has 30 images",
    ("--metric", "accuracy"): "expected one of top1",
    ("--time-windows", 0.3): "do not fit twice",
    ("--time-windows", 0.001): "at least one sample",
    ("--time-windows", 0.04, 0.0): "at least one sample",
    ("--time-windows", 0.04, 0.02, 0.01): "expected a width and a step",
    ("--channels", "permute", "--picks", "O1"): "two or more",
    ("--channels", "permute", "--picks", "O1", "x9"): "no channel 'x9'",
    ("--channels", "permute", "--regions", "--picks", "O1", "O2"): "All channels are of the region O",
    ("--permutations", 0): "expected 1 or more",
    ("--calibration-concepts", 149, *WINDOWS): "at least 2 left for training",
    ("--brain-encoder", "tsconv", *WINDOWS): "needs at least 75",
    ("--subject", "sub-09"): "sub-09",
}


@pytest.mark.parametrize("arguments", REFUSED, ids=lambda arguments: " ".join(map(str, arguments)))
def test_bad_input_is_one_sentence_and_nothing_is_written(place, tmp_path, capsys, arguments):
    assert REFUSED[arguments] in refused(
        capsys, "ablate", place / "study", "--out", tmp_path / "out", *OPTIONS, *arguments
    )
    assert not (tmp_path / "out").exists()


def test_models_of_other_options_are_not_taken_for_these(place, both, capsys):
    out, *_ = both
    options = ("--preset", "vanilla", "--epochs", 3, "--quiet", "--subject", "sub-01")
    assert "of other options" in refused(capsys, "ablate", place / "study", "--out", out, *options, *WINDOWS)


@pytest.mark.parametrize(("tmin", "sfreq"), [(0.0, 100.0), (-0.2, 250.0), (-0.1, 128.0)])
def test_windows_hold_the_samples_they_say(tmp_path, tmin, sfreq):
    parts = sliding_windows(200, sfreq, tmin, 0.1, 0.03)
    length, stride = round(0.1 * sfreq), round(0.03 * sfreq)
    samples = [window_samples(tmp_path, 200, sfreq, tmin, part.window) for part in parts]
    assert samples == [(start, start + length) for start in range(0, 200 - length + 1, stride)]
    assert len({part_folder(part, "alone") for part in parts}) == len(parts)


def test_changed_signals_change_in_the_part_alone(tiny):
    trials = tiny.recording("sub-01").load("train")
    part = Part("a", ("c4", "c1"), (0.02, 0.04))
    new = permuted(trials, part, 3)
    order = np.random.default_rng(3).permutation(len(trials))
    for trial, other in enumerate(order):
        for channel in range(6):
            for sample in range(8):
                source = other if channel in (1, 4) and 2 <= sample <= 4 else trial
                assert new[trial, channel, sample] == trials.signals[source, channel, sample]
    mean = np.arange(6.0)[:, None]
    flat = occluded(trials, part, mean)
    assert (flat[:, [1, 4], 2:5] == mean[[1, 4]]).all()
    flat[:, [1, 4], 2:5] = trials.signals[:, [1, 4], 2:5]
    assert np.array_equal(flat, trials.signals)
    with pytest.raises(InputError, match="no times"):
        permuted(replace(trials, sfreq=None), part, 0)


def test_regions_are_the_letters_of_the_names():
    parts = regions(["O1", "Oz", "PO7", "Fp1", "AFz", "POz", "FT10", "Cz"])
    assert {part.name: part.channels for part in parts} == {
        "O": ("O1", "Oz"), "PO": ("PO7", "POz"), "Fp": ("Fp1",), "AF": ("AFz",), "FT": ("FT10",), "C": ("Cz",)
    }  # fmt: skip
    with pytest.raises(InputError, match="'MEG0111' has no region"):
        regions(["O1", "MEG0111"])


def drawn(axes, gid):
    return [artist for artist in (*axes.lines, *axes.collections, *axes.patches) if artist.get_gid() == gid]


def test_figures_show_the_numbers_they_are_given():
    names = ["O1", "Oz", "O2", "PO7", "PO8", "Cz", "Fz"]
    members = {name: (name,) for name in names}
    table = pd.DataFrame({"part": names, "score": np.arange(7) / 10, "low": -0.1, "high": 0.7})
    table["reference"] = 0.0
    sensors = find_sensors(pd.DataFrame({"name": names, "type": "eeg"}))
    figure = channels_figure(table, members, names, sensors, "top-1 lost")
    head, dots = figure.axes[:2]
    assert [line.get_xdata()[0] for line in drawn(dots, "score")] == pytest.approx([10 * i for i in range(7)])
    assert len(head.images) == 1
    bars = channels_figure(table, members, names, None, "top-1 lost").axes[0]
    assert [patch.get_height() for patch in bars.patches] == pytest.approx([10 * i for i in range(6, -1, -1)])
    grouped = table.iloc[:1].assign(part="O", score=0.5)
    region = channels_figure(grouped, {"O": ("O1", "Oz", "O2")}, names, sensors, "top-1 lost").axes
    assert (len(region[0].images), len(drawn(region[1], "score"))) == (1, 1)
    windows = table.assign(start=np.arange(7) / 10, stop=np.arange(7) / 10 + 0.09, reference=0.25)
    (axes,) = windows_figure(windows, "top-1").axes
    (line,) = drawn(axes, "score")
    assert line.get_xdata() == pytest.approx(100 * np.arange(7) + 45)
    assert drawn(axes, "reference")[0].get_ydata()[0] == 25
    assert drawn(axes, "onset")[0].get_xdata()[0] == 0
    assert not drawn(
        windows_figure(windows.assign(start=windows["start"] + 1, stop=windows["stop"] + 1), "x").axes[0], "onset"
    )
    for broken in (table.iloc[:0], table.drop(columns="score")):
        with pytest.raises(ValueError, match="has no"):
            channels_figure(broken, members, names, None, "top-1")
