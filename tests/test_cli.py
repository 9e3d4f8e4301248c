"""Commands from end to end, and bad input: one sentence on standard error, exit code 2, nothing lost."""

import json
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import things_files
from conftest import N_TEST, make_study
from ubp.cli import app, main
from ubp.config import TrainOptions
from ubp.data.study import Study
from ubp.images.blur_options import Foveation

TRAIN = ("--preset", "ubp", "--width", "13", "--epochs", "2", "--batch-size", "20", "--quiet")


def run(*arguments):
    """Exit code of a command."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code or 0
    return 0


@pytest.fixture
def study(tiny_folder, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(tiny_folder, tmp_path / "tiny")


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return tmp_path_factory.mktemp("features")


@pytest.fixture(autouse=True)
def cache(features, monkeypatch):
    monkeypatch.setenv("UBP_CACHE", str(features))


def refused(capsys, *arguments, code=2):
    """The one sentence a command prints when it refuses."""
    capsys.readouterr()
    assert run(*arguments) == code
    error = capsys.readouterr().err
    assert error.startswith("ubp: ")
    assert len(error.splitlines()) == 1
    assert "Traceback" not in error
    return error


def test_features_train_evaluate(study, tmp_path, capsys):
    runs = tmp_path / "runs"
    assert run("features", study, "--preset", "vanilla", "ubp", "--width", 13, "--widths", 7, 25, "--quiet") == 0
    assert "w25-exponential3" in capsys.readouterr().out.replace("\n", " ")
    assert run("features", study, "--preset", "vanilla", "ubp", "--width", 13, "--quiet") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert (
        run("train", study, "--out", runs, *TRAIN, "--seed", 0, 1, "--channels", "c1", "c4", "--window", 0, 0.05) == 0
    )
    assert run("train", study, "--out", runs, *TRAIN, "--setting", "inter-subject", "--subject", "sub-02") == 0
    capsys.readouterr()
    assert run("evaluate", runs, "--n-way", 2, "--k", 3, "--quiet") == 0
    printed = capsys.readouterr().out
    assert "ridge" in printed
    assert "inter-subject" in printed
    results = pd.read_csv(runs / "results.csv")
    assert len(results) == 2 * 2 + 2 + 1 + 1
    assert {"top3", "top3_chance", "top1_of_2"} <= set(results)
    assert set(results.query("method == 'ubp'")["gallery_level"]) == {"w13-exponential3"}
    about = json.loads((runs / "intra-subject/sub-01/ubp/seed-1/model.json").read_text())
    assert (about["channels"], about["n_times"], about["seed"]) == (["c1", "c4"], 6, 1)
    assert set(pd.read_csv(runs / "summary.csv")["method"]) == {"ridge", "ubp"}
    assert (runs / "comparisons.csv").exists()


def test_info_prints_what_a_study_holds(tiny_folder, capsys):
    assert run("info", tiny_folder, "--check") == 0
    printed = capsys.readouterr().out
    for text in (
        "sub-01",
        "104",
        "40 / 40 / 2",
        "12 / 12 / 2",
        "100 Hz",
        "CC0",
        "Nobody, 2000",
        "Every signal is finite",
    ):
        assert text in printed


def every_command(group=app, before=()):
    """All commands as typed, those of subgroups too."""
    for name in group:
        if name.startswith("-"):
            continue
        inner = group[name]
        deeper = [word for word in inner if not word.startswith("-")]
        yield from every_command(inner, (*before, name)) if deeper else [(*before, name)]


ARGUMENTS_ONLY = {("encoders",), ("methods",)}


@pytest.mark.parametrize("command", list(every_command()), ids=" ".join)
def test_help_describes_every_option(command, capsys):
    assert run(*command, "--help") == 0
    printed = capsys.readouterr().out
    assert " ".join(command) in printed
    options = [word for line in printed.splitlines() for word in line.split() if word.startswith("--")]
    assert len(options) == 0 if command in ARGUMENTS_ONLY else len(options) >= 2
    if command == ("train",):
        assert {f"--{name.replace('_', '-')}" for name in TrainOptions.__dataclass_fields__} <= set(options)
    if command in {("train",), ("features",), ("blur",)}:
        assert {f"--{name.replace('_', '-')}" for name in Foveation.__dataclass_fields__} <= set(options)


def test_channels_of_a_simulation_follow_one_option(tmp_path):
    few = ("--n-concepts", 4, "--n-test", 2, "--image-size", 48, "--true-width", 7, "--width-step", 2, "--quiet")
    assert run("simulate", tmp_path / "study", *few, "--channels", "O1", "Oz", "O2") == 0
    assert Study.open(tmp_path / "study").recording("sub-01").channel_names == ("O1", "Oz", "O2")


def test_help_names_every_command(capsys):
    assert run("--help") == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("simulate", "info", "features", "train", "evaluate", "demo", "methods"))
    assert "demo" in set(app)


def test_prepare_checks_the_files_against_the_facts_of_the_dataset(tmp_path, capsys):
    facts = things_files.small_facts()
    things_files.write_raw(tmp_path / "files", facts)
    things_files.write_images(tmp_path / "files", facts)
    things_files.write_metadata(tmp_path / "files", facts)
    assert "raw" in refused(
        capsys, "prepare", "things-eeg2", tmp_path / "files", "--out", tmp_path / "s", "--from", "row"
    )
    assert "things-eeg2" in refused(capsys, "prepare", "things-eeg", tmp_path / "files", "--out", tmp_path / "s")
    # the generated set is smaller than the published one
    assert "16540" in refused(capsys, "prepare", "things-eeg2", tmp_path / "files", "--out", tmp_path / "s", "--quiet")
    assert not (tmp_path / "s").exists()


def test_fetch_lists_without_a_network_and_refuses_what_it_does_not_know(tmp_path, capsys):
    assert "things-eeg2" in refused(capsys, "fetch", "things-eg2", "--out", tmp_path)
    assert "raw" in refused(capsys, "fetch", "things-eeg2", "--parts", "rwa", "--out", tmp_path)
    assert "sub-01" in refused(capsys, "fetch", "things-eeg2", "--subject", "sub-11", "--out", tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    message = refused(capsys, "fetch", "things-eeg2", "--parts", "metadata", "--out", tmp_path / "o", "--from", empty)
    assert "image_metadata.npy" in message


def edit_trials(change):
    def damage(study):
        path = study / "sub-01/trials.csv"
        table = pd.read_csv(path, dtype=str)
        change(table).to_csv(path, index=False)

    return damage


def edit_signals(change):
    def damage(study):
        path = study / "sub-01/signals.npy"
        np.save(path, change(np.load(path)))

    return damage


def put(row, channel, value):
    def change(signals):
        signals[row, channel, 3] = value
        return signals

    return edit_signals(change)


def rename(study, old, new):
    text = (study / "sub-01/channels.csv").read_text()
    (study / "sub-01/channels.csv").write_text(text.replace(old, new))


def huge_png(path):
    """A PNG header that promises 60000 x 60000 pixels, in a few bytes."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b""))


def truncate(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:3000])


IMAGE = "images/train/007.png"
DAMAGES = {
    "no dataset.json": (lambda s: (s / "dataset.json").unlink(), "dataset.json does not exist"),
    "no recording": (lambda s: [shutil.rmtree(p) for p in s.glob("sub-*")], "no recording"),
    "two dimensions": (edit_signals(lambda x: x[:, :, 0]), "signals.npy"),
    "integers": (edit_signals(lambda x: x.astype(np.int32)), "float32 or float16"),
    "signals cut short": (
        lambda s: (s / "sub-01/signals.npy").write_bytes((s / "sub-01/signals.npy").read_bytes()[:-500]),
        "signals.npy",
    ),
    "another length": (edit_signals(lambda x: x[:-3]), "trials.csv"),
    "NaN": (put(17, 2, np.nan), "17"),
    "infinite": (put(20, 4, np.inf), "c4"),
    "image missing": (lambda s: (s / IMAGE).unlink(), "train/007.png"),
    "image truncated": (lambda s: truncate(s / IMAGE), "train/007.png"),
    "not an image": (lambda s: (s / IMAGE).write_text("hello"), "train/007.png"),
    "image gigantic": (lambda s: huge_png(s / IMAGE), "train/007.png"),
    "path leaves the folder": (edit_trials(lambda t: t.replace("train/007.png", "../../secret.png")), "leaves"),
    "duplicate channel": (lambda s: rename(s, "c3", "c2"), "c2"),
    "no test split": (edit_trials(lambda t: t.assign(split="train")), "test"),
    "unknown split": (edit_trials(lambda t: t.assign(split="exam")), "exam"),
    "concept in train and test": (edit_trials(lambda t: t.assign(concept="cat")), "cat"),
    "constant": (edit_signals(lambda x: np.full_like(x, 2)), "constant"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_study_is_refused_in_one_sentence(name, study, tmp_path, capsys):
    damage, expected = DAMAGES[name]
    damage(study)
    message = refused(capsys, "train", study, "--out", tmp_path / "runs", *TRAIN, "--subject", "sub-01")
    assert expected in message
    assert not list((tmp_path / "runs").rglob("model.json"))


def test_nan_names_trial_and_channel(study, tmp_path, capsys):
    put(17, 2, np.nan)(study)
    message = refused(capsys, "train", study, "--out", tmp_path / "runs", *TRAIN)
    assert "17" in message
    assert "c2" in message
    assert "sub-01" in message


def test_missing_and_empty_folders_are_refused(tmp_path, capsys):
    assert "not a folder" in refused(capsys, "info", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "dataset.json" in refused(capsys, "info", tmp_path / "empty")
    assert "no trained model" in refused(capsys, "evaluate", tmp_path / "empty")


def test_shared_concepts_are_allowed_when_asked_for(study, tmp_path, capsys):
    for subject in ("sub-01", "sub-02"):
        path = study / subject / "trials.csv"
        table = pd.read_csv(path, dtype=str)
        table["concept"] = table["concept"].where(table["split"] == "train", "concept-001")
        table.to_csv(path, index=False)
    assert "concept-001" in refused(capsys, "info", study)
    assert run("info", study, "--allow-shared-concepts") == 0
    assert "concept-001" in refused(capsys, "train", study, "--out", tmp_path / "runs", *TRAIN)
    assert run("train", study, "--out", tmp_path / "runs", *TRAIN, "--allow-shared-concepts") == 0
    assert run("evaluate", tmp_path / "runs", "--allow-shared-concepts", "--quiet") == 0


def test_a_gallery_of_one_image_is_refused(study, tmp_path, capsys):
    for subject in ("sub-01", "sub-02"):
        path = study / subject
        table = pd.read_csv(path / "trials.csv", dtype=str)
        keep = ((table["split"] == "train") | (table["image"] == "test/045.png")).to_numpy()
        table[keep].to_csv(path / "trials.csv", index=False)
        np.save(path / "signals.npy", np.load(path / "signals.npy")[keep])
    assert run("train", study, "--out", tmp_path / "runs", *TRAIN) == 0
    assert "at least 2 test images" in refused(capsys, "evaluate", tmp_path / "runs", "--quiet")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--width", "12"), "odd"),
        (("--width", "13", "--step", "3"), "even number"),
        (("--width", "13", "--step", "-6"), "even number"),
        (("--learning-rate", "inf"), "learning rate"),
        (("--weight-decay", "nan"), "weight decay"),
        (("--device", "meta"), "meta"),
        (("--width", "5", "--step", "6"), "width"),
        (("--preset", "upb"), "did you mean 'ubp'"),
        (("--setting", "within"), "intra-subject"),
        (("--epochs", "0"), "epochs is 0"),
        (("--epochs", "many"), "many"),
        (("--epoch", "3"), "--epochs"),
        (("--precision", "fp8"), "fp32"),
        (("--brain-encoder", "eegprojekt"), "eegproject"),
        (("--brain-encoder", "tsconv"), "samples"),
        (("--encoder", "gabr"), "gabor"),
        (("--encoder", "onnx:nowhere.onnx"), "nowhere.onnx"),
        (("--subject", "sub-09"), "sub-09"),
        (("--channels", "c1", "c9"), "c9"),
        (("--window", "5", "6"), "window"),
        (("--device", "abacus"), "abacus"),
        (("--patience", "3"), "validation"),
        (("--validation-concepts", "500"), "500 of 40"),
        (("--seed", "-1"), "-1"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(arguments, expected, tiny_folder, tmp_path, capsys):
    message = refused(capsys, "train", tiny_folder, "--out", tmp_path / "runs", "--quiet", *arguments)
    assert expected in message


def test_an_unknown_command_names_the_nearest(capsys):
    assert '"train"' in refused(capsys, "trian")


def test_k_larger_than_the_gallery_is_refused_and_the_models_stay(tiny_folder, tmp_path, capsys):
    assert run("train", tiny_folder, "--out", tmp_path / "runs", *TRAIN, "--subject", "sub-01") == 0
    assert f"gallery has {N_TEST} images" in refused(capsys, "evaluate", tmp_path / "runs", "--k", 99)
    assert f"gallery has {N_TEST} images" in refused(capsys, "evaluate", tmp_path / "runs", "--n-way", 50)
    assert len(list((tmp_path / "runs").rglob("model.json"))) == 1


def test_a_store_cut_short_is_named_and_the_model_stays(tiny_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("UBP_CACHE", str(tmp_path / "store"))
    assert run("train", tiny_folder, "--out", tmp_path / "runs", *TRAIN, "--subject", "sub-01") == 0
    (level,) = (tmp_path / "store").rglob("w13-*.npy")
    level.write_bytes(level.read_bytes()[:-64])
    assert level.name in refused(capsys, "evaluate", tmp_path / "runs", "--quiet")
    assert level.name in refused(capsys, "train", tiny_folder, "--out", tmp_path / "more", *TRAIN)


def test_runs_of_another_study_are_refused(tiny_folder, tmp_path, capsys):
    assert run("train", tiny_folder, "--out", tmp_path / "runs", *TRAIN, "--subject", "sub-01") == 0
    other = make_study(tmp_path / "other", seed=3)
    message = refused(capsys, "train", other.root, "--out", tmp_path / "runs", *TRAIN, "--subject", "sub-01")
    assert "another study" in message
    assert "not the one" in refused(capsys, "evaluate", tmp_path / "runs", "--study", other.root)


def test_a_store_of_other_images_is_refused(tiny_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("UBP_CACHE", str(tmp_path / "store"))
    other = make_study(tmp_path / "other", seed=3)
    for folder in (tiny_folder, other.root):
        assert run("features", folder, "--preset", "ubp", "--width", 13, "--quiet") == 0
    capsys.readouterr()
    first, second = sorted(path.parent for path in (tmp_path / "store").rglob("manifest.json"))
    for file in second.iterdir():
        if file.is_file():
            shutil.copy(file, first / file.name)
    messages = [
        refused(capsys, "train", folder, "--out", tmp_path / folder.name, *TRAIN)
        for folder in (tiny_folder, other.root)
        if run("features", folder, "--preset", "ubp", "--width", 13, "--quiet") and capsys.readouterr()
    ]
    assert len(messages) == 1
    assert "of other images or another encoder" in messages[0]


def test_evaluating_with_other_images_than_the_model_was_trained_with_is_refused(study, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("UBP_CACHE", str(tmp_path / "store"))
    assert run("train", study, "--out", tmp_path / "runs", *TRAIN, "--subject", "sub-01") == 0
    shutil.rmtree(tmp_path / "store")
    Image.new("RGB", (48, 48), "red").save(study / "images/test/045.png")
    assert "not those the model" in refused(capsys, "evaluate", tmp_path / "runs", "--quiet")


def test_two_runs_of_one_name_are_refused(tiny_folder, tmp_path, capsys):
    for name, epochs in (("a", "1"), ("b", "2")):
        arguments = ("--preset", "ubp", "--width", "13", "--epochs", epochs, "--subject", "sub-01", "--quiet")
        assert run("train", tiny_folder, "--out", tmp_path / "runs" / name, *arguments) == 0
    assert "Two runs" in refused(capsys, "evaluate", tmp_path / "runs", "--quiet")


def test_top_1_alone_and_n_way_have_their_chance(tiny_folder, tmp_path, capsys):
    assert run("train", tiny_folder, "--out", tmp_path / "runs", *TRAIN, "--subject", "sub-01") == 0
    capsys.readouterr()
    assert run("evaluate", tmp_path / "runs", "--k", 1, "--n-way", 2, "--quiet") == 0
    printed = capsys.readouterr().out
    assert "among so many images" in printed
    assert "50.0" in printed
    row = pd.read_csv(tmp_path / "runs/results.csv").iloc[-1]
    assert row["top1_of_2_chance"] == 0.5
    assert row["top1_of_2_low"] <= row["top1_of_2"] <= row["top1_of_2_high"]


def test_an_unfinished_run_is_named(tiny_folder, tmp_path, capsys):
    assert run("train", tiny_folder, "--out", tmp_path / "runs", *TRAIN, "--subject", "sub-01") == 0
    (tmp_path / "runs/other").mkdir()
    (tmp_path / "runs/other/checkpoint.safetensors").write_bytes(b"")
    capsys.readouterr()
    assert run("evaluate", tmp_path / "runs", "--quiet") == 0
    assert "1 run below" in capsys.readouterr().out


def test_a_rate_without_a_first_time_is_printed(study, capsys):
    about = json.loads((study / "dataset.json").read_text())
    (study / "dataset.json").write_text(json.dumps(about | {"tmin": None}))
    assert run("info", study) == 0
    assert "100 Hz" in capsys.readouterr().out


def test_the_demo_refuses_another_study_in_its_folder(study, tmp_path, capsys):
    (tmp_path / "demo").mkdir()
    shutil.copytree(study, tmp_path / "demo/study")
    assert "not the study that the demo simulates" in refused(capsys, "demo", tmp_path / "demo", "--quiet")


def test_paths_with_brackets_are_printed_as_they_are(tiny_folder, tmp_path, capsys):
    runs = tmp_path / "x[" / "y]"
    assert run("train", tiny_folder, "--out", runs, *TRAIN, "--subject", "sub-01") == 0
    assert str(runs) in capsys.readouterr().out


def test_a_place_that_is_a_file_is_refused(tiny_folder, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert "file" in refused(capsys, "train", tiny_folder, "--out", tmp_path / "file", *TRAIN)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 600 KB that a test can fill."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs more rights than this user has")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_said_and_the_run_continues_when_there_is_room(small_disk, tiny_folder, tmp_path, capsys):
    filler = small_disk / "filler"
    filler.write_bytes(bytes(400_000))
    arguments = ("train", tiny_folder, "--out", small_disk / "runs", *TRAIN, "--subject", "sub-01")
    assert "disk is full" in refused(capsys, *arguments, code=1)
    assert not list(small_disk.rglob("*.safetensors"))
    filler.unlink()
    full = ("features", tiny_folder, "--widths", *range(3, 63, 2), "--store", small_disk / "store", "--quiet")
    assert "disk is full" in refused(capsys, *full, code=1)
    subprocess.run(["mount", "-o", "remount,size=60m", small_disk], check=True)
    assert run(*arguments) == 0
    assert run(*full) == 0
    assert not list(small_disk.rglob("*.partial"))
    assert Study.open(tiny_folder).subjects == ("sub-01", "sub-02")
