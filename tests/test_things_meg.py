import csv
import json
import shutil

import mne
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.covariance import ledoit_wolf
from sklearn.preprocessing import StandardScaler

import conftest
import things_meg_files as files
from test_cli import refused, run
from ubp.data import room
from ubp.data.facts import DATASETS, THINGS_MEG
from ubp.data.study import Study
from ubp.data.things_images import image_key
from ubp.data.things_meg import prepare_things_meg
from ubp.data.things_meg_options import ThingsMEGOptions
from ubp.data.things_meg_scaling import SCALINGS
from ubp.errors import InputError
from ubp.images.gabor import GaborEncoder
from ubp.images.load import load_image

SMALL = files.small_facts()


def prepare(folder, out, facts=SMALL, **more):
    options = ThingsMEGOptions(**{name: more.pop(name) for name in list(more) if name in FIELDS})
    return prepare_things_meg(folder, out, options=options, facts=facts, quiet=True, **more)


FIELDS = ThingsMEGOptions.__dataclass_fields__


def literal(folder, name="P1", window=(0.0, 1.0), zero_shot=True):
    """Trials of the study, one epoch after the other: image, split, session, run, repetition, signals."""
    lines = (folder / "metadata/01_image-level/image-paths.csv").read_text().split()
    with (folder / "sourcedata" / f"sample_attributes_{name}.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    epochs = mne.read_epochs(files.fif(folder, name), preload=True, verbose="error").crop(*window)
    data, codes = epochs.get_data(copy=False), epochs.events[:, 2]
    tested = {row["image_path"].split("/")[1] for row in rows if row["trial_type"] == "test"}
    concepts = {file.rsplit("_", 1)[0] for file in tested}
    trials = {"train": [], "test": []}
    for number, line in enumerate(lines, start=1):
        _, concept, file = line.split("/")
        split = "test" if file in tested else "train"
        if split == "train" and zero_shot and concept in concepts:
            continue
        for repetition, i in enumerate(np.flatnonzero(codes == number)):
            assert rows[i]["image_path"].endswith(f"/{file}")
            session = f"ses-{int(rows[i]['session_nr']):02d}"
            about = (f"{concept}/{file}", concept, split, repetition, session, int(rows[i]["run_nr"]), number, i)
            trials[split].append((about, data[i]))
    return trials["train"] + trials["test"]


def assert_same(recording, expected):
    """Every row of the table and every trial, value for value."""
    columns = ["image", "concept", "split", "repetition", "session", "run", "image_number", "epoch"]
    found = list(recording.trials[columns].itertuples(index=False, name=None))
    assert found == [about for about, _ in expected]
    for mine, (_, theirs) in zip(recording.signals, expected, strict=True):
        assert np.array_equal(mine, theirs.astype(np.float32))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two subjects, each in several files, as fetched."""
    folder = tmp_path_factory.mktemp("small")
    images, tables = files.write(folder, SMALL, ("P1", "P3"))
    assert len(list(folder.glob("derivatives/preprocessed/preprocessed_P1-epo*.fif"))) > 2
    return folder, images, tables


@pytest.fixture(scope="module")
def study(small):
    return prepare(small[0], small[0] / "study")


def test_trials_are_those_that_a_loop_over_the_images_finds(small, study):
    folder, _, tables = small
    assert study.subjects == ("sub-P1", "sub-P3")
    assert (study.info.modality, study.info.sfreq, study.info.tmin) == ("meg", 200.0, 0.0)
    for name in ("P1", "P3"):
        recording = study.recording(f"sub-{name}")
        assert recording.signals.shape == (6 * 12 + 3 * 12, 6, 201)
        assert recording.signals.dtype == np.float32
        assert_same(recording, literal(folder, name))
        assert (tables[name]["trial_type"] == "catch").sum() == 48
    assert not np.array_equal(study.recording("sub-P1").signals, study.recording("sub-P3").signals)
    study.validate()


def test_channels_keep_names_types_and_places(small, study):
    channels = study.recording("sub-P3").channels
    assert list(channels["name"]) == files.channel_names(6)
    assert set(channels["type"]) == {"mag"}
    info = mne.read_epochs(files.fif(small[0], "P3"), preload=False, verbose="error").info
    places = np.array([channel["loc"][:3] for channel in info["chs"]])
    np.testing.assert_allclose(channels[["x", "y", "z"]], places, rtol=1e-6)


def test_images_are_hard_links_to_those_shown(small, study):
    folder, images, _ = small
    shown = images[images["role"] == "test"]
    assert study.images("test") == tuple(sorted(shown["concept"] + "/" + shown["file"]))
    assert len(study.images("train")) == 6 * 12
    image = study.images("train")[0]
    assert study.image_path(image).samefile(folder / "images/object_images" / image)
    assert json.loads((study.root / "dataset.json").read_text())["licence"] == "CC0"


def test_the_published_counts_through_the_command_line(tmp_path, capsys):
    """22248 training, 2400 test and 2400 catch trials, 271 channels; short signals keep it small."""
    images, tables = files.write(
        tmp_path / "files",
        THINGS_MEG,
        catch_per_session=200,
        times=(-0.005, 0.005),
        split_size="30MB",
        metadata=False,
    )
    assert tables["P1"]["trial_type"].value_counts().to_dict() == {"exp": 22248, "test": 2400, "catch": 2400}
    assert images["concept"].nunique() == 1854
    out = tmp_path / "study"
    assert run("prepare", "things-meg", tmp_path / "files", "--out", out, "--window", 0, 0.005, "--quiet") == 0
    assert "1 subjects, 20048 images" in capsys.readouterr().out
    recording = Study.open(out).recording("sub-P1")
    assert recording.signals.shape == (19848 + 2400, 271, 2)
    table = recording.trials
    assert table["split"].value_counts().to_dict() == {"train": 19848, "test": 2400}
    assert table.groupby("split")["concept"].nunique().to_dict() == {"train": 1654, "test": 200}
    assert (table[table["split"] == "train"].groupby("concept").size() == 12).all()
    assert (table[table["split"] == "test"].groupby("image")["session"].nunique() == 12).all()
    assert (table["split"].iloc[:19848] == "train").all()
    assert_same(recording, literal(tmp_path / "files", window=(0.0, 0.005)))


def test_with_test_concepts_in_training_the_study_says_so(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(DATASETS, "things-meg", SMALL)
    out = tmp_path / "shared"
    assert run("prepare", "things-meg", small[0], "--out", out, "--no-zero-shot", "--subject", "P1", "--quiet") == 0
    assert "--allow-shared-concepts" in capsys.readouterr().out
    assert "in train or in test only" in refused(capsys, "info", out)
    assert run("info", out, "--allow-shared-concepts") == 0
    recording = Study.open(out, allow_shared_concepts=True).recording("sub-P1")
    assert recording.trials["split"].value_counts().to_dict() == {"train": 9 * 12, "test": 3 * 12}
    assert_same(recording, literal(small[0], zero_shot=False))


def test_options(small, study, tmp_path):
    folder = small[0]
    names = files.channel_names(6)
    part = prepare(
        folder,
        tmp_path / "part",
        subjects=["sub-P3", "P3"],
        channels=(names[4], names[1]),
        window=(-0.05, 0.2),
        baseline=(-0.1, 0.0),
        test_repetitions=5,
        dtype="float16",
        link=False,
    )
    recording = part.recording("sub-P3")
    assert part.subjects == ("sub-P3",)
    assert part.info.tmin == -0.05
    assert recording.channel_names == (names[4], names[1])
    epochs = mne.read_epochs(files.fif(folder, "P3"), preload=True, verbose="error")
    epochs = epochs.apply_baseline((-0.1, 0.0), verbose="error").crop(-0.05, 0.2).pick([names[4], names[1]])
    expected = epochs.get_data(copy=False)[recording.trials["epoch"]]
    assert recording.signals.shape == (72 + 15, 2, 51) == expected.shape
    np.testing.assert_allclose(recording.signals, expected, rtol=2**-11 * 1.001, atol=2**-24)
    test = recording.trials[recording.trials["split"] == "test"]
    assert set(test["session"]) == {"ses-01", "ses-02", "ses-03", "ses-04", "ses-05"}
    whole = study.recording("sub-P3").trials
    first = whole[(whole["repetition"] < 5) | (whole["split"] == "train")].reset_index(drop=True)
    pd.testing.assert_frame_equal(recording.trials, first)
    image = part.images()[0]
    assert not part.image_path(image).samefile(study.image_path(image))


def session_trials(study, name="sub-P1"):
    """Table, and float64 signals, of each session."""
    recording = study.recording(name)
    for session, table in recording.trials.groupby("session"):
        yield session, table.reset_index(drop=True), recording.signals[table.index.to_numpy()].astype(np.float64)


def expected_zscore(train, signals):
    scaler = StandardScaler().fit(train.transpose(0, 2, 1).reshape(-1, train.shape[1]))
    flat = scaler.transform(signals.transpose(0, 2, 1).reshape(-1, train.shape[1]))
    return flat.reshape(len(signals), -1, train.shape[1]).transpose(0, 2, 1)


def expected_whitening(train, signals):
    covariance = 0
    for trial in train:
        scaler = StandardScaler().fit(trial.T)
        shrunk, _ = ledoit_wolf(scaler.transform(trial.T), assume_centered=True)
        covariance = covariance + shrunk * np.outer(scaler.scale_, scaler.scale_) / len(train)
    values, vectors = np.linalg.eigh(covariance)
    return (vectors / np.sqrt(values)) @ vectors.T @ signals


EXPECTED = {"off": lambda train, signals: signals, "zscore": expected_zscore, "whitening": expected_whitening}


@pytest.mark.parametrize("scaling", SCALINGS)
def test_scaling_is_fitted_on_the_training_trials_of_each_session(small, study, tmp_path, scaling):
    scaled = prepare(small[0], tmp_path / scaling, subjects=["P1"], scaling=scaling)
    assert scaled.recording("sub-P1").trials.equals(study.recording("sub-P1").trials)
    for (_, table, signals), (_, _, found) in zip(session_trials(study), session_trials(scaled), strict=True):
        train = signals[(table["split"] == "train").to_numpy()]
        np.testing.assert_allclose(found, EXPECTED[scaling](train, signals), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_test_trials_change_no_training_value(small, tmp_path, scaling):
    folder, _, tables = small
    shutil.copytree(folder / "metadata", tmp_path / "metadata")
    shutil.copytree(folder / "sourcedata", tmp_path / "sourcedata")
    epochs = mne.read_epochs(files.fif(folder), preload=True, verbose="error")
    test = (tables["P1"]["trial_type"] == "test").to_numpy()
    epochs._data[test] = 3 * epochs._data[test] + 1
    files.fif(tmp_path).parent.mkdir(parents=True)
    epochs.save(files.fif(tmp_path), verbose="error")
    images = folder / "images"
    before, after = (
        prepare(place, tmp_path / name, subjects=["P1"], images=images, scaling=scaling).recording("sub-P1")
        for place, name in ((folder, "before"), (tmp_path, "after"))
    )
    train = (before.trials["split"] == "train").to_numpy()
    assert np.array_equal(before.signals[train], after.signals[train])
    assert (before.signals[~train] != after.signals[~train]).mean() > 0.99


def test_zscore_of_tesla_with_a_large_offset():
    signals = 1e-13 * np.random.default_rng(0).standard_normal((50, 4, 30)) + 1e-9
    scale = SCALINGS["zscore"]((signals[i : i + 7] for i in range(0, 50, 7)), 50)
    np.testing.assert_allclose(scale(signals), expected_zscore(signals, signals), rtol=1e-6, atol=1e-6)
    with pytest.raises(InputError, match=r"1 channels are constant over a session \(the first is number 3"):
        SCALINGS["zscore"]([np.where(np.arange(4)[:, None] == 2, 1e-13, signals)], 50)


def tesla(numbers, rng):
    return 1e-13 * rng.standard_normal((len(numbers), SMALL.n_channels, 281))


def test_tesla_do_not_fit_float16_unless_scaled(tmp_path):
    files.write(tmp_path, SMALL, signals=tesla)
    with pytest.raises(InputError, match=r"_P1-epo.fif, ses-01: signals are 1e-13 in size, too small for float16"):
        prepare(tmp_path, tmp_path / "study", dtype="float16")
    assert not (tmp_path / "study").exists()
    assert prepare(tmp_path, tmp_path / "float32").recording("sub-P1").signals[:].std() == pytest.approx(1e-13, rel=0.1)
    scaled = prepare(tmp_path, tmp_path / "scaled", dtype="float16", scaling="zscore")
    assert scaled.recording("sub-P1").signals[:].astype(np.float64).std() == pytest.approx(1, rel=0.1)


def rewrite(folder, change):
    """Write attributes and epochs of P1 again, without some trials or otherwise changed."""
    path = folder / "sourcedata/sample_attributes_P1.csv"
    table = change(pd.read_csv(path)).reset_index(drop=True)
    table.to_csv(path, index=False)
    for file in files.fif(folder).parent.glob("preprocessed_P1*"):
        file.unlink()
    files.write_epochs(files.fif(folder), table, SMALL)


@pytest.fixture
def copy(small, tmp_path):
    """Files of P1 that a test may damage."""
    folder = tmp_path / "files"
    for name in ("metadata", "images", "sourcedata"):
        shutil.copytree(small[0] / name, folder / name)
    files.fif(folder).parent.mkdir(parents=True)
    for file in files.fif(small[0]).parent.glob("preprocessed_P1*"):
        shutil.copy(file, files.fif(folder).parent)
    return folder


def test_missing_presentations_are_counted_and_tolerated(copy, tmp_path, capsys):
    table = pd.read_csv(copy / "sourcedata/sample_attributes_P1.csv")
    images = files.design(SMALL)
    shared = set(images[images["role"] == "test"]["concept_number"])
    first = table[table["trial_type"] == "test"].index[:4]
    train = table[(table["trial_type"] == "exp") & ~table["category_nr"].isin(shared)].index
    double = table.loc[train[[9]]].assign(run_nr=10)
    rewrite(copy, lambda rows: pd.concat([rows.drop([*first, *train[:2]]), double]))
    study = prepare_things_meg(copy, tmp_path / "study", facts=SMALL)
    assert "Note: 6 presentations fewer than published" in capsys.readouterr().err
    counts = study.recording("sub-P1").trials["split"].value_counts()
    assert counts.to_dict() == {"train": 70, "test": 32}
    wanted = [trial for trial in literal(copy) if trial[0][3] == 0 or trial[0][2] == "test"]
    assert_same(study.recording("sub-P1"), wanted)


def test_images_of_another_release_and_metadata_of_older_ones(copy, study, tmp_path):
    pictures = tmp_path / "Images"
    shutil.move(copy / "images/object_images", pictures)
    for number, concept in enumerate(sorted(pictures.iterdir())):
        for image in list(concept.iterdir()):
            image.rename(image.with_suffix(".JPEG"))
        concept.rename(concept.with_name(f"{number + 1:05d}_{concept.name}"))
    shutil.rmtree(copy / "metadata")
    files.write_metadata(tmp_path, files.design(SMALL), old=True)
    matched = prepare(tmp_path, tmp_path / "out", images=pictures).recording("sub-P1")
    assert matched.trials.equals(study.recording("sub-P1").trials)
    assert np.array_equal(matched.signals, study.recording("sub-P1").signals)
    assert image_key(matched.trials["image"][0])[0] == matched.trials["concept"][0]
    numbers = tmp_path / "Metadata/Concept-specific/image_concept_index.csv"
    lines = numbers.read_text().split()
    for text, message in (
        (lines[1:], r"image_concept_index\.csv has 134 lines and .*image_paths\.csv has 135"),
        (["2", *lines[1:]], r"do not fit: the concept 'thing_0000' goes with 2 numbers"),
    ):
        numbers.write_text("\n".join(text))
        with pytest.raises(InputError, match=message):
            prepare(tmp_path, tmp_path / "out2", images=pictures)


def cut(path, keep):
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


def table_of(folder, change):
    path = folder / "sourcedata/sample_attributes_P1.csv"
    change(pd.read_csv(path)).to_csv(path, index=False)


def again(folder, facts=SMALL, **changes):
    files.write_epochs(files.fif(folder), pd.read_csv(folder / "sourcedata/sample_attributes_P1.csv"), facts, **changes)


def outside(folder):
    codes = pd.read_csv(folder / "sourcedata/sample_attributes_P1.csv")["things_image_nr"].fillna(files.CATCH)
    again(folder, codes=np.where(np.arange(len(codes)) == 17, 136, codes.astype(int)))


def infinite(folder):
    def signals(numbers, rng):
        data = rng.standard_normal((len(numbers), SMALL.n_channels, 281))
        data[int(np.flatnonzero(numbers != files.CATCH)[-1]), 2, 40] = np.inf
        return data

    again(folder, signals=signals)


def lines_of(folder, change):
    path = folder / "metadata/01_image-level/image-paths.csv"
    path.write_text("".join(f"{line}\n" for line in change(path.read_text().split())))


def both(rows):
    return rows.assign(trial_type=rows["trial_type"].where((rows["trial_type"] != "test") | (rows.index < 150), "exp"))


def second(folder):
    return files.fif(folder).with_name("preprocessed_P1-epo-1.fif")


FAULTS = {
    "truncated": (lambda f: cut(files.fif(f), 0.5), r"preprocessed_P1-epo\.fif is cut short: it ends at byte \d+"),
    "truncated part": (lambda f: cut(second(f), 0.999), r"preprocessed_P1-epo-1\.fif is cut short"),
    "empty": (lambda f: cut(files.fif(f), 0), r"preprocessed_P1-epo\.fif is cut short: it ends at byte 0"),
    "missing part": (
        lambda f: second(f).unlink(),
        r"-epo-1\.fif does not exist; preprocessed_P1-epo\.fif continues there, so fetch it",
    ),
    "not fif": (lambda f: files.fif(f).write_bytes(b"not a fif" * 99), r"-epo\.fif is not a FIF file"),
    "event": (outside, r"P1-epo\.fif has the event 136 in epoch 17; expected image numbers 1 to 135, and 999999"),
    "rate": (lambda f: again(f, sfreq=100.0), r"P1-epo\.fif has 100\.0 Hz; THINGS-MEG has 200\.0"),
    "renamed": (
        lambda f: again(f, names=[*files.channel_names(5), "Oz"]),
        r"P1-epo\.fif has the MEG channel 'Oz'; expected 6 names such as MLC11-1609",
    ),
    "channel": (
        lambda f: again(f, files.small_facts(n_channels=5)),
        r"P1-epo\.fif has 5 MEG channels; THINGS-MEG has 6",
    ),
    "not finite": (infinite, r"P1-epo\.fif holds NaN or infinity in epoch \d+; fetch it again"),
    "no attributes": (
        lambda f: (f / "sourcedata/sample_attributes_P1.csv").unlink(),
        r"sample_attributes_P1\.csv does not exist; expected a table with the columns trial_type, things_image_nr",
    ),
    "length": (
        lambda f: table_of(f, lambda t: t.iloc[:-1]),
        r"sample_attributes_P1\.csv has 191 rows and .*P1-epo\.fif has 192 epochs; expected as many",
    ),
    "order": (
        lambda f: table_of(f, lambda t: t.iloc[::-1]),
        r"sample_attributes_P1\.csv, row \d+: the image number is \d+ and the event of the epoch in .* is \d+",
    ),
    "column": (
        lambda f: table_of(f, lambda t: t.rename(columns={"session_nr": "day"})),
        r"sample_attributes_P1\.csv has no column 'session_nr'",
    ),
    "type": (
        lambda f: table_of(f, lambda t: t.replace({"trial_type": {"exp": "main"}})),
        r"sample_attributes_P1\.csv, row \d+: the trial_type is 'main'; expected exp, test or catch",
    ),
    "session": (
        lambda f: table_of(f, lambda t: t.assign(session_nr=t["session_nr"] + 1)),
        r"sample_attributes_P1\.csv, row 1\d\d: the session_nr is '13'; expected 1 to 12",
    ),
    "number": (
        lambda f: table_of(f, lambda t: t.assign(things_image_nr=t["things_image_nr"] + 0.5)),
        r"sample_attributes_P1\.csv, row \d+: the things_image_nr is '\d+\.5'; expected a number from 1",
    ),
    "both splits": (lambda f: table_of(f, both), r"_P1\.csv shows thing_\S+ both in exp and in test trials"),
    "test images": (
        lambda f: rewrite(f, lambda t: t[t["things_image_nr"] != t[t["trial_type"] == "test"].iloc[0, 6]]),
        r"sample_attributes_P1\.csv has 2 test concepts; THINGS-MEG has 3",
    ),
    "train concepts": (
        lambda f: rewrite(f, lambda t: t[(t["trial_type"] != "exp") | (t["category_nr"] > 1)]),
        r"sample_attributes_P1\.csv has 5 concepts in exp trials only; THINGS-MEG has 6",
    ),
    "no metadata": (lambda f: shutil.rmtree(f / "metadata"), r"has no file metadata/01_image-level/image-paths\.csv"),
    "header": (
        lambda f: lines_of(f, lambda lines: ["path", *lines]),
        r"image-paths\.csv, line 1: 'path' is not the path of an image",
    ),
    "leaves": (
        lambda f: lines_of(f, lambda lines: [*lines[:4], "images/../x.jpg", *lines[5:]]),
        r"image-paths\.csv, line 5: 'images/\.\./x\.jpg' is not the path of an image",
    ),
    "other list": (
        lambda f: lines_of(f, lambda lines: lines[::-1]),
        r"sample_attributes_P1\.csv, row \d+: image number \d+ is thing_\S+ and thing_\S+ in the image paths",
    ),
    "no images": (lambda f: shutil.rmtree(f / "images"), r"has no folder images/object_images; fetch the images"),
}


def tree(folder):
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_files_are_one_sentence_and_leave_nothing(copy, tmp_path, capsys, monkeypatch, fault):
    monkeypatch.setitem(DATASETS, "things-meg", SMALL)
    change, message = FAULTS[fault]
    change(copy)
    before = tree(tmp_path)
    assert_says(refused(capsys, "prepare", "things-meg", copy, "--out", tmp_path / "study", "--quiet"), message)
    assert tree(tmp_path) == before


def assert_says(error, message):
    with pytest.raises(InputError, match=message):
        raise InputError(error)


def test_bad_arguments_are_one_sentence(small, copy, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(DATASETS, "things-meg", SMALL)
    out = tmp_path / "study"

    def says(message, *options, source=copy):
        assert_says(refused(capsys, "prepare", "things-meg", source, "--out", out, "--quiet", *options), message)
        assert not out.exists()

    says("absent is not a folder; expected the downloaded recordings", source=tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    says(r"has no file derivatives/preprocessed/preprocessed_P1-epo\.fif", source=tmp_path / "empty")
    says("The subject 'P9' is not in THINGS-MEG; expected P1 to P4", "--subject", "P9")
    says(r"preprocessed_P2-epo\.fif does not exist", "--subject", "P1", "sub-P2")
    says("has no channel 'MZZ99'; expected some of its 6, such as MLC11-1609", "--channels", "MZZ99")
    says(r"The window is 0 to 2 s and .*P1-epo\.fif holds -0\.1 to 1\.3 s", "--window", 0, 2)
    says(r"The baseline is -0\.2 to 0 s", "--baseline", -0.2, 0)
    says(r"The window is 0\.001 to 0\.002 s", "--window", 0.001, 0.002)
    says("scaling 'robust' is unknown", "--scaling", "robust")
    says("is not a folder; expected the images", "--images", tmp_path / "nowhere")
    says("holds no image", "--images", tmp_path / "empty")
    lost = sorted((copy / "images").rglob("*.jpg"))[:7]
    for image in lost:
        image.unlink()
    first = "/".join(lost[0].parts[-2:])
    says(
        rf"has no file for 7 of the images, by concept and file name: {first}, (.*, ){{5}}.*; expected one file",
        "--no-zero-shot",
    )
    monkeypatch.setattr(room.shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**9, 10**9, 10**8))
    says("0.1 GB free and study needs 0.2 GB", "--images", small[0] / "images")
    monkeypatch.undo()
    monkeypatch.setitem(DATASETS, "things-meg", SMALL)
    monkeypatch.setattr(room, "available_memory", lambda: 10**8)
    says("GB of memory and 0.1 GB are available", "--images", small[0] / "images")
    out.mkdir()
    (out / "mine").write_text("keep")
    assert "exists already" in refused(capsys, "prepare", "things-meg", small[0], "--out", out)
    assert (out / "mine").read_text() == "keep"


def test_subjects_with_other_channels_or_without_training_in_a_session(small, copy, tmp_path):
    for file in files.fif(small[0], "P3").parent.glob("preprocessed_P3*"):
        shutil.copy(file, files.fif(copy).parent)
    again(copy, names=files.channel_names(7)[1:])
    with pytest.raises(InputError, match="sub-P3 and sub-P1 differ in channels; prepare them as different studies"):
        prepare(copy, tmp_path / "study")
    rewrite(copy, lambda t: t[(t["trial_type"] != "exp") | (t["session_nr"] != 4)])
    with pytest.raises(InputError, match="no training trial in ses-04 to fit the zscore on"):
        prepare(copy, tmp_path / "study", subjects=["P1"], scaling="zscore")
    assert prepare(copy, tmp_path / "study", subjects=["P1"]).recording("sub-P1").signals.shape[0] == 11 * 6 + 36


@pytest.mark.parametrize("name", ["../other-epo.fif", "preprocessed_P1-epo.fif"])
def test_a_file_that_continues_elsewhere_is_refused(copy, tmp_path, name):
    path = files.fif(copy)
    content = path.read_bytes()
    old = b"preprocessed_P1-epo-1.fif"
    header = content.index(old) - 16
    assert content.count(old) == 1
    tag = content[header : header + 8] + len(name).to_bytes(4, "big") + content[header + 12 : header + 16]
    path.write_bytes(content[:header] + tag + name.encode() + content[header + 16 + len(old) :])
    with pytest.raises(InputError, match=r"continues in .*; expected another file in the same folder"):
        prepare(copy, tmp_path / "study")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"channels": ()}, "channels are none"),
        ({"channels": ("a", "a")}, "channels are a, a"),
        ({"channels": ("all", "a")}, "all and some by name"),
        ({"window": (1.0, 0.0)}, "window .* ends before it starts"),
        ({"baseline": (0.0, -0.1)}, "baseline .* ends before it starts"),
        ({"scaling": "mvnn"}, "scaling 'mvnn' is unknown"),
        ({"dtype": "float64"}, "type 'float64' is unknown"),
        ({"test_repetitions": 0}, "test_repetitions is below 1"),
    ],
)
def test_unknown_options_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        ThingsMEGOptions(**values)


def test_prepare_features_train_evaluate(tmp_path, capsys, monkeypatch):
    """Signals are a linear image of what the encoder sees, so that images can be found."""
    facts = files.small_facts(train_concepts=40, images_per_concept=1, test_concepts=12, n_channels=10)
    monkeypatch.setitem(DATASETS, "things-meg", facts)
    monkeypatch.setenv("UBP_CACHE", str(tmp_path / "cache"))
    images = files.design(facts)
    random = np.random.default_rng(3)
    pictures, loaded = {}, {}
    for number in images.loc[images["role"] != "", "number"]:
        shape = (*random.integers(3, 9, 2), 3)
        pixels = np.kron(random.integers(0, 256, shape, np.uint8), np.ones((12, 12, 1), np.uint8))
        pictures[number] = conftest.png(pixels)
        path = tmp_path / "one.png"
        path.write_bytes(pictures[number])
        loaded[number] = load_image(path, 96)
    vectors = GaborEncoder()(torch.stack(list(loaded.values())).float() / 255).numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    clean = (vectors - vectors.mean(axis=0)) @ random.standard_normal((vectors.shape[1], 10 * 12))
    clean = dict(zip(loaded, clean.reshape(-1, 10, 12) / clean.std(), strict=True))
    clean[files.CATCH] = np.zeros((10, 12))

    def signals(numbers, rng):
        return np.array([clean[number] for number in numbers]) + 0.5 * rng.standard_normal((len(numbers), 10, 12))

    files.write(tmp_path / "files", facts, picture=pictures.get, times=(-0.005, 0.05), signals=signals)
    study, runs = tmp_path / "study", tmp_path / "runs"
    assert run("prepare", "things-meg", tmp_path / "files", "--out", study, "--window", 0, 0.05, "--quiet") == 0
    assert run("info", study, "--check") == 0
    assert "meg, 200 Hz from 0 s" in capsys.readouterr().out
    assert run("features", study, "--encoder", "gabor", "--width", 13, "--preset", "ubp", "--quiet") == 0
    settings = ("--width", 13, "--epochs", 30, "--batch-size", 20, "--learning-rate", 1e-3, "--quiet")
    assert run("train", study, "--out", runs, "--encoder", "gabor", *settings) == 0
    assert run("evaluate", runs, "--quiet", "--no-ridge") == 0
    (row,) = pd.read_csv(runs / "results.csv").to_dict("records")
    assert (row["subject"], row["gallery_size"]) == ("sub-P1", 12)
    assert row["mean_percentile_rank"] > 0.6


def test_sessions_in_parallel_and_subjects_added_later_give_the_same_bytes(small, study, tmp_path):
    parallel = prepare(small[0], tmp_path / "parallel", jobs=2)
    prepare(small[0], tmp_path / "added", subjects=["P3"])
    added = prepare(small[0], tmp_path / "added")
    for other in (parallel, added):
        assert other.subjects == study.subjects
        for subject in study.subjects:
            for name in ("signals.npy", "trials.csv", "channels.csv"):
                mine, theirs = (each.recording(subject).folder / name for each in (other, study))
                assert mine.read_bytes() == theirs.read_bytes()
