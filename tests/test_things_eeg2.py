import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from concurrent.futures import BrokenExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.utils import shuffle
from threadpoolctl import threadpool_limits

import reference_things
import things_files
from ubp.data import assembly, recording_parts, room
from ubp.data.facts import DATASETS, THINGS_EEG2
from ubp.data.recording_parts import choose_jobs, written_bytes
from ubp.data.study import Study
from ubp.data.things_eeg2 import prepare_things_eeg2
from ubp.data.things_eeg2_options import ThingsEEG2Options
from ubp.data.things_images import image_key
from ubp.errors import InputError, UbpError

FLOAT32 = ThingsEEG2Options(dtype="float32")
TWENTIETH = things_files.small_facts(83, 10, 10)
SMALL = things_files.small_facts(6, 2, 3)


def prepare(folder, out, facts=SMALL, source="raw", options=FLOAT32, **more):
    return prepare_things_eeg2(folder, out, source, options=options, facts=facts, quiet=True, **more)


@pytest.fixture(scope="module")
def twentieth(tmp_path_factory):
    """One subject at a twentieth of the size, with every irregularity that recordings may have."""
    folder = tmp_path_factory.mktemp("twentieth")
    things_files.write_images(folder / "images", TWENTIETH)
    things_files.write_metadata(folder, TWENTIETH)
    random = np.random.default_rng(5)
    changes = {
        ("ses-02", split): {"channels": random.permutation(TWENTIETH.channels).tolist()} for split in ("train", "test")
    }
    changes |= {
        ("ses-01", "train"): {"surplus": 7},
        ("ses-03", "train"): {"missing": 5},
        ("ses-04", "test"): {"surplus": 2, "missing": 2},
    }
    things_files.write_raw(folder, TWENTIETH, gap=0.1, changes=changes)
    study = prepare(folder, folder / "study", TWENTIETH)
    yield folder, study
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def literal(twentieth):
    # one thread is what these small steps are fastest with
    with threadpool_limits(1):
        return reference_things.prepare(twentieth[0] / "sub-01", TWENTIETH)


def test_equals_the_literal_recipe_trial_for_trial(twentieth, literal):
    study = twentieth[1]
    recording = study.recording("sub-01")
    expected = np.concatenate([literal["train"][0], literal["test"][0]])
    assert recording.signals.shape == expected.shape
    assert recording.signals.dtype == np.float32
    for found, trial in zip(recording.signals, expected, strict=True):
        assert np.abs(found - trial).max() < 1e-6 * np.abs(trial).max()  # asked: 1e-5
    for column, place in (("condition", 1), ("session", 2)):
        assert list(recording.trials[column]) == literal["train"][place] + literal["test"][place]
    assert (study.info.sfreq, study.info.tmin) == (250.0, 0.0)


def test_the_small_recording_has_the_irregularities(twentieth):
    table = twentieth[1].recording("sub-01").trials
    counts = table.groupby(["split", "condition"]).size()
    assert counts["train"].value_counts().to_dict() == {4: 825, 3: 5}
    assert counts["test"].value_counts().to_dict() == {80: 8, 79: 2}
    assert (table.groupby(["split", "condition"])["repetition"].max() + 1 == counts).all()
    names = {split: things_files.image_names(split, TWENTIETH) for split in ("train", "test")}
    folders = {"train": "training_images", "test": "test_images"}
    for row in table.iloc[::97].itertuples():
        folder, file = names[row.split][row.condition - 1]
        assert row.image == f"{folders[row.split]}/{folder}/{file}"
        assert row.concept == folder[6:]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Raw files of a few conditions, prepared with and without whitening."""
    folder = tmp_path_factory.mktemp("small")
    things_files.write_images(folder / "images", SMALL)
    things_files.write_metadata(folder, SMALL)
    things_files.write_raw(folder, SMALL)
    studies = {
        name: prepare(folder, folder / f"study-{name}", options=ThingsEEG2Options(whitening=name, dtype="float32"))
        for name in ("off", "session", "subject")
    }
    return folder, studies


def noise(table, signals):
    """Mean over conditions of the mean over repetitions of scikit-learn's covariances."""
    codes = table["condition"].to_numpy()
    return np.mean(
        [
            np.mean([reference_things.shrunk_covariance(x) for x in signals[codes == code].astype(np.float64)], axis=0)
            for code in np.unique(codes)
        ],
        axis=0,
    )


@pytest.mark.parametrize("whitening", ["session", "subject"])
def test_whitened_training_trials_have_identity_mean_covariance(small, whitening):
    studies = small[1]
    table = studies["off"].recording("sub-01").trials
    microvolts, whitened = (studies[name].recording("sub-01").signals for name in ("off", whitening))
    train = (table["split"] == "train").to_numpy()
    sums = []
    for session in THINGS_EEG2.sessions:
        here = (table["session"] == session).to_numpy()
        # the matrix that was applied, found from what came out
        x, y = (s[here].transpose(1, 0, 2).reshape(63, -1).astype(np.float64) for s in (microvolts, whitened))
        matrix = np.linalg.lstsq(x.T, y.T, rcond=None)[0].T
        np.testing.assert_allclose(matrix @ x, y, atol=1e-4)
        covariance = noise(table[here & train], microvolts[here & train])
        sums.append(matrix @ covariance @ matrix.T)
    found = sums if whitening == "session" else [np.mean(sums, axis=0)]
    for covariance in found:
        np.testing.assert_allclose(covariance, np.eye(63), atol=1e-3)


def test_without_whitening_signals_are_microvolts(small):
    folder, studies = small
    epochs = reference_things.session_epochs(folder / "sub-01/ses-01/raw_eeg_test.npy", "test", THINGS_EEG2.channels)
    recording = studies["off"].recording("sub-01")
    first = (recording.trials["split"] == "test") & (recording.trials["session"] == "ses-01")
    found = recording.signals[first & (recording.trials["condition"] == 2)]
    np.testing.assert_allclose(found, 1e6 * epochs[2], rtol=1e-5, atol=1e-5 * np.abs(found).max())


def test_test_trials_change_no_training_value(small, tmp_path):
    folder, studies = small
    shutil.copytree(folder / "sub-01", tmp_path / "sub-01")
    path = tmp_path / "sub-01" / "ses-02" / "raw_eeg_test.npy"
    content = np.load(path, allow_pickle=True).item()
    content["raw_eeg_data"][:-1] *= np.random.default_rng(0).uniform(0.1, 9, (63, 1))
    np.save(path, content)
    for name in ("session", "subject"):
        changed = prepare(
            tmp_path,
            tmp_path / name,
            options=ThingsEEG2Options(whitening=name, dtype="float32"),
            images=folder / "images",
        ).recording("sub-01")
        before = studies[name].recording("sub-01")
        train = (before.trials["split"] == "train").to_numpy()
        assert np.array_equal(changed.signals[train], before.signals[train])
        session = (before.trials["session"] == "ses-02").to_numpy()
        assert (changed.signals[~train & session] != before.signals[~train & session]).mean() > 0.99
        assert np.array_equal(changed.signals[~session], before.signals[~session])


def test_options(small, tmp_path):
    folder, studies = small
    whole = studies["session"].recording("sub-01")
    half = prepare(folder, tmp_path / "half", options=None).recording("sub-01")
    assert half.signals.dtype == np.float16
    # rounded once, from float64
    np.testing.assert_allclose(half.signals.astype(np.float32), whole.signals, rtol=2**-11 * 1.001, atol=2**-25)
    options = ThingsEEG2Options(
        channels="posterior17",
        sfreq=100.0,
        epoch=(-0.2, 0.8),
        window=(-0.2, 0.8),
        train_repetitions=1,
        test_repetitions=5,
        whitening="off",
        dtype="float32",
        seed=1,
    )
    study = prepare(folder, tmp_path / "other", options=options)
    recording = study.recording("sub-01")
    assert recording.signals.shape == (12 * 2 + 3 * 20, 17, 100)
    posterior = "P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO3 POz PO4 PO8 O1 Oz O2"
    assert " ".join(recording.channel_names) == posterior
    assert (study.info.sfreq, study.info.tmin) == (100.0, -0.2)
    events = np.load(folder / "sub-01/ses-01/raw_eeg_test.npy", allow_pickle=True).item()["raw_eeg_data"][-1]
    onsets = np.flatnonzero(events == 2)
    onsets = onsets[(onsets >= 200) & (onsets + 800 < len(events))]
    epochs = reference_things.session_epochs(
        folder / "sub-01/ses-01/raw_eeg_test.npy", "test", recording.channel_names, 100, -0.2, 0.8, 100
    )
    table = recording.trials
    mine = recording.signals[
        ((table["split"] == "test") & (table["session"] == "ses-01") & (table["condition"] == 2)).to_numpy()
    ]
    order = {
        n: shuffle(np.arange(len(onsets)), random_state=seed)[:n] for n, seed in ((5, 1), (20, reference_things.SEED))
    }
    places = [list(order[20]).index(i) for i in order[5]]
    np.testing.assert_allclose(mine, 1e6 * epochs[2][places], rtol=1e-4, atol=1e-4)


def test_images_are_those_of_the_conditions_and_are_hard_links(small, tmp_path):
    folder, studies = small
    study = studies["session"]
    assert len(study.images("train")) == 12
    assert study.concepts["training_images/00001_thing0001/thing0001_01b.jpg"] == "thing0001"
    image = study.image_path("test_images/00003_object0003/object0003_01b.jpg")
    assert image.samefile(folder / "images/test_images/00003_object0003/object0003_01b.jpg")
    copied = prepare(folder, tmp_path / "copy", link=False)
    assert not copied.image_path(copied.images()[0]).samefile(study.image_path(study.images()[0]))
    copied.validate()


def test_renamed_images_are_matched_and_the_order_of_names_replaces_the_table(small, tmp_path):
    folder, studies = small
    shutil.copytree(folder / "sub-01", tmp_path / "sub-01")
    things_files.write_images(tmp_path / "pictures", SMALL, train="train_images", suffix=".JPEG")
    for concept in (tmp_path / "pictures" / "train_images").iterdir():
        concept.rename(concept.with_name(concept.name[6:]))
    things_files.write_metadata(tmp_path, SMALL)
    matched = prepare(tmp_path, tmp_path / "a", images=tmp_path / "pictures")
    before = studies["session"].recording("sub-01").trials
    assert matched.recording("sub-01").trials.equals(before)
    (tmp_path / "image_metadata.npy").unlink()
    listed = prepare(tmp_path, tmp_path / "b", images=tmp_path / "pictures").recording("sub-01").trials
    assert listed["image"].map(image_key).tolist() == before["image"].map(image_key).tolist()
    assert listed["image"].iloc[0] == "train_images/thing0001/thing0001_01b.JPEG"


def test_authors_preprocessed_files(tmp_path):
    things_files.write_images(tmp_path / "images", SMALL)
    things_files.write_metadata(tmp_path / "images", SMALL)
    arrays = things_files.write_preprocessed(tmp_path, SMALL)
    study = prepare(tmp_path, tmp_path / "study", source="preprocessed", options=None)
    recording = study.recording("sub-01")
    expected = np.concatenate([arrays[split].reshape(-1, 17, 100) for split in ("train", "test")])
    assert np.array_equal(recording.signals, expected.astype(np.float32))
    assert (study.info.sfreq, study.info.tmin, recording.channels["name"].iloc[-1]) == (100.0, -0.2, "O2")
    assert list(recording.trials["repetition"][:5]) == [0, 1, 2, 3, 0]
    some = ThingsEEG2Options(channels=("Oz", "P7"), window=(0.0, 0.5), dtype="float16")
    part = prepare(tmp_path, tmp_path / "part", source="preprocessed", options=some)
    assert np.array_equal(part.recording("sub-01").signals, expected[:, [15, 0], 20:71].astype(np.float16))
    assert part.info.tmin == 0.0


def test_ubp_authors_files(tmp_path):
    things_files.write_images(tmp_path / "Image_set", SMALL)
    contents = things_files.write_ubp(tmp_path / "Preprocessed_data_250Hz_whiten", SMALL)
    study = prepare(tmp_path, tmp_path / "study", source="ubp", options=None)
    recording = study.recording("sub-01")
    expected = np.concatenate([contents[split]["eeg"].reshape(-1, 63, 250) for split in ("train", "test")])
    assert recording.signals.dtype == np.float16
    assert np.array_equal(recording.signals, expected)
    sessions = np.concatenate([contents[split]["session"].ravel() for split in ("train", "test")])
    assert list(recording.trials["session"]) == [f"ses-{int(number) + 1:02d}" for number in sessions]
    images = np.concatenate([contents[split]["img"].ravel() for split in ("train", "test")])
    assert [name.replace("training_", "train_") for name in recording.trials["image"]] == list(images)
    assert study.info.sfreq == 250.0
    assert Study.open(tmp_path / "study").subjects == ("sub-01",)


class WritesFile:
    def __reduce__(self):
        return os.system, ("touch bad-file",)


def test_a_malicious_file_is_refused_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    things_files.write_images(tmp_path / "images", SMALL)
    things_files.write_metadata(tmp_path, SMALL)
    (tmp_path / "sub-01" / "ses-01").mkdir(parents=True)
    np.save(tmp_path / "sub-01" / "ses-01" / "raw_eeg_training.npy", {"raw_eeg_data": WritesFile()})
    (tmp_path / "sub-01" / "preprocessed_eeg_training.npy").write_bytes(pickle.dumps([WritesFile()]))
    torch.save({"eeg": WritesFile()}, tmp_path / "sub-01" / "train.pt")
    for source in ("raw", "preprocessed", "ubp"):
        with pytest.raises(InputError, match=r"names posix\.system, which could run code"):
            prepare(tmp_path, tmp_path / "study", source=source)
    np.save(tmp_path / "image_metadata.npy", {"train_img_concepts": WritesFile()})
    with pytest.raises(InputError, match=r"image_metadata\.npy names posix\.system"):
        prepare(tmp_path, tmp_path / "study")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image_metadata.npy", "images", "sub-01"]


def edit(path, change):
    content = np.load(path, allow_pickle=True).item()
    change(content)
    np.save(path, content)


def set_event(content):
    where = np.flatnonzero(content["raw_eeg_data"][-1])[3]
    content["raw_eeg_data"][-1, where] = 13


def set_nan(content):
    content["raw_eeg_data"][5, 3000] = np.nan


def rename_channel(content):
    content["ch_names"] = ["Occ" if name == "Oz" else name for name in content["ch_names"]]


RAW_FAULTS = {
    "event": (set_event, r"raw_eeg_training\.npy has the event 13 at sample \d+; expected conditions 1 to 12"),
    "rate": (lambda c: c.update(sfreq=500), r"raw_eeg_training\.npy has 500 Hz; THINGS-EEG2 has 1000"),
    "renamed": (rename_channel, r"no channel 'Oz' \(it has the unknown Occ\)"),
    "stim": (lambda c: c["ch_names"].__setitem__(-1, "STI"), "no channel 'stim'"),
    "double": (lambda c: c["ch_names"].__setitem__(0, "Oz"), "no channel 'Fp1'|twice the channel"),
    "key": (lambda c: c.pop("ch_names"), r"has no 'ch_names' \(it has raw_eeg_data"),
    "shape": (lambda c: c.update(raw_eeg_data=np.zeros((64, 9, 2))), r"shape \(64, 9, 2\)"),
    "rows": (lambda c: c.update(raw_eeg_data=c["raw_eeg_data"][1:]), "64 channel names; THINGS-EEG2 has 63"),
    "nan": (set_nan, "holds NaN or infinity near sample"),
}


@pytest.mark.parametrize("fault", RAW_FAULTS)
def test_bad_raw_files_are_one_sentence_and_leave_nothing(small, tmp_path, fault):
    folder = small[0]
    shutil.copytree(folder / "sub-01", tmp_path / "sub-01")
    change, message = RAW_FAULTS[fault]
    edit(tmp_path / "sub-01" / "ses-03" / "raw_eeg_training.npy", change)
    things_files.write_metadata(tmp_path, SMALL)
    with pytest.raises(InputError, match=message) as error:
        prepare(tmp_path, tmp_path / "study", images=folder / "images")
    assert "ses-03" in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image_metadata.npy", "sub-01"]


def test_missing_and_short_things_are_named(small, tmp_path, monkeypatch):
    folder = small[0]
    out = tmp_path / "study"

    def refused(message, where=tmp_path, **more):
        with pytest.raises(InputError, match=message):
            prepare(where, out, **({"images": folder / "images"} | more))
        assert not out.exists()

    refused("is not a folder", tmp_path / "absent")
    refused(r"has no file sub-01/ses-01/raw_eeg_training\.npy or the like")
    shutil.copytree(folder / "sub-01", tmp_path / "sub-01")
    refused("'nothing' is unknown", source="nothing")
    refused("The subject 'sub-11' is not in", subjects=["sub-11"])
    refused("sub-02/ses-01/raw_eeg_training.npy does not exist", subjects=["sub-02"])
    refused("has no folder images", images=None)
    refused("is not a folder; expected the images", images=tmp_path / "absent")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused("holds no image", images=empty)
    pictures = tmp_path / "pictures"
    things_files.write_images(pictures, SMALL)
    things_files.write_metadata(tmp_path, SMALL)
    lost = pictures / "test_images/00002_object0002/object0002_01b.jpg"
    lost.unlink()
    refused(
        "no file for 1 of the images, by concept and file name: test_images/00002_object0002/object0002",
        images=pictures,
    )
    (tmp_path / "image_metadata.npy").unlink()
    refused("has 2 test images; THINGS-EEG2 has 3", images=pictures)
    things_files.write_images(pictures, SMALL)
    things_files.write_images(pictures, SMALL, train="training_small")
    things_files.write_metadata(tmp_path, SMALL)
    for image in sorted((pictures / "training_images").rglob("*.jpg"))[:1]:
        image.rename(image.with_suffix(".jpeg"))
    refused("more than one file for 1 of the images", images=pictures)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**9, 10**9, 10**8))
    refused("0.1 GB free and study needs 0.2 GB")
    monkeypatch.undo()
    monkeypatch.setattr(room, "available_memory", lambda: 10**8)
    refused("needs 1.2 GB of memory and 0.1 GB are available")
    monkeypatch.undo()
    path = tmp_path / "sub-01" / "ses-02" / "raw_eeg_test.npy"
    path.write_bytes(path.read_bytes()[:100_000])
    refused(r"ses-02/raw_eeg_test\.npy is cut short: it ends at byte 100000")
    path.unlink()
    refused(r"ses-02/raw_eeg_test\.npy does not exist")
    out.mkdir()
    (out / "mine").write_text("keep")
    with pytest.raises(InputError, match="exists already"):
        prepare(tmp_path, out)
    assert (out / "mine").read_text() == "keep"


def test_a_condition_without_any_trial_is_named(small, tmp_path):
    folder = small[0]
    shutil.copytree(folder / "sub-01", tmp_path / "sub-01")

    def remove(content):
        stim = content["raw_eeg_data"][-1]
        stim[stim == 2] = 0

    for session in THINGS_EEG2.sessions:
        edit(tmp_path / "sub-01" / session / "raw_eeg_test.npy", remove)
    with pytest.raises(InputError, match=r"has no trial of 1 test conditions \(2\); THINGS-EEG2 shows all 3"):
        prepare(tmp_path, tmp_path / "study", images=folder / "images")


def test_bad_ubp_files(tmp_path):
    things_files.write_images(tmp_path / "images", SMALL)
    contents = things_files.write_ubp(tmp_path, SMALL)

    def refused(message, **changes):
        torch.save(contents["train"] | changes, tmp_path / "sub-01" / "train.pt", pickle_protocol=5)
        with pytest.raises(InputError, match=message):
            prepare(tmp_path, tmp_path / "study", source="ubp", options=None)
        assert not (tmp_path / "study").exists()

    train = contents["train"]
    mixed = train["img"].copy()
    mixed[4, 1] = mixed[5, 1]
    refused("condition 5 shows different images", img=mixed)
    refused("has 11 train conditions; THINGS-EEG2 has 12", eeg=train["eeg"][1:])
    refused("has 3 repetitions of train images; THINGS-EEG2 has 4", eeg=train["eeg"][:, 1:])
    refused("62 channel names|has 63 channel names", eeg=train["eeg"][:, :, 1:])
    refused("a session is not a number", session=train["session"] + 9)
    refused("does not grow", times=train["times"][::-1])
    refused("not the same|other times", times=train["times"] + 0.1)
    refused("holds inf", eeg=np.where(np.arange(250) == 3, np.float16(np.inf), train["eeg"]))
    with pytest.raises(InputError, match="option whitening cannot be chosen from ubp"):
        prepare(tmp_path, tmp_path / "study", source="ubp", options=ThingsEEG2Options(whitening="off"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"channels": ("Oz", "Zz")}, "channel 'Zz' is unknown"),
        ({"channels": ("Oz", "all")}, "'Oz' is unknown or named twice"),
        ({"channels": ()}, r"channel '\(none\)'"),
        ({"whitening": "zca"}, "whitening 'zca' is unknown"),
        ({"dtype": "float64"}, "type 'float64' is unknown"),
        ({"train_repetitions": 0}, "train_repetitions is below 1"),
        ({"seed": -1}, "seed -1"),
        ({"window": (1.0, 0.0)}, "ends before it starts"),
    ],
)
def test_unknown_options_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        ThingsEEG2Options(**values)


def test_facts_are_the_published_ones():
    assert {name: (facts.train.count, facts.test.count) for name, facts in DATASETS.items()} == {
        "things-eeg2": (16540, 200),
        "things-meg": (19848, 200),
    }
    assert len(THINGS_EEG2.channels) == len(set(THINGS_EEG2.channels)) == THINGS_EEG2.n_channels == 63
    assert THINGS_EEG2.train.count * THINGS_EEG2.train.repetitions == 16540 * 4
    assert Path(THINGS_EEG2.subjects[-1]).name == "sub-10"


def two_subjects(folder, tmp_path):
    """Raw files of sub-01, and of sub-03 with other signals."""
    shutil.copytree(folder / "sub-01", tmp_path / "files" / "sub-01")
    things_files.write_raw(tmp_path / "files", SMALL, "sub-03", seed=3)
    return {"images": folder / "images"}


def contents(study):
    return {
        file.relative_to(study).as_posix(): file.read_bytes()
        for file in sorted(study.rglob("*"))
        if file.is_file() and file.suffix != ".jpg"
    }


def test_sessions_in_parallel_give_the_same_bytes_and_subjects_can_be_added(small, tmp_path):
    more = two_subjects(small[0], tmp_path)
    whole = prepare(tmp_path / "files", tmp_path / "whole", **more)
    prepare(tmp_path / "files", tmp_path / "parallel", jobs=2, **more)
    assert contents(tmp_path / "parallel") == contents(tmp_path / "whole")
    one = prepare(tmp_path / "files", tmp_path / "added", subjects=["sub-03"], **more)
    before = one.recording("sub-03").path.stat()
    both = prepare(tmp_path / "files", tmp_path / "added", **more)
    assert both.subjects == whole.subjects == ("sub-01", "sub-03")
    assert contents(tmp_path / "added") == contents(tmp_path / "whole")
    assert both.recording("sub-03").path.stat().st_ino == before.st_ino
    assert prepare(tmp_path / "files", tmp_path / "added", **more).subjects == both.subjects
    with pytest.raises(InputError, match="is a study with another sfreq"):
        prepare(tmp_path / "files", tmp_path / "added", options=ThingsEEG2Options(sfreq=100.0), **more)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["added", "files", "parallel", "whole"]


def test_a_stop_between_adding_and_merging_is_made_good(small, tmp_path):
    more = two_subjects(small[0], tmp_path)
    prepare(tmp_path / "files", tmp_path / "whole", **more)
    prepare(tmp_path / "files", tmp_path / "added", subjects=["sub-01"], **more)
    prepare(tmp_path / "files", tmp_path / "added.adding", subjects=["sub-03"], **more)
    next((tmp_path / "added.adding" / "images").rglob("*.jpg")).unlink()  # had been moved
    prepare(tmp_path / "files", tmp_path / "added", **more)
    assert contents(tmp_path / "added") == contents(tmp_path / "whole")
    assert not (tmp_path / "added.adding").exists()


KILLED = """
import sys
from pathlib import Path
import things_files
from ubp.data import recording_parts
from ubp.data.things_eeg2 import prepare_things_eeg2
from ubp.data.things_eeg2_options import ThingsEEG2Options
record, count = recording_parts._record, 0
def counting(*arguments):
    global count
    count += 1
    if count == int(sys.argv[3]):
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
    record(*arguments)
recording_parts._record = counting
facts = things_files.small_facts(6, 2, 3)
options = ThingsEEG2Options(dtype="float32")
prepare_things_eeg2(sys.argv[1], sys.argv[2], images=Path(sys.argv[4]), options=options, facts=facts, quiet=True)
"""


def test_a_killed_run_continues_and_gives_the_same_bytes(small, tmp_path, monkeypatch):
    more = two_subjects(small[0], tmp_path)
    prepare(tmp_path / "files", tmp_path / "whole", **more)
    out = tmp_path / "study"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    for kill_at in (3, 4):
        arguments = [sys.executable, "-c", KILLED, tmp_path / "files", out, str(kill_at), more["images"]]
        killed = subprocess.run(list(map(str, arguments)), env=environment, check=False, capture_output=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not out.exists()
    finished = json.loads((tmp_path / "study.partial" / "resume" / "sub-01.json").read_text())
    assert sorted(finished) == ["0", "1", "2", "3"]
    written = []
    real = recording_parts._record
    monkeypatch.setattr(recording_parts, "_record", lambda *a: (written.append(a[2]), real(*a)))
    prepare(tmp_path / "files", out, **more)
    assert written == [1, 2, 3]  # sub-03 had one session; sub-01 all of them
    assert contents(out) == contents(tmp_path / "whole")
    assert not (tmp_path / "study.partial").exists()


def test_work_of_a_stopped_run_with_other_settings_is_not_used(small, tmp_path, monkeypatch):
    folder = small[0]
    more = {"images": folder / "images"}
    monkeypatch.setattr(assembly, "place_images", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare(folder, tmp_path / "study", options=ThingsEEG2Options(whitening="off", dtype="float32"), **more)
    assert (tmp_path / "study.partial").is_dir()
    monkeypatch.undo()
    study = prepare(folder, tmp_path / "study", **more)
    assert np.array_equal(study.recording("sub-01").signals, small[1]["session"].recording("sub-01").signals)


STOPPED = """
import os, shutil, signal, sys
from pathlib import Path
import things_files
from ubp.data import assembly
from ubp.data.things_eeg2 import prepare_things_eeg2
where = sys.argv[3]
place = assembly if where.startswith("place_images") else shutil
real = getattr(place, where.split(":")[0])
def stop(*arguments, **options):
    if where.endswith(":after"):
        real(*arguments, **options)
    if where == "place_images:half":
        folder, files, link = arguments
        real(folder, dict(list(files.items())[:4]), link)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(place, where.split(":")[0], stop)
facts = things_files.small_facts(6, 2, 3)
prepare_things_eeg2(sys.argv[1], sys.argv[2], images=Path(sys.argv[4]), facts=facts, quiet=True)
"""


@pytest.mark.parametrize("where", ["place_images:before", "place_images:half", "place_images:after", "rmtree:before"])
def test_a_run_killed_among_the_images_or_later_keeps_its_signals(small, tmp_path, monkeypatch, where):
    folder = small[0]
    more = {"images": folder / "images"}
    whole = prepare(folder, tmp_path / "whole", options=None, **more)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    arguments = [sys.executable, "-c", STOPPED, folder, tmp_path / "study", where, more["images"]]
    killed = subprocess.run(list(map(str, arguments)), env=environment, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    monkeypatch.setattr(recording_parts, "_write_part", lambda *a: pytest.fail("a finished part was written again"))
    study = prepare(folder, tmp_path / "study", options=None, **more)
    assert contents(study.root) == contents(whole.root)
    assert study.images() == whole.images()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study", "whole"]


def test_windows_and_types_of_ready_files_are_part_of_the_settings(tmp_path, monkeypatch):
    things_files.write_images(tmp_path / "images", SMALL)
    for subject in ("sub-01", "sub-02"):
        things_files.write_ubp(tmp_path / "files", SMALL, subject)

    def once(out, window, dtype="float16", **more):
        options = ThingsEEG2Options(window=window, dtype=dtype)
        return prepare(tmp_path / "files", out, source="ubp", options=options, images=tmp_path / "images", **more)

    # a stop with one window, and a run with another
    monkeypatch.setattr(recording_parts, "_record", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        once(tmp_path / "resumed", (0.0, 0.8))
    monkeypatch.undo()
    shorter = once(tmp_path / "resumed", (0.0, 0.5))
    assert contents(shorter.root) == contents(once(tmp_path / "whole", (0.0, 0.5)).root)
    # a subject added with another window or type
    once(tmp_path / "one", (0.0, 0.5), subjects=["sub-01"])
    for window, dtype in (((0.0, 0.8), "float16"), ((0.0, 0.5), "float32")):
        with pytest.raises(InputError, match="is a study with another description"):
            once(tmp_path / "one", window, dtype, subjects=["sub-02"])
    assert Study.open(tmp_path / "one").subjects == ("sub-01",)


def test_subjects_in_a_study_need_no_files_any_more(small, tmp_path):
    more = two_subjects(small[0], tmp_path)
    prepare(tmp_path / "files", tmp_path / "study", subjects=["sub-01"], **more)
    shutil.rmtree(tmp_path / "files" / "sub-01" / "ses-02")
    study = prepare(tmp_path / "files", tmp_path / "study", **more)
    assert study.subjects == ("sub-01", "sub-03")


def test_a_merge_that_was_stopped_while_it_cleared_up(small, tmp_path, monkeypatch):
    more = two_subjects(small[0], tmp_path)
    prepare(tmp_path / "files", tmp_path / "study", subjects=["sub-01"], **more)
    monkeypatch.setattr(assembly.shutil, "rmtree", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "files", tmp_path / "study", subjects=["sub-03"], **more)
    monkeypatch.undo()
    assert Study.open(prepare(tmp_path / "files", tmp_path / "study", **more).root).subjects == ("sub-01", "sub-03")
    (tmp_path / "gone.adding").mkdir()
    with pytest.raises(InputError, match="was left by a study that is gone"):
        prepare(tmp_path / "files", tmp_path / "gone", **more)


def test_room_counts_what_a_stopped_run_wrote_and_all_jobs(small, tmp_path, monkeypatch):
    folder = small[0]
    more = {"images": folder / "images"}
    monkeypatch.setattr(assembly, "place_images", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare(folder, tmp_path / "study", **more)
    monkeypatch.undo()
    written = written_bytes(tmp_path / "study")
    assert written >= (tmp_path / "study.partial" / "sub-01" / "signals.npy").stat().st_size - 8192
    free = room.SPARE + 8192
    monkeypatch.setattr(room.shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**12, 0, free))
    assert prepare(folder, tmp_path / "study", **more).subjects == ("sub-01",)
    with pytest.raises(InputError, match="free and other needs"):
        prepare(folder, tmp_path / "other", **more)
    monkeypatch.undo()
    monkeypatch.setattr(room, "available_memory", lambda: 3 * 10**9)
    with pytest.raises(InputError, match=r"needs [45]\.\d GB of memory and 3.0 GB are available"):
        prepare(folder, tmp_path / "other", jobs=4, **more)
    with pytest.raises(InputError, match="number of jobs is 0"):
        prepare(folder, tmp_path / "other", jobs=0, **more)


def test_a_worker_that_is_killed_is_one_sentence(small, tmp_path, monkeypatch):
    folder = small[0]

    def broken(*arguments, **options):
        raise BrokenExecutor

    monkeypatch.setattr(recording_parts.joblib, "Parallel", lambda **options: broken)
    with pytest.raises(UbpError, match="was killed, probably for lack of memory"):
        prepare(folder, tmp_path / "study", images=folder / "images", jobs=2)


def test_memory_of_a_container(tmp_path, monkeypatch):
    files = tuple(str(tmp_path / name) for name in ("max", "current", "stat"))
    monkeypatch.setattr(room, "CGROUP_FILES", (("/none",) * 3, files))
    for text, expected in (("5000000", 5_000_000 - 3_000_000 + 1_000_000), ("2000000", 0)):
        for path, content in zip(files, (text, "3000000", "anon 7\ninactive_file 1000000\n"), strict=True):
            Path(path).write_text(content)
        assert room.available_memory() == expected
    Path(files[0]).write_text("max")
    assert room.available_memory() == room._machine_memory()


def test_jobs_follow_cores_and_memory():
    class Plan:
        n_parts, memory = 4, 2 * 10**9

    assert [choose_jobs([Plan], cores, None) for cores in (1, 4, 8, 100)] == [1, 1, 2, 4]
    assert [choose_jobs([Plan] * 10, 100, memory * 10**9) for memory in (1, 10, 100)] == [1, 4, 25]
