"""Epochs of mne through `ubp import epochs`: to a study that finds images, and bad input in one sentence."""

import mne
import numpy as np
import pandas as pd
import pytest

from conftest import N_TEST
from recordings import VOLT, epochs_of, sample_info
from test_cli import refused, run
from ubp.data.forward import POSTERIOR, channel_positions
from ubp.data.import_epochs import import_epochs
from ubp.data.import_options import About, SignalOptions, TrialOptions
from ubp.data.study import Study
from ubp.errors import InputError

SPLIT = 1_080_000  # bytes; mne reserves a MiB
PICTURE = TrialOptions(image_column="picture")
FIND = ("--width", 13, "--epochs", 30, "--batch-size", 20, "--learning-rate", 1e-3, "--subject", "sub-01", "--quiet")


def sample_epochs(study, subject="sub-01"):
    """Epochs as of mne's sample recording: magnetometers, gradiometers, electrodes, an eye and a trigger channel."""
    recording = study.recording(subject)
    n_trials, n_channels, n_times = recording.header.shape
    data = np.zeros((n_trials, 8, n_times))
    data[:, :n_channels] = recording.signals[:].astype(float) * VOLT
    info = sample_info(study)
    info["bads"] = ["MEG 0121"]
    return mne.EpochsArray(data, info, tmin=-0.02, metadata=recording.trials, verbose="error")


def finds_images(study, folder, monkeypatch):
    """Features, training and evaluation; the mean percentile rank of the test images, 0.5 by chance."""
    monkeypatch.setenv("UBP_CACHE", str(folder / "features"))
    runs = folder / "runs"
    assert run("features", study, "--encoder", "gabor", "--preset", "ubp", "--width", 13, "--quiet") == 0
    assert run("train", study, "--encoder", "gabor", "--out", runs, *FIND) == 0
    assert run("evaluate", runs, "--quiet", "--no-ridge") == 0
    (row,) = pd.read_csv(runs / "results.csv").to_dict("records")
    assert row["gallery_size"] == N_TEST
    return row["mean_percentile_rank"]


def test_epochs_files_become_a_study_that_finds_images(tiny, tmp_path, monkeypatch):
    files = []
    for subject in tiny.subjects:
        files.append(tmp_path / f"{subject}-epo.fif")
        sample_epochs(tiny, subject).save(files[-1], fmt="double", verbose="error")
    about = ("--name", "mine", "--licence", "CC0", "--quiet")
    assert run("import", "epochs", *files, "--images", tiny.image_folder, "--out", tmp_path / "study", *about) == 0
    study = Study.open(tmp_path / "study")
    assert (study.info.modality, study.info.sfreq, study.info.tmin) == ("meg", 100.0, -0.02)
    assert (study.info.name, study.info.licence) == ("mine", "CC0")
    for subject in tiny.subjects:
        mine, theirs = study.recording(subject), tiny.recording(subject)
        assert np.array_equal(mine.signals, (theirs.signals[:].astype(float) * VOLT).astype(np.float32))
        pd.testing.assert_frame_equal(mine.trials, theirs.trials)
        assert list(mine.channels["type"]) == ["mag", "mag", "grad", "grad", "eeg", "eeg"]
        places = mine.channels[["x", "y", "z"]].to_numpy()
        assert places[4:] == pytest.approx(channel_positions(POSTERIOR[:2]), abs=1e-6)
    assert finds_images(study.root, tmp_path, monkeypatch) > 0.6


def test_subjects_are_named_by_their_files_or_numbered(tiny, tmp_path):
    recording = epochs_of(tiny)
    arguments = ("--images", tiny.image_folder, "--image-column", "picture", "--quiet")
    for number, names in enumerate((("sub-07-epo.fif", "sub-03-epo.fif"), ("one-epo.fif", "sub-03-epo.fif"))):
        files = [tmp_path / name for name in names]
        for file in files:
            recording.save(file, overwrite=True, verbose="error")
        assert run("import", "epochs", *files, "--out", tmp_path / f"study{number}", *arguments) == 0
    assert Study.open(tmp_path / "study0").subjects == ("sub-03", "sub-07")
    assert Study.open(tmp_path / "study1").subjects == ("sub-01", "sub-02")


@pytest.mark.parametrize("name", ["split", "gz"])
def test_split_and_compressed_files_are_read_whole(name, tiny, tmp_path):
    recording = tiny.recording("sub-01")
    file = tmp_path / ("sub-01-epo.fif" if name == "split" else "sub-01-epo.fif.gz")
    epochs_of(tiny).save(file, split_size=SPLIT if name == "split" else "2GB", fmt="single", verbose="error")
    assert (len(list(tmp_path.glob("*epo*"))) > 1) == (name == "split")
    study = import_epochs({"sub-01": file}, tmp_path / "study", tiny.image_folder, PICTURE)
    assert study.recording("sub-01").signals == pytest.approx(recording.signals[:] * np.float32(VOLT), rel=1e-6)


def test_reading_in_small_blocks_changes_nothing(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("ubp.data.mne_signals.BLOCK_BYTES", 7 * 8 * 6 * 8)
    file = tmp_path / "sub-01-epo.fif"
    epochs_of(tiny).save(file, fmt="double", verbose="error")
    study = import_epochs({"sub-01": file}, tmp_path / "study", tiny.image_folder, PICTURE)
    expected = (tiny.recording("sub-01").signals[:].astype(float) * VOLT).astype(np.float32)
    assert np.array_equal(study.recording("sub-01").signals, expected)


def test_rate_and_window_are_those_of_mne(tiny, tmp_path):
    epochs = epochs_of(tiny)
    signals = SignalOptions(resample=50.0, window=(0.0, 0.04))
    study = import_epochs({"sub-01": epochs}, tmp_path / "study", tiny.image_folder, PICTURE, signals)
    expected = epochs.copy().resample(50.0, verbose="error").crop(0.0, None)
    assert study.recording("sub-01").signals == pytest.approx(expected.get_data(copy=False), rel=1e-5, abs=1e-12)
    assert (study.info.sfreq, study.info.tmin) == (50.0, pytest.approx(0.0))
    assert study.info.description == "Imported with image_column picture; resample 50.0; window (0.0, 0.04)."
    assert len(epochs.times) == 8  # the caller's epochs are as they were


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (SignalOptions(), ["MEG 0111", "MEG 0121", "MEG 0112", "MEG 0113", "EEG 001", "EEG 002"]),
        (SignalOptions(drop_bads=True), ["MEG 0111", "MEG 0112", "MEG 0113", "EEG 001", "EEG 002"]),
        (SignalOptions(channels=("eeg", "mag"), drop_bads=True), ["EEG 001", "EEG 002", "MEG 0111"]),
        (SignalOptions(channels=("EEG 002", "eeg")), ["EEG 002", "EEG 001"]),
        (SignalOptions(channels=("eog",)), ["EOG 061"]),
    ],
)
def test_channels_are_chosen_by_name_and_type(options, expected, tiny, tmp_path):
    epochs = sample_epochs(tiny)
    about = About(modality="meg")
    study = import_epochs({"sub-01": epochs}, tmp_path / "study", tiny.image_folder, None, options, about)
    recording = study.recording("sub-01")
    assert list(recording.channel_names) == expected
    assert np.array_equal(recording.signals, epochs.get_data(picks=expected).astype(np.float32))


def test_misc_channels_are_taken_where_there_are_no_others_and_the_modality_is_asked_for(tiny, tmp_path):
    names = dict(zip(POSTERIOR[4:6], ["misc", "misc"], strict=True))
    some = epochs_of(tiny).set_channel_types(names, verbose="error")
    study = import_epochs({"sub-01": some}, tmp_path / "some", tiny.image_folder, PICTURE)
    assert study.recording("sub-01").channel_names == POSTERIOR[:4]
    every = some.copy().set_channel_types(dict.fromkeys(some.ch_names, "misc"), verbose="error")
    with pytest.raises(InputError, match=r"channel types of The epochs of sub-01 \(misc\) do not tell the modality"):
        import_epochs({"sub-01": every}, tmp_path / "all", tiny.image_folder, PICTURE)
    about = About(modality="spikes")
    study = import_epochs({"sub-01": every}, tmp_path / "all", tiny.image_folder, PICTURE, about=about)
    assert study.recording("sub-01").channel_names == POSTERIOR[:6]
    assert study.info.modality == "spikes"


def test_subjects_keep_their_own_channels_or_the_common_ones(tiny, tmp_path, capsys):
    both = {"sub-01": epochs_of(tiny), "sub-02": epochs_of(tiny, "sub-02").drop_channels([POSTERIOR[1]])}
    own = import_epochs(both, tmp_path / "own", tiny.image_folder, PICTURE)
    assert [len(own.recording(subject).channels) for subject in own.subjects] == [6, 5]
    assert f"differ in channels ({POSTERIOR[1]})" in capsys.readouterr().err
    options = SignalOptions(common_channels=True)
    common = import_epochs(both, tmp_path / "common", tiny.image_folder, PICTURE, options)
    assert common.recording("sub-01").channel_names == common.recording("sub-02").channel_names
    assert np.array_equal(common.recording("sub-01").signals, own.recording("sub-01").signals[:, [0, 2, 3, 4, 5]])
    assert f"without {POSTERIOR[1]}" in capsys.readouterr().err


def test_trials_without_an_image_are_left_out_and_counted(tiny, tmp_path, capsys):
    epochs = epochs_of(tiny)
    names = epochs.metadata["picture"].astype(object)
    names[[3, 50]], names[7], names[8] = None, "", "n/a"
    epochs.metadata = epochs.metadata.assign(picture=names)
    study = import_epochs({"sub-01": epochs}, tmp_path / "study", tiny.image_folder, PICTURE)
    kept = np.setdiff1d(np.arange(104), [3, 7, 8, 50])
    assert np.array_equal(study.recording("sub-01").signals, epochs.get_data(item=kept).astype(np.float32))
    assert list(study.recording("sub-01").trials["image"]) == list(names[kept])
    assert "4 trials name no image" in capsys.readouterr().err


def test_epochs_still_to_be_dropped_are_dropped(tiny, tmp_path):
    whole = epochs_of(tiny)
    data = whole.get_data()
    raw = mne.io.RawArray(np.concatenate(list(data), axis=1), whole.info, verbose="error")
    events = np.stack([8 * np.arange(104), np.zeros(104, int), np.ones(104, int)], axis=1)
    limit = np.sort(np.ptp(data, axis=2).max(axis=1))[-11]
    epochs = mne.Epochs(
        raw, events, tmin=0, tmax=0.07, baseline=None, reject={"eeg": limit}, metadata=whole.metadata, verbose="error"
    )
    study = import_epochs({"sub-01": epochs}, tmp_path / "study", tiny.image_folder, PICTURE)
    kept = np.ptp(data, axis=2).max(axis=1) <= limit
    assert kept.sum() == 94
    assert np.array_equal(study.recording("sub-01").signals, data[kept].astype(np.float32))


def test_concepts_come_from_folders_and_test_concepts_by_chance(tiny, tmp_path):
    epochs = epochs_of(tiny)
    names = epochs.metadata["picture"]
    folder = tmp_path / "images"
    epochs.metadata = epochs.metadata.assign(picture=names.str[-7:-4] + "/" + names.str[-7:]).drop(
        columns=["split", "concept"]
    )
    for old, new in dict(zip(names, epochs.metadata["picture"], strict=True)).items():
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        (folder / new).write_bytes((tiny.image_folder / old).read_bytes())
    options = TrialOptions(image_column="picture", test_concepts=9, seed=4)
    study = import_epochs({"sub-01": epochs}, tmp_path / "s", folder, options)
    trials = study.recording("sub-01").trials
    assert trials.groupby("split")["concept"].nunique().to_dict() == {"test": 9, "train": 43}
    assert (trials["concept"] == trials["image"].str[:3]).all()


def test_names_of_images_are_made_relative_to_their_folder(tiny, tmp_path):
    epochs = epochs_of(tiny)
    names = epochs.metadata["picture"]
    ways = [f"{tiny.image_folder.absolute()}/" + names, "./" + names, names.str.replace("/", "\\"), names]
    mixed = [ways[number % 4].iloc[number] for number in range(len(names))]
    epochs.metadata = epochs.metadata.assign(picture=mixed)
    study = import_epochs({"sub-01": epochs}, tmp_path / "study", tiny.image_folder, PICTURE)
    assert list(study.recording("sub-01").trials["image"]) == list(names)


def test_what_is_wrong_is_said_in_one_sentence(tiny, tmp_path):
    epochs = epochs_of(tiny)

    def refuses(match, sources, signals=None, images=tiny.image_folder, **options):
        with pytest.raises(InputError, match=match) as caught:
            import_epochs(
                sources, tmp_path / "out", images, TrialOptions(**{"image_column": "picture"} | options), signals
            )
        assert "\n" not in str(caught.value)
        assert not list(tmp_path.glob("out*"))

    (tmp_path / "bad-epo.fif").write_bytes(b"not a fif file")
    one = {"sub-01": epochs}
    refuses("no epochs", {})
    refuses("does not exist", {"sub-01": tmp_path / "none-epo.fif"})
    refuses("bad-epo.fif cannot be read as epochs of mne", {"sub-01": tmp_path / "bad-epo.fif"})
    refuses("'pictures' is unknown.*did you mean 'picture'", one, image_column="pictures")
    refuses("neither a column stim_file nor image .*picture", one, image_column=None)
    refuses("no column 'half'", one, split_column="half")
    refuses("'idea' is unknown", one, concept_column="idea")
    refuses("row 0: the concept is 'concept-000'; expected train or test", one, split_column="concept")
    refuses("51 of 52 concepts", one, test_concepts=51)
    refuses("test split was to be 1 concepts", one, test_concepts=1)
    refuses("The seed is -1", one, test_concepts=5, seed=-1)
    half = epochs.copy().resample(50, verbose="error")
    refuses("sampling rate of The epochs of sub-02 is 50", one | {"sub-02": half})
    refuses("number of samples .* is 7", one | {"sub-02": epochs.copy().crop(tmax=0.04)})
    refuses("first sample .* is 0", one | {"sub-02": epochs.copy().crop(tmin=0)})
    refuses("row 0: the image 'concept-000' is not in .*52 of 52", one, image_column="concept")
    refuses("is not a folder", one, images=tmp_path / "nowhere")
    refuses("'grads' is unknown", one, SignalOptions(channels=("grads",)))
    refuses("has 100 Hz; expected at least the 200 Hz", one, SignalOptions(resample=200))
    refuses("window 0 to 2 s was asked for|window 0 to 2 s reaches outside", one, SignalOptions(window=(0, 2)))
    bad = epochs.copy()
    bad.info["bads"] = bad.ch_names
    refuses("no channel to keep .*6 marked bad", {"sub-01": bad}, SignalOptions(drop_bads=True))
    bare = epochs.copy()
    bare.metadata = None
    refuses("no metadata", {"sub-01": bare})
    unnamed = epochs.copy()
    unnamed.metadata = unnamed.metadata.assign(picture=None)
    refuses("None of the 104 trials of sub-01", {"sub-01": unnamed})
    away = epochs.copy()
    away.metadata = away.metadata.assign(picture="../secret.png")
    refuses("leaves", {"sub-01": away})
    data = epochs.get_data()
    data[17, 2, 3] = np.nan
    holed = mne.EpochsArray(data, epochs.info, metadata=epochs.metadata, verbose="error")
    refuses(f"trial 17 .*'{POSTERIOR[2]}', holds nan", {"sub-01": holed})
    with pytest.raises(InputError, match="window 1 to 0 s is empty"):
        SignalOptions(window=(1, 0))
    with pytest.raises(InputError, match="-5 Hz"):
        SignalOptions(resample=-5)


def test_bad_files_are_refused_by_the_command(tiny, tmp_path, capsys):
    arguments = ("--images", tiny.image_folder, "--image-column", "picture", "--out", tmp_path / "out", "--quiet")
    whole = tmp_path / "whole-epo.fif"
    epochs_of(tiny).save(whole, verbose="error")
    for part in (0.1, 0.5, 0.95):
        cut = tmp_path / f"cut{part}-epo.fif"
        cut.write_bytes(whole.read_bytes()[: int(part * whole.stat().st_size)])
        assert cut.name in refused(capsys, "import", "epochs", cut, *arguments)
    split = tmp_path / "split-epo.fif"
    epochs_of(tiny).save(split, split_size=SPLIT, verbose="error")
    (tmp_path / "split-epo-1.fif").unlink()
    assert "split-epo" in refused(capsys, "import", "epochs", split, *arguments)
    data = epochs_of(tiny).get_data()
    data[17, 2, 3] = np.inf
    holed = tmp_path / "holed-epo.fif"
    mne.EpochsArray(data, epochs_of(tiny).info, metadata=epochs_of(tiny).metadata, verbose="error").save(
        holed, verbose="error"
    )
    message = refused(capsys, "import", "epochs", holed, *arguments)
    assert "holed-epo.fif: trial 17" in message
    assert POSTERIOR[2] in message
    assert "2 files and 1 subjects" in refused(
        capsys, "import", "epochs", whole, cut, *arguments, "--subject", "sub-01"
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "out/file").write_text("x")
    assert "exists already" in refused(capsys, "import", "epochs", whole, *arguments)
    assert sorted(path.name for path in tmp_path.glob("out*/*")) == ["file"]
