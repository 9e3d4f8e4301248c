"""The way back to mne: `to_epochs` and `ubp export`."""

import matplotlib.pyplot as plt
import mne
import numpy as np
import pandas as pd
import pytest

from conftest import N_TEST, N_TRAIN, REPETITIONS
from recordings import epochs_of
from test_cli import refused, run
from test_import_epochs import PICTURE, SPLIT, sample_epochs
from ubp.data.forward import POSTERIOR, channel_positions
from ubp.data.import_epochs import import_epochs
from ubp.data.study import RecordingData, Study, create_study
from ubp.data.to_epochs import NAMED_PLACES, to_epochs
from ubp.errors import InputError


@pytest.fixture(scope="module")
def placed(tmp_path_factory):
    """A study of two subjects with electrode positions."""
    from conftest import make_study

    folder = tmp_path_factory.mktemp("placed")
    tiny = make_study(folder / "tiny")
    sources = {subject: epochs_of(tiny, subject) for subject in tiny.subjects}
    return import_epochs(sources, folder / "study", tiny.image_folder, PICTURE)


def renamed(study, folder, channels, **info):
    """The study with another table of channels."""
    import dataclasses

    recording = study.recording("sub-01")
    data = RecordingData("sub-01", recording.signals, recording.trials, channels)
    return create_study(folder, dataclasses.replace(study.info, **info), [data], study.image_folder)


def same(mine, theirs):
    """Two recordings hold the same, positions to the float32 of a file."""
    assert np.array_equal(mine.signals, theirs.signals)
    pd.testing.assert_frame_equal(mine.trials, theirs.trials)
    pd.testing.assert_frame_equal(mine.channels, theirs.channels, rtol=0, atol=1e-8)


def test_there_and_back_again_is_the_same(placed, tmp_path):
    epochs = to_epochs(placed.recording("sub-01"))
    assert isinstance(epochs, mne.EpochsArray)
    assert epochs.tmin == pytest.approx(-0.02)
    assert len(epochs) == (N_TRAIN + N_TEST) * REPETITIONS
    same(
        import_epochs({"sub-01": epochs}, tmp_path / "again", placed.image_folder).recording("sub-01"),
        placed.recording("sub-01"),
    )


@pytest.mark.parametrize("split_size", [200_000_000, SPLIT])
def test_export_and_import_give_the_same_study(split_size, placed, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ubp.data.to_epochs.SPLIT_BYTES", split_size)
    assert run("export", placed.root, "--out", tmp_path / "mne", "--quiet") == 0
    assert "2 files of epochs" in capsys.readouterr().out
    files = sorted((tmp_path / "mne").glob("*-epo.fif"))
    assert [file.name for file in files] == ["sub-01-epo.fif", "sub-02-epo.fif"]
    assert bool(list((tmp_path / "mne").glob("*-epo-1.fif"))) == (split_size == SPLIT)
    arguments = ("--images", placed.image_folder, "--out", tmp_path / "study", "--quiet")
    assert run("import", "epochs", *files, *arguments) == 0
    again = Study.open(tmp_path / "study")
    assert (again.info.sfreq, again.info.tmin) == (placed.info.sfreq, pytest.approx(placed.info.tmin))
    for subject in placed.subjects:
        same(again.recording(subject), placed.recording(subject))


def test_one_split_of_one_subject_is_exported(placed, tmp_path):
    arguments = ("--subject", "sub-02", "--split", "test", "--quiet")
    assert run("export", placed.root, "--out", tmp_path / "mne", *arguments) == 0
    (file,) = (tmp_path / "mne").iterdir()
    epochs = mne.read_epochs(file, verbose="error")
    recording = placed.recording("sub-02")
    rows = (recording.trials["split"] == "test").to_numpy()
    assert np.array_equal(epochs.get_data(), recording.signals[rows].astype(float))
    assert epochs.info["description"] == "imported"


def test_epochs_on_disk_are_those_in_memory(placed):
    recording = placed.recording("sub-01")
    lazy, loaded = to_epochs(recording, "test", preload=False), to_epochs(recording, "test")
    assert not lazy.preload
    assert np.array_equal(lazy.get_data(), loaded.get_data())
    assert np.array_equal(lazy[3:9:2].get_data(picks=[4, 1]), loaded[3:9:2].get_data(picks=[4, 1]))
    query = "image == 'test/045.png'"
    assert np.array_equal(lazy[query].get_data(), loaded[query].get_data())
    assert lazy[query].metadata.equals(loaded[query].metadata)
    assert lazy.average().data == pytest.approx(loaded.average().data)
    assert np.array_equal(lazy.copy().drop([0, 5]).load_data().get_data(), loaded.copy().drop([0, 5]).get_data())
    smooth = [epochs.copy().load_data().resample(50, verbose="error").get_data() for epochs in (lazy, loaded)]
    assert np.array_equal(*smooth)


def test_mean_and_covariance_are_those_of_the_study(placed):
    recording = placed.recording("sub-01")
    epochs = to_epochs(recording, "test")
    assert set(epochs.metadata["split"]) == {"test"}
    signals = recording.load("test", average=False).signals.astype(float)
    assert epochs.average().data == pytest.approx(signals.mean(axis=0), rel=1e-6)
    noise = signals - signals.mean(axis=0)
    expected = np.einsum("nct,ndt->cd", noise, noise) / ((len(noise) - 1) * noise.shape[2])
    covariance = mne.compute_covariance(epochs, keep_sample_mean=False, verbose="error").data
    assert covariance == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("names", [POSTERIOR[:6], tuple(name.upper() for name in POSTERIOR[:6])])
def test_electrodes_without_positions_get_those_of_their_names(names, tiny, tmp_path):
    study = renamed(tiny, tmp_path / "named", pd.DataFrame({"name": names, "type": "eeg"}))
    epochs = to_epochs(study.recording("sub-01"))
    (name,) = [name for name in NAMED_PLACES if name in mne.channels.get_builtin_montages()][:1]
    montage = mne.channels.make_standard_montage(name).get_positions()["ch_pos"]
    places = np.array([channel["loc"][:3] for channel in epochs.info["chs"]])
    known = np.array([montage[name] for name in POSTERIOR[:6]])
    # the head frame is a turn and a shift away from the montage's: distances stay
    distances = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (places, known)]
    assert distances[0] == pytest.approx(distances[1], abs=1e-6)
    figure = epochs.average().plot_topomap(times=[0.02], show=False)
    assert figure.axes
    plt.close(figure)


def test_positions_of_the_study_are_not_replaced_and_strange_names_have_none(placed, tiny, tmp_path):
    places = [channel["loc"][:3] for channel in to_epochs(placed.recording("sub-01")).info["chs"]]
    assert np.array(places) == pytest.approx(channel_positions(POSTERIOR[:6]), abs=1e-6)
    names = ["Oz", "E17", "Cz", "E3", "Pz", "c9"]
    study = renamed(tiny, tmp_path / "named", pd.DataFrame({"name": names, "type": "EEG"}))
    info = to_epochs(study.recording("sub-01")).info
    assert info.get_channel_types() == ["eeg"] * 6
    known = [bool(np.isfinite(channel["loc"][:3]).all()) for channel in info["chs"]]
    assert known == [True, False, True, False, True, False]


def test_types_of_sensors_survive(tiny, tmp_path):
    study = import_epochs({"sub-01": sample_epochs(tiny)}, tmp_path / "study", tiny.image_folder)
    epochs = to_epochs(study.recording("sub-01"))
    assert epochs.get_channel_types() == ["mag", "mag", "grad", "grad", "eeg", "eeg"]
    assert epochs.average().get_data(picks="mag").shape == (2, 8)


@pytest.mark.parametrize("kind", ["mag", "grad"])
def test_topographies_of_meg_can_be_drawn(kind, tiny, tmp_path):
    if kind == "mag":
        names, places = [f"MEG {place:02d}11" for place in range(6)], channel_positions(POSTERIOR[:6])
    else:  # in pairs at one place
        names = [f"MEG 01{place}{number}" for place in (1, 2, 3) for number in (2, 3)]
        places = np.repeat(channel_positions(POSTERIOR[:3]), 2, axis=0)
    table = pd.DataFrame({"name": names, "type": kind}).assign(**dict(zip("xyz", places.T, strict=True)))
    epochs = to_epochs(renamed(tiny, tmp_path / "meg", table, modality="meg").recording("sub-01"))
    assert epochs.get_channel_types() == [kind] * 6
    figure = epochs.average().plot_topomap(times=[0.02], show=False)
    assert figure.axes
    plt.close(figure)


def test_types_that_mne_does_not_know_become_misc(tiny, tmp_path):
    channels = pd.DataFrame({"name": [f"unit {i}" for i in range(6)], "type": "spikes"})
    epochs = to_epochs(renamed(tiny, tmp_path / "spikes", channels, modality="spikes").recording("sub-01"))
    assert set(epochs.get_channel_types()) == {"misc"}
    assert epochs.average(picks="all").data.shape == (6, 8)


def test_what_cannot_go_back_is_said_in_one_sentence(tiny, tmp_path, capsys):
    with pytest.raises(InputError, match="'exam' is unknown"):
        to_epochs(tiny.recording("sub-01"), "exam")
    channels = tiny.recording("sub-01").channels
    counts = renamed(tiny, tmp_path / "counts", channels, sfreq=None, tmin=None)
    out = tmp_path / "mne"
    assert "no sampling rate" in refused(capsys, "export", counts.root, "--out", out, "--quiet")
    assert "no subject 'sub-09'" in refused(capsys, "export", tiny.root, "--out", out, "--subject", "sub-09")
    assert "'exam' is unknown" in refused(capsys, "export", tiny.root, "--out", out, "--split", "exam")
    assert not list(tmp_path.glob("mne*"))
    out.mkdir()
    (out / "file").write_text("x")
    assert "exists already" in refused(capsys, "export", tiny.root, "--out", out)
