import dataclasses
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ubp.data import stream
from ubp.data.study import RecordingData, Study, StudyInfo, Trials, create_study
from ubp.data.trials import concatenate
from ubp.errors import InputError, UbpError

V4 = Path(__file__).parents[2] / "shared" / "data" / "v4"
needs_v4 = pytest.mark.skipif(not V4.exists(), reason="the V4 recordings are not beside the repository")
INFO = StudyInfo("tiny", "eeg", sfreq=100.0, tmin=-0.1, licence="CC0", citation="nobody")


def make_recording(subject="sub-01", dtype=np.float32, n_times=31, seed=0, channels=("Fz", "Cz", "Pz", "O1", "O2")):
    """12 training images with 2 to 5 repetitions and 3 test images with 4, in mixed order."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(15), [2, 3, 4, 5] * 3 + [4] * 3)
    repetition = np.concatenate([np.arange(n) for n in np.bincount(image)])
    order = rng.permutation(len(image))
    image, repetition = image[order], repetition[order]
    trials = pd.DataFrame(
        {
            "image": [f"{i % 3}/{i:02d}.png" for i in image],
            "concept": [f"{i:03d}" for i in image],
            "split": np.where(image < 12, "train", "test"),
            "repetition": repetition,
            "session": "1",
            "quality": rng.random(len(image)).round(3),
        }
    )
    signals = rng.standard_normal((len(image), len(channels), n_times)).astype(dtype)
    return RecordingData(subject, signals, trials, pd.DataFrame({"name": channels, "type": "eeg"}))


def picture(name):
    file = BytesIO()
    Image.new("RGB", (8, 8), (int(Path(name).stem) * 10, 0, 0)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    create_study(tmp_path / "study", INFO, [make_recording(), make_recording("sub-02", np.float16, seed=1)], picture)
    return tmp_path / "study"


def slow_load(recording, split, names, window, average, rows=None):
    """The same with a loop over trials; `rows` restricts them."""
    table = recording.trials
    picks = [recording.channel_names.index(name) for name in names or recording.channel_names]
    times = [
        t
        for t in range(recording.signals.shape[2])
        if window is None or window[0] - 1e-9 <= INFO.tmin + t / INFO.sfreq <= window[1] + 1e-9
    ]
    found: dict = {}
    for i in range(len(table)):
        if table["split"][i] == split and (rows is None or i in rows):
            key = table["image"][i] if average else i
            signal = np.array([[recording.signals[i, c, t] for t in times] for c in picks], np.float64)
            found.setdefault(key, []).append(signal)
    return np.array([np.mean(group, axis=0) for group in found.values()]), list(found), [len(g) for g in found.values()]


@pytest.mark.parametrize("subject", ["sub-01", "sub-02"])
@pytest.mark.parametrize("block", [300, 1500, 1 << 22], ids="block{}".format)
@pytest.mark.parametrize("gap", [0, 1 << 16], ids="gap{}".format)
def test_load_equals_a_loop_over_the_memory_map(folder, subject, block, gap, monkeypatch):
    monkeypatch.setattr(stream, "BLOCK_BYTES", block)
    monkeypatch.setattr(stream, "GAP_BYTES", gap)
    recording = Study.open(folder).recording(subject)
    rng = np.random.default_rng(block + gap)
    for split, average in (("train", True), ("test", False), ("train", False), ("test", True)):
        names = list(rng.permutation(recording.channel_names)[: rng.integers(1, 6)])
        start = rng.integers(0, 20)
        window = (INFO.tmin + start / INFO.sfreq, INFO.tmin + (start + rng.integers(0, 11)) / INFO.sfreq)
        got = recording.load(split, names, window, average)
        expected, keys, counts = slow_load(recording, split, names, window, average)
        np.testing.assert_allclose(got.signals, expected, atol=2e-6)
        assert got.signals.dtype == np.float32
        assert got.channels == tuple(names)
        assert got.repetitions.tolist() == counts
        assert got.tmin == pytest.approx(window[0])
        images = keys if average else recording.trials["image"][keys]
        assert got.images == tuple(images)
        assert all(
            concept == f"{int(Path(image).stem):03d}" for image, concept in zip(got.images, got.concepts, strict=True)
        )
    assert recording.load("train").signals.shape == (12, 5, 31)
    np.testing.assert_allclose(
        recording.load("train").signals, slow_load(recording, "train", None, None, True)[0], atol=2e-6
    )


def test_loading_leaves_torch_threads_as_they_were(folder):
    before = torch.get_num_threads()
    Study.open(folder).recording("sub-01").load()
    assert torch.get_num_threads() == before


def test_fewer_repetitions_are_among_more_of_the_same_seed(folder):
    recording = Study.open(folder).recording("sub-01")
    for seed in range(20):
        rows = [set(recording.select("test", average=False, repetitions=k, seed=seed).rows) for k in (1, 2, 3, 4)]
        assert [len(some) for some in rows] == [3, 6, 9, 12]
        assert rows[0] < rows[1] < rows[2] < rows[3]


def test_chosen_repetitions_are_seeded_and_uniform(folder):
    recording = Study.open(folder).recording("sub-01")
    table = recording.trials
    counts = {}
    for seed in range(200):
        single = recording.load("test", repetitions=2, seed=seed, average=False)
        assert single.signals.shape[0] == 6
        rows = [int(np.flatnonzero((recording.signals == s).all((1, 2)))[0]) for s in single.signals]
        assert rows == sorted(rows)
        mean = recording.load("test", repetitions=2, seed=seed)
        expected, keys, sizes = slow_load(recording, "test", None, None, True, rows=set(rows))
        assert sizes == [2, 2, 2]
        by_image = dict(zip(keys, expected, strict=True))
        np.testing.assert_allclose(mean.signals, [by_image[image] for image in mean.images], atol=2e-6)
        assert mean.images == recording.load("test").images
        for row in rows:
            counts[row] = counts.get(row, 0) + 1
    assert len(counts) == 12
    # binomial(200, 1/2) per trial: five standard deviations
    assert all(abs(count - 100) < 36 for count in counts.values())
    again = recording.load("test", repetitions=2, seed=3)
    np.testing.assert_array_equal(again.signals, recording.load("test", repetitions=2, seed=3).signals)
    fewest = table[table["split"] == "train"]["image"].value_counts().min()
    with pytest.raises(InputError, match=f"3 repetitions per image .* has {fewest} .* from 1 to {fewest}"):
        recording.load("train", repetitions=3)


def test_window_ends_are_included_at_sample_precision(folder):
    recording = Study.open(folder).recording("sub-01")
    assert recording.load(window=(0.0, 0.1)).signals.shape[2] == 11
    assert recording.load(window=(0.001, 0.099)).signals.shape[2] == 9
    assert recording.load(window=(-0.1, 0.21)).signals.shape[2] == 31
    at_zero = recording.load("test", window=(0.0, 0.0))
    np.testing.assert_allclose(at_zero.signals, recording.load("test").signals[:, :, 10:11])
    for window, words in (
        ((0.101, 0.109), "holds no sample"),
        ((0.1, 0.05), "holds no sample"),
        ((0.0, 0.5), "outside the recording; sub-01 has samples every 0.01 s from -0.1 to 0.2 s"),
        ((-0.2, 0.1), "outside the recording"),
        ((float("nan"), 0.1), "outside the recording"),
    ):
        with pytest.raises(InputError, match=words):
            recording.load(window=window)


def test_channels_are_chosen_by_name(folder):
    recording = Study.open(folder).recording("sub-01")
    for channels, words in (
        (["O3"], "no channel 'O3'; the nearest names are O"),
        (["Fz", "Fz"], "asked for twice"),
        ([], "list of names"),
        ("Fz", "list of names"),
    ):
        with pytest.raises(InputError, match=words):
            recording.load(channels=channels)


def test_create_open_and_describe(folder):
    study = Study.open(folder)
    assert study.info == INFO
    assert study.subjects == ("sub-01", "sub-02")
    assert study.recording("sub-02").signals.dtype == np.float16
    np.testing.assert_array_equal(study.recording("sub-01").signals, make_recording().signals)
    assert "quality" in study.recording("sub-01").trials
    assert study.concepts["1/01.png"] == "001"
    assert len(study.images()) == 15
    assert study.images("test") == ("0/12.png", "1/13.png", "2/14.png")
    study.validate()
    row = study.describe().iloc[0].to_dict()
    assert row == {
        "subject": "sub-01",
        "sessions": 1,
        "trials": 54,
        "channels": 5,
        "times": 31,
        "train_images": 12,
        "train_concepts": 12,
        "train_repetitions": "2-5",
        "test_images": 3,
        "test_concepts": 3,
        "test_repetitions": "4",
    }
    with pytest.raises(InputError, match="no subject 'sub-09'; expected one of sub-01, sub-02"):
        study.recording("sub-09")
    with pytest.raises(InputError, match="leaves"):
        study.image_path("../dataset.json")


def test_blocks_are_written_as_they_come(tmp_path):
    data = make_recording(dtype=np.float64)
    blocks = (data.signals[i : i + 7] for i in range(0, 54, 7))
    images = {name: picture(name) for name in data.trials["image"]}
    study = create_study(tmp_path / "s", INFO, [dataclasses.replace(data, signals=blocks)], images)
    np.testing.assert_array_equal(study.recording("sub-01").signals, data.signals.astype(np.float32))
    again = create_study(tmp_path / "t", INFO, [data], study.image_folder)
    assert again.fingerprint() == study.fingerprint()
    assert again.image_path("0/00.png").read_bytes() == images["0/00.png"]


def test_fingerprint_changes_with_what_it_covers(folder):
    before = Study.open(folder).fingerprint()
    assert Study.open(folder).fingerprint() == before
    with (folder / "sub-01" / "signals.npy").open("r+b") as handle:
        handle.seek(128)
        handle.write(np.float32(0.25).tobytes())
    after = Study.open(folder).fingerprint()
    assert after != before
    change_table(folder, "trials", lambda table: table.assign(session="2"))
    assert Study.open(folder).fingerprint() not in (before, after)


@pytest.mark.parametrize("fault", ["count", "shape", "nan", "image", "twice", "subject", "crash", "column"])
def test_a_study_that_breaks_a_rule_is_not_created(tmp_path, fault):
    data, images = make_recording(), picture
    recordings = [data]
    error, words = InputError, ""
    if fault == "count":
        recordings, words = (
            [dataclasses.replace(data, signals=data.signals[:50])],
            "50 trials and its table has 54 rows",
        )
    elif fault == "shape":
        recordings, words = [dataclasses.replace(data, signals=data.signals[:, :4])], r"shape \(54, 4, 31\)"
    elif fault == "nan":
        data.signals[9, 2, 3] = np.nan
        words = r"sub-01: trial 9 .*, channel 'Pz', holds nan"
    elif fault == "image":
        images, words = {}, "not in the source of images"
    elif fault == "twice":
        recordings, words = [data, data], "sub-01 comes twice"
    elif fault == "subject":
        recordings, words = [dataclasses.replace(data, subject="../x")], "not a folder name"
    elif fault == "column":
        recordings, words = [dataclasses.replace(data, trials=data.trials.drop(columns="split"))], "no column 'split'"
    else:

        def broken():
            yield data.signals[:5]
            raise RuntimeError("power cut")

        recordings, words, error = [dataclasses.replace(data, signals=broken())], "power cut", RuntimeError
    with pytest.raises(error, match=words):
        create_study(tmp_path / "s", INFO, recordings, images)
    assert list(tmp_path.iterdir()) == []


def test_names_stay_as_they_are_written(folder):
    for name in ("NA", "null", "1e5", "True"):
        for subject in ("sub-01", "sub-02"):
            change_table(
                folder,
                "trials",
                lambda t, name=name: t.assign(concept=t["concept"].mask(t["image"] == "0/00.png", name)),
                subject,
            )
        study = Study.open(folder)
        assert study.concepts["0/00.png"] == name
        assert name in study.recording("sub-01").load().concepts


def test_an_existing_study_is_not_overwritten(folder):
    with pytest.raises(InputError, match="exists already"):
        create_study(folder, INFO, [make_recording()], picture)


def change_table(folder, name, change, subject="sub-01"):
    path = folder / subject / f"{name}.csv"
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def change_info(folder, **changes):
    path = folder / "dataset.json"
    content = {k: v for k, v in (json.loads(path.read_text()) | changes).items() if v != "absent"}
    path.write_text(json.dumps(content))


def save(folder, array):
    np.save(folder / "sub-01" / "signals.npy", array)


def set_cell(folder, column, row, value, name="trials"):
    def change(table):
        table.loc[row, column] = value
        return table

    change_table(folder, name, change)


def cut(path, n_bytes):
    with path.open("r+b") as handle:
        handle.truncate(n_bytes)


def one_split(folder, split):
    for subject in ("sub-01", "sub-02"):
        change_table(folder, "trials", lambda table: table.assign(split=split), subject)


def share_concept(folder):
    for subject in ("sub-01", "sub-02"):
        change_table(folder, "trials", lambda t: t.assign(concept=t["concept"].replace("012", "003")), subject)


SIGNALS = np.random.default_rng(0).standard_normal((54, 5, 31)).astype(np.float32)

# fault -> (how to break the study, what the sentence says)
FAULTS = {
    "missing": (lambda f: f.rename(f.with_name("gone")), "study is not a folder"),
    "no dataset.json": (lambda f: (f / "dataset.json").unlink(), r"dataset\.json does not exist"),
    "broken json": (lambda f: (f / "dataset.json").write_text("{"), r"dataset\.json cannot be read"),
    "unknown key": (lambda f: change_info(f, sfrq=1), r"dataset\.json has the unknown key 'sfrq'; expected only name"),
    "no modality": (lambda f: change_info(f, modality="absent"), r"dataset\.json has no 'modality'"),
    "unknown modality": (lambda f: change_info(f, modality="ecg"), r"dataset\.json: The modality 'ecg' is unknown"),
    "sfreq zero": (lambda f: change_info(f, sfreq=0), "sfreq is 0 Hz"),
    "sfreq text": (lambda f: change_info(f, sfreq="250"), "sfreq is '250'; expected a number or null"),
    "image root outside": (lambda f: change_info(f, image_root="../.."), "leaves"),
    "no subject": (lambda f: [p.rename(p.with_name("x" + p.name)) for p in f.glob("sub-*")], "has no recording"),
    "no signals": (lambda f: (f / "sub-01/signals.npy").unlink(), r"sub-01/signals\.npy does not exist"),
    "not npy": (lambda f: (f / "sub-01/signals.npy").write_bytes(b"x" * 500), r"sub-01/signals\.npy is not a .npy"),
    "empty npy": (lambda f: (f / "sub-01/signals.npy").write_bytes(b""), r"signals\.npy is not a .npy"),
    "pickle": (lambda f: np.save(f / "sub-01/signals.npy", np.array([{}]), allow_pickle=True), r"type \|O"),
    "two dimensions": (lambda f: save(f, SIGNALS[0]), r"has shape \(5, 31\)"),
    "no samples": (lambda f: save(f, SIGNALS[:, :, :0]), r"has shape \(54, 5, 0\)"),
    "float64": (lambda f: save(f, SIGNALS.astype(float)), "type <f8; expected a float32 or float16"),
    "big endian": (lambda f: save(f, SIGNALS.astype(">f4")), "type >f4"),
    "fortran": (lambda f: save(f, np.asfortranarray(SIGNALS)), "Fortran order"),
    "truncated": (lambda f: cut(f / "sub-01/signals.npy", 20000), r"signals\.npy is cut short: it has 20000 bytes"),
    "length": (lambda f: save(f, SIGNALS[:50]), r"trials\.csv has 54 rows and signals\.npy beside it has 50 trials"),
    "channel count": (lambda f: save(f, SIGNALS[:, :4]), r"channels\.csv has 5 rows and .* has 4 channels"),
    "no trials": (lambda f: (f / "sub-01/trials.csv").unlink(), r"trials\.csv does not exist"),
    "empty trials": (lambda f: (f / "sub-01/trials.csv").write_text(""), r"trials\.csv cannot be read as a table"),
    "ragged": (
        lambda f: (f / "sub-01/trials.csv").open("a").write("a,b,c,d,e,f,g,h\n"),
        r"trials\.csv cannot be read as a table",
    ),
    "column": (lambda f: change_table(f, "trials", lambda t: t.drop(columns="split")), "has no column 'split'"),
    "image empty": (lambda f: set_cell(f, "image", 7, ""), r"sub-01/trials\.csv, row 7: the image is empty"),
    "concept empty": (lambda f: set_cell(f, "concept", 3, " "), r"row 3: the concept is empty"),
    "split": (lambda f: set_cell(f, "split", 2, "val"), r"row 2: the split is 'val'; expected 'train' or 'test'"),
    "repetition": (lambda f: set_cell(f, "repetition", 5, "-1"), r"row 5: the repetition is -1"),
    "repetition text": (lambda f: set_cell(f, "repetition", 5, "one"), r"row 5: the repetition is one"),
    "channel twice": (
        lambda f: set_cell(f, "name", 3, "Fz", "channels"),
        r"sub-01/channels\.csv, row 3: the channel 'Fz' occurs twice",
    ),
    "channel empty": (lambda f: set_cell(f, "name", 1, "", "channels"), r"channels\.csv, row 1: the name is empty"),
    "image missing": (lambda f: (f / "images/1/01.png").unlink(), r"trials\.csv, row \d+: .*01\.png does not exist"),
    "image outside": (lambda f: set_cell(f, "image", 4, "../../x.png"), r"row 4: The path '../../x.png' leaves"),
    "image absolute": (lambda f: set_cell(f, "image", 4, "/etc/passwd"), r"row 4: The path '/etc/passwd' leaves"),
    "no test": (lambda f: one_split(f, "train"), "study has no test split"),
    "no train": (lambda f: one_split(f, "test"), "study has no train split"),
    "shared concept": (share_concept, r"the concept '003' is in (train|test) here and in (train|test) of sub-01"),
    "two concepts": (
        lambda f: set_cell(f, "concept", 0, "other"),
        r"has the concept .* expected one concept per image",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_opening_a_broken_study_says_what_is_wrong(folder, fault):
    damage, words = FAULTS[fault]
    damage(folder)
    with pytest.raises(InputError, match=words) as caught:
        Study.open(folder)
    assert "\n" not in str(caught.value)


def test_links_that_leave_the_image_folder_are_refused(folder):
    secret = folder.parent / "secret.png"
    secret.write_bytes(picture("1"))
    (folder / "images/1/01.png").unlink()
    (folder / "images/1/01.png").symlink_to(secret)
    with pytest.raises(InputError, match=r"'1/01.png' leaves"):
        Study.open(folder)


def test_shared_concepts_can_be_asked_for_but_not_shared_images(folder):
    share_concept(folder)
    assert len(set(Study.open(folder, allow_shared_concepts=True).concepts.values())) == 14
    first = Study.open(folder, allow_shared_concepts=True).recording("sub-01").trials.iloc[0]
    set_cell(folder, "split", 0, "test" if first["split"] == "train" else "train")
    with pytest.raises(InputError, match=f"the image '{first['image']}' is in"):
        Study.open(folder, allow_shared_concepts=True)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_signals_that_are_not_finite_name_trial_and_channel(folder, value):
    study = Study.open(folder)
    recording = study.recording("sub-01")
    row = int(np.flatnonzero(recording.trials["split"] == "train")[17])
    signals = np.array(recording.signals)
    signals[row, 3, 12] = value
    save(folder, signals)
    recording = Study.open(folder).recording("sub-01")
    words = rf"sub-01: trial {row} \(counted from 0\), channel 'O1', holds {value}"
    with pytest.raises(InputError, match=words):
        recording.load("train")
    with pytest.raises(InputError, match=words):
        recording.load("train", channels=["O2", "O1"], average=False)
    with pytest.raises(InputError, match=words):
        study.validate()
    assert np.isfinite(recording.load("train", channels=["Fz", "O2"]).signals).all()
    assert np.isfinite(recording.load("test").signals).all()


def test_constant_signals_are_refused_and_one_constant_channel_is_not(folder):
    signals = np.array(Study.open(folder).recording("sub-01").signals)
    signals[:, 1] = 0.1
    save(folder, signals)
    assert Study.open(folder).recording("sub-01").load().signals.shape[1] == 5
    with pytest.raises(InputError, match="constant in every channel"):
        Study.open(folder).recording("sub-01").load(channels=["Cz"])
    save(folder, np.full_like(signals, 0.1))
    with pytest.raises(InputError, match=r"sub-01 .* constant in every channel"):
        Study.open(folder).recording("sub-01").load()
    with pytest.raises(InputError, match="constant in every channel"):
        Study.open(folder).validate()


def test_a_mean_beyond_float32_is_not_called_infinite_signals(folder):
    signals = np.array(Study.open(folder).recording("sub-01").signals) * np.float32(1e-3) + np.float32(3e38)
    save(folder, signals)
    with pytest.raises(InputError, match="exceeds float32; rescale"):
        Study.open(folder).recording("sub-01").load()


def test_validate_decodes_every_image(folder):
    (folder / "images/2/05.png").write_bytes(picture("5")[:40])
    study = Study.open(folder)
    with pytest.raises(InputError, match=r"05\.png"):
        study.validate()


def test_a_recording_cut_short_after_opening_is_noticed(folder):
    recording = Study.open(folder).recording("sub-01")
    cut(recording.path, 20000)
    with pytest.raises(InputError, match="became shorter"):
        recording.load()


def test_a_recording_without_the_split_says_so(folder):
    table = pd.read_csv(folder / "sub-01" / "trials.csv", dtype=str)
    kept = (table["split"] == "train").to_numpy()
    table[kept].to_csv(folder / "sub-01" / "trials.csv", index=False)
    save(folder, SIGNALS[kept])
    recording = Study.open(folder).recording("sub-01")
    assert len(recording.load("train")) == 12
    with pytest.raises(InputError, match=r"sub-01/trials\.csv has no test trial"):
        recording.load("test")
    with pytest.raises(InputError, match="split 'val' is unknown"):
        recording.load("val")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    real = Path.open

    def to_full(self, mode="r", *more, **options):
        place = Path("/dev/full") if self.name == "signals.npy" and "w" in mode else self
        return real(place, mode, *more, **options)

    monkeypatch.setattr(Path, "open", to_full)
    with pytest.raises(UbpError, match="The disk is full while writing"):
        create_study(tmp_path / "study", INFO, [make_recording()], picture)
    assert list(tmp_path.iterdir()) == []


def test_trials_select_average_and_concatenate(folder):
    single = Study.open(folder).recording("sub-01").load("train", average=False)
    mean = Study.open(folder).recording("sub-01").load("train")
    averaged = single.averaged()
    np.testing.assert_allclose(averaged.signals, mean.signals, atol=1e-6)
    assert averaged.images == mean.images
    assert averaged.repetitions.tolist() == mean.repetitions.tolist()
    # means of unequal numbers of trials: the result is the mean of the single trials
    halves = concatenate([single.select(slice(0, 20)).averaged(), single.select(slice(20, None)).averaged()])
    again = halves.averaged()
    order = [again.images.index(image) for image in mean.images]
    np.testing.assert_allclose(again.signals[order], mean.signals, atol=1e-6)
    picked = single.select(np.array([4, 1]))
    assert picked.images == (single.images[4], single.images[1])
    np.testing.assert_array_equal(picked.signals, single.signals[[4, 1]])
    mask = np.array(single.images) == single.images[0]
    assert set(single.select(mask).images) == {single.images[0]}
    with pytest.raises(InputError, match="different channels"):
        concatenate([single, dataclasses.replace(single, channels=("a", "b", "c", "d", "e"))])
    with pytest.raises(InputError, match="no trials"):
        concatenate([])
    with pytest.raises(InputError, match="1 images for"):
        Trials(single.signals, ("a",), single.concepts, single.subjects, single.repetitions, single.channels)


# subject -> trials, channels, images, test images, fewest and most presentations of an image
V4_FACTS = {
    "sub-190925": (1200, 36, 900, 150, 1, 2),
    "sub-190927": (1200, 31, 1200, 200, 1, 1),
    "sub-190928": (1200, 24, 1200, 200, 1, 1),
    "sub-190929": (1199, 33, 1199, 200, 1, 1),
    "sub-210224": (800, 67, 800, 133, 1, 1),
    "sub-210225": (1200, 55, 1200, 200, 1, 1),
    "sub-210305": (400, 70, 400, 67, 1, 1),
    "sub-210322": (1200, 59, 1200, 200, 1, 1),
    "sub-210325": (4840, 50, 640, 107, 6, 10),
    "sub-210621": (1200, 51, 1198, 200, 1, 2),
}


@needs_v4
def test_v4_opens_with_its_published_facts():
    study = Study.open(V4)
    assert study.subjects == tuple(V4_FACTS)
    facts = study.describe().set_index("subject")
    for subject, (n_trials, n_channels, n_images, n_test, fewest, most) in V4_FACTS.items():
        row = facts.loc[subject]
        assert (row["trials"], row["channels"], row["times"], row["test_images"]) == (n_trials, n_channels, 1, n_test)
        assert row["train_images"] == n_images - n_test
        train, test = (study.recording(subject).load(split) for split in ("train", "test"))
        assert train.signals.shape == (n_images - n_test, n_channels, 1)
        assert test.signals.shape == (n_test, n_channels, 1)
        counts = np.concatenate([train.repetitions, test.repetitions])
        assert (counts.min(), counts.max(), counts.sum()) == (fewest, most, n_trials)
        assert not set(train.images) & set(test.images)
        assert len(set(test.concepts)) == n_test
    everything = np.concatenate([study.recording("sub-210325").load(split).repetitions for split in ("train", "test")])
    assert np.bincount(everything).tolist() == [0, 0, 0, 0, 0, 0, 36, 261, 294, 45, 4]
    shared = study.recording("sub-210322").trials["image"].str.startswith("210325/").sum()
    assert shared == 600


@needs_v4
def test_v4_has_no_times():
    study = Study.open(V4)
    with pytest.raises(InputError, match="has no sfreq and tmin"):
        study.recording("sub-210325").load(window=(0.0, 0.1))
    recording = study.recording("sub-210325")
    got = recording.load("test", channels=["unit003", "unit001"])
    rows = recording.trials[recording.trials["image"] == got.images[5]].index
    np.testing.assert_allclose(got.signals[5, :, 0], recording.signals[rows][:, [2, 0], 0].mean(0), rtol=1e-6)
