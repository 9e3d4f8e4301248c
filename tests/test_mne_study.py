import mne
import numpy as np
import pandas as pd
import pytest

from conftest import N_TEST, N_TRAIN, REPETITIONS
from test_cli import run
from ubp.data.forward import POSTERIOR, channel_positions
from ubp.data.mne_study import import_epochs, to_epochs
from ubp.data.study import Study
from ubp.errors import InputError


def epochs_of(study, subject="sub-01", **changes):
    """Epochs of a subject of the tiny study, on real electrode positions, in volts."""
    recording = study.recording(subject)
    names = list(POSTERIOR[: recording.header.shape[1]])
    info = mne.create_info(names, 100.0, "eeg", verbose="error")
    info.set_montage(
        mne.channels.make_dig_montage(dict(zip(names, channel_positions(names), strict=True)), coord_frame="head")
    )
    metadata = recording.trials.rename(columns={"image": "picture"}).assign(day=recording.trials["session"])
    return mne.EpochsArray(
        recording.signals[:].astype(float) * 1e-6, info, tmin=-0.02, metadata=metadata, verbose="error", **changes
    )


def test_epochs_files_become_a_study_that_trains(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("UBP_CACHE", str(tmp_path / "features"))
    files = []
    for subject in tiny.subjects:
        files.append(str(tmp_path / f"{subject}-epo.fif"))
        epochs_of(tiny, subject).save(files[-1], fmt="double", verbose="error")
    arguments = ["--images", str(tiny.image_folder), "--image-column", "picture", "--concept-column", "concept"]
    assert (
        run("import", *files, "--out", str(tmp_path / "study"), *arguments, "--name", "mine", "--licence", "CC0") == 0
    )
    study = Study.open(tmp_path / "study")
    assert (study.info.modality, study.info.sfreq, study.info.tmin) == ("eeg", 100.0, -0.02)
    assert (study.info.name, study.info.licence) == ("mine", "CC0")
    for subject in tiny.subjects:
        mine, theirs = study.recording(subject), tiny.recording(subject)
        assert np.array_equal(mine.signals, (theirs.signals[:].astype(float) * 1e-6).astype(np.float32))
        pd.testing.assert_frame_equal(
            mine.trials[["image", "concept", "split", "repetition"]],
            theirs.trials[["image", "concept", "split", "repetition"]],
        )
        assert mine.channels[["x", "y", "z"]].to_numpy() == pytest.approx(channel_positions(POSTERIOR[:6]), abs=1e-6)
    runs = str(tmp_path / "runs")
    settings = ("--width", 13, "--epochs", 30, "--batch-size", 20, "--learning-rate", 1e-3)
    assert run("train", study.root, "--out", runs, *settings, "--subject", "sub-01", "--quiet") == 0
    assert run("evaluate", runs, "--quiet", "--no-ridge") == 0
    (row,) = pd.read_csv(f"{runs}/results.csv").to_dict("records")
    assert row["gallery_size"] == N_TEST
    assert row["mean_percentile_rank"] > 0.6


def test_there_and_back_again_is_the_same(tiny, tmp_path):
    study = import_epochs({"sub-01": epochs_of(tiny)}, tmp_path / "one", tiny.image_folder, image="picture")
    epochs = to_epochs(study.recording("sub-01"))
    assert epochs.tmin == pytest.approx(-0.02)
    assert len(epochs) == (N_TRAIN + N_TEST) * REPETITIONS
    again = import_epochs({"sub-01": epochs}, tmp_path / "two", study.image_folder)
    assert np.array_equal(again.recording("sub-01").signals, study.recording("sub-01").signals)
    pd.testing.assert_frame_equal(again.recording("sub-01").trials, study.recording("sub-01").trials)
    columns = ["name", "type", "x", "y", "z"]
    pd.testing.assert_frame_equal(
        again.recording("sub-01").channels[columns], study.recording("sub-01").channels[columns], atol=1e-6
    )
    test = to_epochs(study.recording("sub-01"), "test")
    assert set(test.metadata["split"]) == {"test"}
    evoked = test.average()  # mne's own tools work on it
    assert evoked.data == pytest.approx(study.recording("sub-01").load("test", average=False).signals.mean(axis=0))


def test_concepts_come_from_folders_and_test_concepts_by_chance(tiny, tmp_path):
    epochs = epochs_of(tiny)
    names = epochs.metadata["picture"]
    folder = tmp_path / "images"
    epochs.metadata = epochs.metadata.assign(picture=names.str[-7:-4] + "/" + names.str[-7:]).drop(columns="split")
    for old, new in dict(zip(names, epochs.metadata["picture"], strict=True)).items():
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        (folder / new).write_bytes((tiny.image_folder / old).read_bytes())
    study = import_epochs({"sub-01": epochs}, tmp_path / "s", folder, image="picture", n_test_concepts=9, seed=4)
    trials = study.recording("sub-01").trials
    assert trials.groupby("split")["concept"].nunique().to_dict() == {"test": 9, "train": 43}
    assert (trials["concept"] == trials["image"].str[:3]).all()


def test_what_is_wrong_is_said_in_one_sentence(tiny, tmp_path):
    epochs = epochs_of(tiny)
    folder = tiny.image_folder

    def refused(match, sources, **options):
        with pytest.raises(InputError, match=match):
            import_epochs(sources, tmp_path / "out", folder, **{"image": "picture"} | options)
        assert not (tmp_path / "out").exists()

    (tmp_path / "bad-epo.fif").write_bytes(b"not a fif file")
    refused("no epochs", {})
    refused("does not exist", {"sub-01": tmp_path / "none-epo.fif"})
    refused("not a file of mne epochs", {"sub-01": tmp_path / "bad-epo.fif"})
    refused("'pictures' is unknown.*did you mean 'picture'", {"sub-01": epochs}, image="pictures")
    refused("no column 'half'", {"sub-01": epochs}, split="half")
    refused("51 of 52 concepts", {"sub-01": epochs}, concept="concept", n_test_concepts=51)
    refused("sampling rate of sub-02 is 50", {"sub-01": epochs, "sub-02": epochs.copy().resample(50, verbose="error")})
    refused("not in the source of images", {"sub-01": epochs}, image="concept")
    bare = epochs.copy()
    bare.metadata = None
    refused("no metadata", {"sub-01": bare})
    with pytest.raises(InputError, match="'exam' is unknown"):
        to_epochs(tiny.recording("sub-01"), "exam")
