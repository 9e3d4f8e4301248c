"""Plain arrays and tables through `ubp import arrays`, and bad input in one sentence."""

import pickle

import numpy as np
import pandas as pd
import pytest

from test_cli import refused, run
from ubp.data.import_arrays import import_arrays
from ubp.data.import_options import About, TrialOptions
from ubp.data.study import Study
from ubp.errors import InputError

EEG = ("--modality", "eeg", "--quiet")


@pytest.fixture
def plain(tiny, tmp_path):
    """Arrays, tables of trials and one table of channels, as a person may have them."""
    for subject in tiny.subjects:
        recording = tiny.recording(subject)
        np.save(tmp_path / f"{subject}_signals.npy", recording.signals[:])
        recording.trials.to_csv(tmp_path / f"{subject}_trials.tsv", sep="\t", index=False)
    tiny.recording("sub-01").channels.to_csv(tmp_path / "channels.csv", index=False)
    return tmp_path


def paths(folder, pattern):
    return sorted(folder.glob(pattern))


def test_arrays_give_the_study_they_came_from(plain, tiny, tmp_path):
    arguments = ("--trials", *paths(plain, "*_trials.tsv"), "--channels", plain / "channels.csv", "--sfreq", 100)
    words = ("--tmin", 0, "--name", "mine", "--licence", "CC0", "--citation", "Me", "--quiet")
    files = paths(plain, "*_signals.npy")
    images = ("--images", tiny.image_folder, "--out", tmp_path / "study")
    assert run("import", "arrays", *files, *arguments, *words, *images) == 0
    study = Study.open(tmp_path / "study")
    assert (study.info.name, study.info.modality, study.info.sfreq, study.info.tmin) == ("mine", "eeg", 100.0, 0.0)
    assert study.subjects == tiny.subjects
    for subject in tiny.subjects:
        mine, theirs = study.recording(subject), tiny.recording(subject)
        assert np.array_equal(mine.signals, theirs.signals)
        pd.testing.assert_frame_equal(mine.trials, theirs.trials)
        pd.testing.assert_frame_equal(mine.channels, theirs.channels)


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f8", "int16", "uint8"])
def test_numbers_of_any_type_and_order_are_read(dtype, plain, tiny, tmp_path):
    signals = np.asfortranarray((10 * np.abs(tiny.recording("sub-01").signals[:])).astype(dtype))
    np.save(plain / "signals.npy", signals)
    study = import_arrays(
        {"sub-01": plain / "signals.npy"}, {"sub-01": plain / "sub-01_trials.tsv"}, tmp_path / "s", tiny.image_folder,
        about=About(modality="eeg"),
    )  # fmt: skip
    mine = study.recording("sub-01").signals
    assert mine.dtype == ("float16" if dtype == "float16" else "float32")
    assert np.array_equal(mine, signals.astype(mine.dtype))


def test_two_dimensions_are_one_sample_per_trial_and_rows_without_an_image_are_left_out(
    plain, tiny, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("ubp.data.import_arrays.BLOCK_BYTES", 8 * 48 * 7)
    features = tiny.recording("sub-01").signals[:].reshape(104, -1)
    np.save(plain / "signals.npy", features)
    table = pd.read_csv(plain / "sub-01_trials.tsv", sep="\t").drop(columns=["repetition", "session"])
    table.loc[[5, 77], "image"] = np.nan
    table.to_csv(plain / "trials.csv", index=False)
    arguments = ("--trials", plain / "trials.csv", "--images", tiny.image_folder, "--modality", "fmri")
    assert run("import", "arrays", plain / "signals.npy", *arguments, "--out", tmp_path / "study") == 0
    assert "2 trials name no image" in capsys.readouterr().err
    study = Study.open(tmp_path / "study")
    recording = study.recording("sub-01")
    kept = np.setdiff1d(np.arange(104), [5, 77])
    assert recording.signals.shape == (102, 48, 1)
    assert np.array_equal(recording.signals[:, :, 0], features[kept])
    assert recording.channel_names[0] == "c001"
    assert recording.channel_names[-1] == "c048"
    assert set(recording.channels["type"]) == {"fmri"}
    assert (study.info.modality, study.info.sfreq, study.info.tmin) == ("fmri", None, None)
    images = table["image"].iloc[kept]
    assert list(recording.trials["repetition"]) == list(images.groupby(images).cumcount())
    assert set(recording.trials["session"]) == {"1"}


def test_one_table_of_trials_serves_all_subjects(plain, tiny, tmp_path):
    arguments = ("--trials", plain / "sub-01_trials.tsv", "--images", tiny.image_folder, *EEG)
    names = ("--subject", "sub-A", "sub-B")
    assert run("import", "arrays", *paths(plain, "*.npy"), *names, *arguments, "--out", tmp_path / "study") == 0
    assert Study.open(tmp_path / "study").subjects == ("sub-A", "sub-B")


def test_concepts_in_train_and_test_are_refused_before_signals_are_read_or_allowed(plain, tiny, tmp_path, capsys):
    edit(lambda table: table.assign(concept="cat"))(plain)
    put(np.nan)(plain)
    files = (plain / "sub-01_signals.npy", "--trials", plain / "sub-01_trials.tsv", "--images", tiny.image_folder)
    out = ("--out", tmp_path / "study")
    assert "unless shared concepts are allowed" in refused(capsys, "import", "arrays", *files, *out, *EEG)
    assert "holds nan" in refused(capsys, "import", "arrays", *files, *out, *EEG, "--allow-shared-concepts")
    put(0.0)(plain)
    assert run("import", "arrays", *files, *out, *EEG, "--allow-shared-concepts") == 0
    assert set(Study.open(tmp_path / "study", allow_shared_concepts=True).concepts.values()) == {"cat"}


def test_names_that_look_like_numbers_or_nothing_stay_names(plain, tiny, tmp_path):
    table = pd.read_csv(plain / "sub-01_trials.tsv", sep="\t", dtype=str)
    table["concept"] = table["concept"].str[-3:].replace({"001": "NA", "002": "null"})
    table.assign(session="01").to_csv(plain / "trials.csv", index=False)
    study = import_arrays(
        {"sub-01": plain / "sub-01_signals.npy"}, {"sub-01": plain / "trials.csv"}, tmp_path / "s", tiny.image_folder,
        about=About(modality="eeg"),
    )  # fmt: skip
    trials = study.recording("sub-01").trials
    assert list(trials["concept"].iloc[:6]) == ["000", "000", "NA", "NA", "null", "null"]
    assert set(trials["session"]) == {"01"}


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickled_arrays_are_refused_and_run_nothing(plain, tiny, tmp_path, capsys):
    arguments = ("--trials", plain / "sub-01_trials.tsv", "--images", tiny.image_folder, "--out", tmp_path / "out")
    bait = np.empty(104, object)
    bait[:] = [Attack(tmp_path / "harm")] * 104
    np.save(plain / "bait.npy", bait, allow_pickle=True)
    (plain / "raw.npy").write_bytes(pickle.dumps(Attack(tmp_path / "harm")))
    for name in ("bait.npy", "raw.npy"):
        assert f"{name} cannot be read" in refused(capsys, "import", "arrays", plain / name, *arguments, *EEG)
    assert not (tmp_path / "harm").exists()
    assert not list(tmp_path.glob("out*"))


def save(change):
    def damage(folder):
        file = folder / "sub-01_signals.npy"
        np.save(file, change(np.load(file)))

    return damage


def edit(change):
    def damage(folder):
        file = folder / "sub-01_trials.tsv"
        change(pd.read_csv(file, sep="\t")).to_csv(file, sep="\t", index=False)

    return damage


def put(value):
    def change(signals):
        signals = signals.astype(float)
        signals[17, 2, 3] = value
        return signals

    return save(change)


def cut(folder):
    file = folder / "sub-01_signals.npy"
    file.write_bytes(file.read_bytes()[:-100])


DAMAGES = {
    "absent": (lambda folder: (folder / "sub-01_signals.npy").unlink(), (), "sub-01_signals.npy does not exist"),
    "no table": (lambda folder: (folder / "sub-01_trials.tsv").unlink(), (), "sub-01_trials.tsv does not exist"),
    "cut short": (cut, (), "sub-01_signals.npy cannot be read"),
    "empty file": (lambda folder: (folder / "sub-01_signals.npy").write_bytes(b""), (), "sub-01_signals.npy cannot"),
    "four dimensions": (save(lambda x: x[None]), (), "has shape (1, 104, 6, 8)"),
    "no samples": (save(lambda x: x[:, :, :0]), (), "has shape (104, 6, 0)"),
    "complex": (save(lambda x: x * 1j), (), "type complex64"),
    "text": (save(lambda x: x.astype(str)), (), "type <U"),
    "too few rows": (edit(lambda t: t.iloc[:-3]), (), "has 101 rows and"),
    "no image column": (edit(lambda t: t.drop(columns="image")), (), "neither a column stim_file nor image"),
    "near name": (edit(lambda t: t), ("--image-column", "imag"), "did you mean 'image'"),
    "no split": (edit(lambda t: t.drop(columns="split")), (), "sub-01_trials.tsv has no column 'split'"),
    "strange split": (edit(lambda t: t.assign(split="exam")), (), "row 0: the split is 'exam'"),
    "image absent": (edit(lambda t: t.replace("train/003.png", "train/3.png")), (), "row 6: the image 'train/3.png'"),
    "image elsewhere": (edit(lambda t: t.replace("train/003.png", "../../x.png")), (), "leaves"),
    "concept empty": (edit(lambda t: t.assign(concept="")), (), "row 0: the concept is empty"),
    "concept in train and test": (edit(lambda t: t.assign(concept="cat")), (), "the concept 'cat' is in"),
    "no test": (edit(lambda t: t.assign(split="train")), (), "no test split"),
    "no image": (edit(lambda t: t.assign(image="")), (), "None of the 104 trials of sub-01"),
    "NaN": (put(np.nan), (), "sub-01_signals.npy: trial 17 (counted from 0), channel 'c003', holds nan"),
    "too large for float32": (put(1e300), (), "trial 17 (counted from 0), channel 'c003', holds inf"),
    "modality": (edit(lambda t: t), ("--modality", "egg"), "expected one of eeg"),
    "no modality": (edit(lambda t: t), ("--modality",), "modality"),
    "rate": (edit(lambda t: t), ("--sfreq", -5), "-5 Hz"),
    "channels": (edit(lambda t: t), ("--channels", "two.csv"), "two.csv has 2 rows and"),
    "tables": (edit(lambda t: t), ("--trials", "a.csv", "b.csv"), "2 tables of trials and 1 files"),
    "subjects": (edit(lambda t: t), ("--subject", "sub-01", "sub-02"), "1 files and 2 subjects"),
    "subject name": (edit(lambda t: t), ("--subject", "Anna"), "'Anna' is not a folder name"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_wrong_is_said_in_one_sentence(name, plain, tiny, tmp_path, capsys, monkeypatch):
    damage, arguments, expected = DAMAGES[name]
    monkeypatch.chdir(plain)
    pd.DataFrame({"name": ["a", "b"], "type": "eeg"}).to_csv("two.csv", index=False)
    damage(plain)
    usual = {"--trials": ("sub-01_trials.tsv",), "--modality": ("eeg",)}
    given = [part for key, value in usual.items() if key not in arguments for part in (key, *value)]
    words = () if arguments == ("--modality",) else arguments
    message = refused(
        capsys, "import", "arrays", "sub-01_signals.npy", *given, *words, "--images", tiny.image_folder, "--out", "out"
    )
    assert expected in message
    assert not list(plain.glob("out*"))


def test_a_table_for_every_array_is_needed(plain, tiny, tmp_path):
    with pytest.raises(InputError, match="no table of trials for sub-01"):
        import_arrays(
            {"sub-01": plain / "sub-01_signals.npy"}, {}, tmp_path / "s", tiny.image_folder, about=About(modality="eeg")
        )
    with pytest.raises(InputError, match="no signals"):
        import_arrays({}, {}, tmp_path / "s", tiny.image_folder, options=TrialOptions())
