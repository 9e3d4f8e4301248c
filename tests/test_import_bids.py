"""BIDS datasets through `ubp import bids`: trials as mne cuts them, to a study that finds images, and bad input."""

import json
import sys

import mne
import mne_bids
import numpy as np
import pandas as pd
import pytest

from recordings import RATE, VOLT, description, epochs_of, write_bids, write_brainvision, write_events
from test_cli import refused, run
from test_import_epochs import finds_images
from ubp.data.bids_files import BidsSelection
from ubp.data.bids_run import CutOptions
from ubp.data.forward import POSTERIOR, channel_positions
from ubp.data.import_bids import import_bids, match_events
from ubp.data.import_options import About, SignalOptions, TrialOptions
from ubp.data.study import Study
from ubp.errors import InputError

WINDOW = SignalOptions(window=(-0.1, 0.07))
PLAIN = CutOptions(no_baseline=True)


@pytest.fixture(scope="module")
def bids(tiny_folder, tmp_path_factory):
    """Two subjects, two runs each, MEG and EEG in FIF, first sample not 0."""
    return write_bids(Study.open(tiny_folder), tmp_path_factory.mktemp("bids") / "sights", first=57)


@pytest.fixture
def copy(bids, tmp_path):
    """A dataset that a test may damage."""
    import shutil

    return shutil.copytree(bids, tmp_path / "copy")


def raw_of(root, subject="01", run="01", session=None):
    path = mne_bids.BIDSPath(subject=subject, session=session, task="look", run=run, datatype="meg", root=root)
    return mne_bids.read_raw_bids(path, verbose="error"), pd.read_csv(
        path.copy().update(suffix="events", extension=".tsv").fpath, sep="\t"
    )


def by_mne(raw, onsets, window=(-0.1, 0.07), **options):
    """What mne makes of the onsets, step by step."""
    samples = raw.first_samp + np.round(np.asarray(onsets) * RATE).astype(int)
    events = np.stack([samples, np.zeros(len(samples), int), np.ones(len(samples), int)], axis=1)
    return mne.Epochs(raw, events, tmin=window[0], tmax=window[1], preload=True, verbose="error", **options)


def edit_events(root, change, run="01", subject="01"):
    file = root / f"sub-{subject}/meg/sub-{subject}_task-look_run-{run}_events.tsv"
    write_events(file, change(pd.read_csv(file, sep="\t", keep_default_na=False)))
    return file


def test_a_dataset_becomes_a_study_that_finds_images(bids, tiny, tmp_path, monkeypatch):
    arguments = ("--out", tmp_path / "study", "--window", -0.05, 0.07, "--quiet")
    assert run("import", "bids", bids, *arguments) == 0
    study = Study.open(tmp_path / "study")
    about = study.info
    assert (about.name, about.modality, about.licence) == ("Tiny sights", "meg", "CC0")
    assert about.citation == "A. Nobody, B. Someone. Tiny sights. doi:10.18112/openneuro.ds000000"
    assert (about.sfreq, about.tmin) == (100.0, -0.05)
    assert study.subjects == ("sub-01", "sub-02")
    assert list(study.recording("sub-01").channels["type"]) == ["mag", "mag", "grad", "grad", "eeg", "eeg"]
    standard = ["image", "concept", "split", "repetition", "session"]
    for subject in study.subjects:
        pd.testing.assert_frame_equal(
            study.recording(subject).trials[standard], tiny.recording(subject).trials[standard]
        )
    places = study.recording("sub-01").channels[["x", "y", "z"]].to_numpy()
    assert places[4:] == pytest.approx(channel_positions(POSTERIOR[:2]), abs=1e-4)
    assert finds_images(study.root, tmp_path, monkeypatch) > 0.6


def test_trials_are_cut_at_the_sample_of_onset(bids, tiny, tmp_path):
    study = import_bids(bids, tmp_path / "study", signals=WINDOW, cut=PLAIN)
    for subject in study.subjects:
        signals = study.recording(subject).signals
        assert not signals[:, :, :10].any()
        assert signals[:, :, 10:] == pytest.approx(tiny.recording(subject).signals[:] * VOLT, rel=1e-6, abs=1e-13)


@pytest.mark.parametrize("options", ["default", "baseline", "resampled", "filtered"])
def test_signals_are_those_of_mne(options, bids, tmp_path):
    raw, events = raw_of(bids, "02", "02")
    window, signals, cut = (-0.1, 0.07), WINDOW, None
    if options == "default":
        window, signals = (-0.2, 1.0), None
        epochs = by_mne(raw, events["onset"], window)
    elif options == "baseline":
        cut = CutOptions(baseline=(-0.03, 0.02))
        epochs = by_mne(raw, events["onset"], baseline=(-0.03, 0.02))
    elif options == "resampled":
        signals = SignalOptions(window=window, resample=50.0)
        epochs = by_mne(raw, events["onset"]).resample(50.0, verbose="error")
    else:
        cut = CutOptions(filter=(2.0, 30.0))
        epochs = by_mne(raw.load_data().filter(2.0, 30.0, picks="data", verbose="error"), events["onset"])
    study = import_bids(bids, tmp_path / "study", subjects=["02"], signals=signals, cut=cut)
    recording = study.recording("sub-02")
    assert study.subjects == ("sub-02",)
    assert (study.info.sfreq, study.info.tmin) == (epochs.info["sfreq"], pytest.approx(epochs.times[0]))
    # of a window that reaches past the end of a run, whole trials alone
    mine = recording.signals[-len(epochs) :]
    theirs = epochs.get_data(picks=list(recording.channel_names))
    assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-6 * np.abs(theirs).max())


def test_one_end_of_the_band_may_be_open(bids, tmp_path):
    low = import_bids(bids, tmp_path / "low", subjects=["01"], signals=WINDOW, cut=CutOptions(filter=(0, 20)))
    raw, events = raw_of(bids)
    epochs = by_mne(raw.load_data().filter(None, 20, picks="data", verbose="error"), events["onset"])
    theirs = epochs.get_data(picks=list(low.recording("sub-01").channel_names))
    mine = low.recording("sub-01").signals[: len(epochs)]
    assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-6 * np.abs(theirs).max())


def test_trials_at_an_end_or_in_a_bad_segment_are_left_out_as_mne_does(copy, tmp_path, capsys):
    def change(table):
        rows = [
            {"onset": 0.02, "duration": 0.1, "trial_type": "image"},
            {"onset": 3.0, "duration": 2.0, "trial_type": "BAD_movement"},
            {"onset": 9.75, "duration": 0.01, "trial_type": "bad"},
        ]
        extra = pd.DataFrame(rows).assign(
            stim_file=["train/000.png", "n/a", "n/a"], split="train", concept="concept-000"
        )
        return pd.concat([extra, table]).sort_values("onset")

    edit_events(copy, change)
    study = import_bids(copy, tmp_path / "study", subjects=["sub-01"], signals=WINDOW)
    raw, _ = raw_of(copy)
    events = pd.read_csv(copy / "sub-01/meg/sub-01_task-look_run-01_events.tsv", sep="\t")
    events = events[events["stim_file"].notna()]
    epochs = by_mne(raw, events["onset"])
    assert 0 < len(epochs) < len(events) - 1
    trials = study.recording("sub-01").trials
    assert list(trials["onset"].iloc[: len(epochs)]) == list(events["onset"].iloc[epochs.selection])
    theirs = epochs.get_data(picks=list(study.recording("sub-01").channel_names))
    assert study.recording("sub-01").signals[: len(epochs)] == pytest.approx(theirs, rel=1e-5, abs=1e-12)
    printed = capsys.readouterr().err
    assert "2 trials name no image" in printed
    assert f"{len(events) - len(epochs)} trials touch an end" in printed


def test_sessions_runs_and_tasks(tiny, tmp_path):
    root = write_bids(tiny, tmp_path / "sights", ["sub-01"], sessions=("one", "two"))
    study = import_bids(root, tmp_path / "study", signals=WINDOW, cut=PLAIN)
    trials = study.recording("sub-01").trials
    assert list(trials["session"]) == ["one"] * 52 + ["two"] * 52
    assert study.recording("sub-01").signals[:, :, 10:] == pytest.approx(
        tiny.recording("sub-01").signals[:] * VOLT, rel=1e-6, abs=1e-13
    )
    options = TrialOptions(test_concepts=5)
    half = import_bids(
        root, tmp_path / "half", selection=BidsSelection(session=("two",)), trials=options, signals=WINDOW
    )
    assert set(half.recording("sub-01").trials["session"]) == {"two"}
    assert len(half.recording("sub-01").trials) == 52


def test_what_the_dataset_says_of_itself_can_be_said_otherwise(bids, tmp_path):
    about = About(name="other", licence="CC BY", citation="Me")
    study = import_bids(bids, tmp_path / "study", subjects=["01"], signals=WINDOW, about=about)
    assert (study.info.name, study.info.licence, study.info.citation) == ("other", "CC BY", "Me")


def test_a_run_that_fif_has_split_is_read_whole(tiny, tmp_path):
    root = write_bids(tiny, tmp_path / "sights", ["sub-01"], runs=("01",))
    path = root / "sub-01/meg/sub-01_task-look_run-01_meg.fif"
    raw = mne.io.read_raw_fif(path, preload=True, verbose="error")
    quiet = mne.io.RawArray(np.zeros((8, 60_000)), raw.info, verbose="error")
    path.unlink()
    mne.concatenate_raws([quiet, raw], verbose="error").save(
        path, split_size="2MB", split_naming="bids", overwrite=True, verbose="error"
    )
    edit_events(root, lambda table: table.assign(onset=table["onset"].astype(float) + 600))
    assert len(list(path.parent.glob("*_split-*_meg.fif"))) > 1
    study = import_bids(root, tmp_path / "study", signals=WINDOW, cut=PLAIN)
    signals = study.recording("sub-01").signals
    assert signals[1:, :, 10:] == pytest.approx(tiny.recording("sub-01").signals[1:] * VOLT, rel=1e-6, abs=1e-13)


def test_bad_channels_are_kept_or_dropped_in_all_runs(copy, tmp_path, capsys):
    kept = import_bids(copy, tmp_path / "kept", subjects=["01"], signals=WINDOW)
    assert "MEG 0121" in kept.recording("sub-01").channel_names
    file = copy / "sub-01/meg/sub-01_task-look_run-02_channels.tsv"
    table = pd.read_csv(file, sep="\t", keep_default_na=False)
    table.loc[table["name"] == "EEG 001", "status"] = "bad"
    table.to_csv(file, sep="\t", index=False)
    signals = SignalOptions(window=(-0.1, 0.07), drop_bads=True)
    study = import_bids(copy, tmp_path / "dropped", signals=signals, cut=PLAIN)
    assert study.recording("sub-01").channel_names == ("MEG 0111", "MEG 0112", "MEG 0113", "EEG 002")
    assert study.recording("sub-02").channel_names == ("MEG 0111", "MEG 0112", "MEG 0113", "EEG 001", "EEG 002")
    printed = capsys.readouterr().err
    assert "sub-01 keeps the 4 channels of all its files, without EEG 001" in printed
    assert "subjects differ in channels (EEG 001)" in printed


def test_projections_are_applied_as_mne_applies_them(tiny, tmp_path):
    root = write_bids(tiny, tmp_path / "sights", ["sub-01"], runs=("01",))
    file = root / "sub-01/meg/sub-01_task-look_run-01_meg.fif"
    raw = mne.io.read_raw_fif(file, preload=True, verbose="error")
    raw.set_eeg_reference(projection=True, verbose="error")
    raw.save(file, overwrite=True, verbose="error")
    signals = SignalOptions(channels=("EEG 001",), window=(-0.1, 0.07))
    study = import_bids(root, tmp_path / "study", signals=signals)
    raw, events = raw_of(root)
    assert len(raw.info["projs"]) == 1
    theirs = by_mne(raw, events["onset"]).get_data(picks=["EEG 001"])
    assert study.recording("sub-01").signals == pytest.approx(theirs, rel=1e-5, abs=1e-13)
    plain = by_mne(raw, events["onset"], proj=False).get_data(picks=["EEG 001"])
    assert np.abs(plain - theirs).max() > 0.1 * np.abs(plain).max()


def brainvision_dataset(study, root, edit=lambda table: table):
    """EEG in BrainVision files, with electrodes.tsv, by hand."""
    recording = study.recording("sub-01")
    names = list(POSTERIOR[:6])
    n_trials, _, n_times = recording.header.shape
    data = np.zeros((6, 40 * (n_trials + 2)))
    onsets = 40 * (1 + np.arange(n_trials))
    for onset, trial in zip(onsets, recording.signals, strict=True):
        data[:, onset : onset + n_times] = trial * VOLT
    folder = root / "sub-01/eeg"
    write_brainvision(folder / "sub-01_task-look_eeg.vhdr", data, names, RATE)
    table = recording.trials.rename(columns={"image": "stim_file"})
    table = table[["stim_file", "split", "concept"]].assign(onset=onsets / RATE, duration=0.1, trial_type="image")
    write_events(folder / "sub-01_task-look_events.tsv", edit(table))
    places = channel_positions(names)
    electrodes = pd.DataFrame({"name": names}).assign(**dict(zip("xyz", places.T, strict=True)))
    write_events(folder / "sub-01_electrodes.tsv", electrodes)
    system = {"EEGCoordinateSystem": "CapTrak", "EEGCoordinateUnits": "m"}
    (folder / "sub-01_coordsystem.json").write_text(json.dumps(system))
    description(root, License="PDDL", HowToAcknowledge="Cite us.")
    return root


def test_eeg_in_brainvision_with_electrodes_and_another_column(tiny, tmp_path):
    def edit(table):
        return table.rename(columns={"stim_file": "picture"})

    root = brainvision_dataset(tiny, tmp_path / "sights", edit)
    arguments = ("--images", tiny.image_folder, "--image-column", "picture", "--window", -0.1, 0.07, "--no-baseline")
    assert run("import", "bids", root, "--out", tmp_path / "study", *arguments, "--quiet") == 0
    study = Study.open(tmp_path / "study")
    assert (study.info.modality, study.info.licence, study.info.citation) == ("eeg", "PDDL", "Cite us.")
    recording = study.recording("sub-01")
    assert recording.signals[:, :, 10:] == pytest.approx(
        tiny.recording("sub-01").signals[:] * VOLT, rel=1e-5, abs=1e-12
    )
    places = recording.channels[["x", "y", "z"]].to_numpy(float)
    assert np.isfinite(places).all()
    gaps = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (places, channel_positions(POSTERIOR[:6]))]
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-5)


def test_a_brainvision_file_cut_short_is_refused(tiny, tmp_path, capsys):
    root = brainvision_dataset(tiny, tmp_path / "sights")
    arguments = ("--images", tiny.image_folder, "--out", tmp_path / "out", "--window", -0.1, 0.07, "--quiet")
    file = root / "sub-01/eeg/sub-01_task-look_eeg.eeg"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert "sub-01_task-look_eeg.vhdr ends after 21.2 s" in refused(capsys, "import", "bids", root, *arguments)
    file.unlink()
    assert "sub-01_task-look_eeg.vhdr cannot be read" in refused(capsys, "import", "bids", root, *arguments)
    assert not list(tmp_path.glob("out*"))


def derivative(study, root, names="sub-01_task-look_desc-clean_epo.fif", metadata=True):
    folder = root / "sub-01/eeg"
    folder.mkdir(parents=True, exist_ok=True)
    epochs = epochs_of(study)
    epochs.metadata = epochs.metadata.rename(columns={"picture": "stim_file"}) if metadata else None
    epochs.save(folder / names, fmt="double", overwrite=True, verbose="error")
    description(root, DatasetType="derivative", GeneratedBy=[{"Name": "by hand"}])
    return root


def test_epochs_of_a_derivative_come_with_their_metadata(tiny, tmp_path):
    root = derivative(tiny, tmp_path / "sights/derivatives/clean")
    import shutil

    shutil.copytree(tiny.image_folder, tmp_path / "sights/stimuli")
    study = import_bids(root, tmp_path / "study", signals=SignalOptions(window=(0, 0.05)))
    expected = epochs_of(tiny).crop(0, 0.05).get_data().astype(np.float32)
    assert np.array_equal(study.recording("sub-01").signals, expected)
    assert study.info.name == "Tiny"
    derivative(tiny, root, "sub-01_task-look_desc-raw_epo.fif")
    with pytest.raises(InputError, match="of the same run"):
        import_bids(root, tmp_path / "more")
    chosen = import_bids(root, tmp_path / "more", selection=BidsSelection(description="raw"))
    assert len(chosen.recording("sub-01").trials) == 104


@pytest.mark.parametrize("made_of", ["all rows", "rows with an image"])
def test_epochs_of_a_derivative_find_their_events(made_of, tiny, tmp_path):
    def edit(table):
        rest = table.iloc[::5].assign(stim_file="n/a", trial_type="rest", onset=table["onset"].iloc[::5] + 0.2)
        return pd.concat([table, rest]).sort_values("onset")

    raw_root = brainvision_dataset(tiny, tmp_path / "sights", edit)
    file = raw_root / "sub-01/eeg/sub-01_task-look_eeg.vhdr"
    events = pd.read_csv(file.with_name("sub-01_task-look_events.tsv"), sep="\t")
    image = events["stim_file"].notna().to_numpy()
    given = events if made_of == "all rows" else events[image]
    raw = mne.io.read_raw_brainvision(file, verbose="error")
    samples = np.round(given["onset"] * RATE).astype(int)
    codes = np.where(given["trial_type"] == "image", 1, 2)
    order = np.stack([samples, np.zeros(len(samples), int), codes], axis=1)
    epochs = mne.Epochs(raw, order, {"image": 1}, 0, 0.07, baseline=None, preload=True, verbose="error")
    epochs.drop([4, 9, 60], verbose="error").resample(50, verbose="error")
    root = raw_root / "derivatives/clean"
    (root / "sub-01/eeg").mkdir(parents=True)
    epochs.save(root / "sub-01/eeg/sub-01_task-look_proc-clean_epo.fif", verbose="error")
    description(root, DatasetType="derivative")
    study = import_bids(root, tmp_path / "study", tiny.image_folder)
    kept = np.setdiff1d(np.arange(104), [4, 9, 60])
    trials = study.recording("sub-01").trials
    assert list(trials["image"]) == list(tiny.recording("sub-01").trials["image"].iloc[kept])
    assert study.recording("sub-01").signals == pytest.approx(epochs.get_data(), rel=1e-5, abs=1e-12)
    write_events(raw_root / "sub-01/eeg/sub-01_task-look_events.tsv", events.iloc[1:])
    with pytest.raises(InputError, match=r"101 epochs do not fit the 124 rows of .*events.tsv"):
        import_bids(root, tmp_path / "other", tiny.image_folder)


def test_events_that_are_not_at_the_times_of_epochs_do_not_match():
    events = pd.DataFrame({"onset": [1.0, 2.0, 3.5, 4.0]})
    image = np.array([True, True, False, True])
    selection = np.array([0, 2, 3])
    assert list(match_events(events, image, np.array([157, 407, 457]), selection, 4)["onset"]) == [1.0, 3.5, 4.0]
    assert match_events(events, image, np.array([157, 357, 457]), selection, 4) is None
    assert list(match_events(events, image, np.array([100, 200, 400]), np.arange(3), 3)["onset"]) == [1.0, 2.0, 4.0]
    assert match_events(events, image, np.array([100, 200, 400]), np.arange(3), 5) is None


def test_events_may_be_inherited_and_those_of_another_run_are_not_taken(copy, tmp_path, capsys):
    first = copy / "sub-01/meg/sub-01_task-look_run-01_events.tsv"
    common = pd.read_csv(first, sep="\t", keep_default_na=False)
    first.unlink()
    message = refused(capsys, "import", "bids", copy, "--out", tmp_path / "out", "--quiet")
    assert "sub-01_task-look_run-01_meg.fif has no events.tsv" in message
    write_events(copy / "task-look_run-01_events.tsv", common)
    study = import_bids(copy, tmp_path / "study", signals=WINDOW)
    assert len(study.recording("sub-01").trials) == 104


def cut_short(root, size):
    file = root / "sub-01/meg/sub-01_task-look_run-02_meg.fif"
    file.write_bytes(file.read_bytes()[:size])


DAMAGES = {
    "unknown task": (lambda root: (), ("--task", "looks"), "did you mean 'look'"),
    "unknown subject": (lambda root: (), ("--subject", "sub-03"), "'sub-03' is unknown"),
    "unknown session": (lambda root: (), ("--session", "one"), "session"),
    "unknown data type": (lambda root: (), ("--datatype", "eeg"), "expected one of meg"),
    "unknown channel": (lambda root: (), ("--channels", "EEG 01"), "did you mean 'EEG 001'"),
    "no such column": (lambda root: (), ("--image-column", "stimfile"), "did you mean 'stim_file'"),
    "no column of images": (
        lambda root: edit_events(root, lambda table: table.drop(columns="stim_file")),
        (),
        "run-01_events.tsv has neither a column stim_file nor image",
    ),
    "no onset": (lambda root: edit_events(root, lambda table: table.drop(columns="onset")), (), "no column 'onset'"),
    "onset is text": (
        lambda root: edit_events(root, lambda table: table.assign(onset="soon")),
        (),
        "row 0: the onset is 'soon'",
    ),
    "two at a time": (
        lambda root: edit_events(root, lambda table: table.assign(onset=table["onset"].replace(0.8, 0.4))),
        (),
        "rows 0 and 1, name images at the same time",
    ),
    "images absent": (
        lambda root: (root / "stimuli/train/007.png").unlink(),
        (),
        "the image 'train/007.png' is not in",
    ),
    "no stimuli": (lambda root: (root / "stimuli").rename(root / "pictures"), (), "no folder stimuli"),
    "no trial left": (
        lambda root: [edit_events(root, lambda table: table.assign(stim_file="n/a"), r) for r in ("01", "02")],
        (),
        "None of the 104 trials of sub-01",
    ),
    "no description": (lambda root: (root / "dataset_description.json").unlink(), (), "dataset_description.json"),
    "no recordings": (lambda root: [p.unlink() for p in root.rglob("*_meg.fif")], (), "has no recording"),
    "header cut short": (lambda root: cut_short(root, 500), (), "sub-01_task-look_run-02_meg.fif cannot be read"),
    "signals cut short": (
        lambda root: cut_short(root, 60_000),
        (),
        "run-02_events.tsv, row 24, shows an image at 10 s; expected a whole recording",
    ),
    "not a recording": (
        lambda root: (root / "sub-02/meg/sub-02_task-look_run-01_meg.fif").write_text("hello"),
        (),
        "sub-02_task-look_run-01_meg.fif cannot be read",
    ),
    "events of a longer recording": (
        lambda root: edit_events(root, lambda table: table.assign(onset=table["onset"].replace(0.8, 80))),
        (),
        "run-01_meg.fif ends after 21.6 s",
    ),
    "band empty": (lambda root: (), ("--filter", 30, 2), "band 30 to 2 Hz is empty"),
    "band too high": (lambda root: (), ("--filter", 1, 60), "half the rate"),
    "rate too high": (lambda root: (), ("--resample", 200), "200 Hz asked for"),
    "baseline outside": (lambda root: (), ("--baseline", -0.5, 0), "outside the window"),
    "window empty": (lambda root: (), ("--window", 0.5, 0.1), "window 0.5 to 0.1 s is empty"),
    "no split": (
        lambda root: edit_events(root, lambda table: table.drop(columns="split")),
        (),
        "run-01_events.tsv has no column 'split'",
    ),
    "two tasks": (
        lambda root: (root / "sub-01/meg/sub-01_task-look_run-02_meg.fif").rename(
            root / "sub-01/meg/sub-01_task-hear_run-02_meg.fif"
        ),
        (),
        "the tasks hear, look; choose one",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_dataset_is_refused_in_one_sentence(name, copy, tmp_path, capsys):
    damage, arguments, expected = DAMAGES[name]
    damage(copy)
    window = () if "--window" in arguments else ("--window", -0.1, 0.07)
    message = refused(capsys, "import", "bids", copy, "--out", tmp_path / "out", *window, *arguments, "--quiet")
    assert expected in message
    assert not list(tmp_path.glob("out*"))


def test_runs_of_different_rates_are_refused_and_can_be_resampled(tiny, copy, tmp_path, capsys):
    path = mne_bids.BIDSPath(subject="02", task="look", run="02", datatype="meg", root=copy)
    raw = mne_bids.read_raw_bids(path, verbose="error").load_data()
    raw.resample(200, verbose="error").save(path.fpath, overwrite=True, verbose="error")
    arguments = ("--window", -0.1, 0.07, "--quiet")
    message = refused(capsys, "import", "bids", copy, "--out", tmp_path / "out", *arguments)
    assert "sampling rate of" in message
    assert "sub-02_task-look_run-02_meg.fif is 200" in message
    assert run("import", "bids", copy, "--out", tmp_path / "out", *arguments, "--resample", 50) == 0
    assert Study.open(tmp_path / "out").info.sfreq == 50


def test_mne_bids_is_asked_for_where_it_is_absent(bids, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "mne_bids", None)
    assert "pip install 'ubp[bids]'" in refused(capsys, "import", "bids", bids, "--out", tmp_path / "out", code=1)


def test_a_folder_that_is_not_there_is_refused(tmp_path, capsys):
    assert "is not a folder" in refused(capsys, "import", "bids", tmp_path / "no", "--out", tmp_path / "out")
