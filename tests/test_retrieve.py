import shutil
from dataclasses import replace

import mne
import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from conftest import make_study, png
from ubp.calibration import FILE
from ubp.config import Common, TrainOptions
from ubp.data.given import given_signals
from ubp.data.import_epochs import import_epochs
from ubp.data.import_options import SignalOptions, TrialOptions
from ubp.data.study import Study
from ubp.data.to_epochs import to_epochs
from ubp.description import DESCRIPTION
from ubp.errors import InputError
from ubp.evaluate import rank_gallery
from ubp.evaluate_runs import gallery
from ubp.experiment import train
from ubp.image_gallery import open_gallery
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.model import Model
from ubp.presets import preset
from ubp.retrieval import _largest
from ubp.retrieve import Retriever

OPTIONS = TrainOptions(epochs=8, batch_size=20, learning_rate=3e-3, calibration_concepts=15)
BLUR = preset("ubp", 13, 6)
N_TIMES = 50


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("retrieve")


@pytest.fixture(scope="module")
def common(place):
    return Common(store=place / "features", quiet=True)


@pytest.fixture(scope="module")
def study(place):
    return make_study(place / "study", n_times=N_TIMES)


@pytest.fixture(scope="module")
def store(study, common):
    encoder = image_encoder("gabor")
    return FeatureStore.build(study.image_folder, study.images(), encoder, BLUR.ladder, root=common.store, quiet=True)


@pytest.fixture(scope="module")
def folder(study, store, place):
    return train(study, store, Job("sub-02", BLUR, OPTIONS), place / "runs")


@pytest.fixture(scope="module")
def stranger(study, store, place, common):
    """A model of sub-02 that was trained on sub-01 alone."""
    job = Job("sub-02", BLUR, replace(OPTIONS, epochs=1), setting="inter-subject")
    return Retriever.load(train(study, store, job, place / "runs"), common=common)


@pytest.fixture(scope="module")
def retriever(folder, store, common):
    return Retriever.load(folder, common=common)


def inside(model, study, store, **options):
    """The ranking that evaluation makes of a study's test trials."""
    test = Job.of(model.description).trials(study, "test", **options)
    return rank_gallery(model.embed(test.signals), test, *gallery(store, test, BLUR.base))


def test_a_study_is_ranked_as_by_evaluation(retriever, study, store):
    expected = inside(retriever.model, study, store)
    found = retriever.retrieve(study.root, average=True)
    assert found.seen == found.queries == expected.queries
    assert found.gallery == expected.gallery
    assert np.array_equal(found.similarity, expected.similarity)
    assert np.array_equal(found.rank(), expected.rank)
    assert found.rank().mean() < 4  # of 12, so that equal ranks mean something
    single = retriever.retrieve(study.root)
    assert np.array_equal(single.rank(), inside(retriever.model, study, store, average=False).rank)
    some = retriever.retrieve(study.root, trials=(5, 0), subject="sub-02")
    assert some.queries == ("trial 5", "trial 0")
    assert some.similarity == pytest.approx(single.similarity[[5, 0]], abs=1e-6)


def test_a_person_who_was_not_trained_on_is_ranked_as_by_evaluation(stranger, study, store):
    found = stranger.retrieve(study.root, average=True)
    assert np.array_equal(found.similarity, inside(stranger.model, study, store).similarity)
    assert any("calibrated on sub-01" in note for note in found.notes)
    assert not any("calibrated on" in note for note in stranger.retrieve(study.root, subject="sub-01").notes)


@pytest.fixture(scope="module")
def file(study, place):
    """Epochs of sub-02: another order and writing of channels, some more of them, another rate and window."""
    epochs = to_epochs(study.recording("sub-02")).resample(200, verbose="error")
    extra = mne.create_info(["EOG", "c9"], 200, ["eog", "eeg"])
    noise = np.random.default_rng(0).normal(size=(len(epochs), 2, len(epochs.times)))
    more = mne.EpochsArray(noise, extra, epochs.events, verbose="error")
    epochs = epochs.add_channels([more], force_update_info=True)
    epochs = epochs.reorder_channels(["c3", "EOG", "c0", "c5", "c9", "c1", "c4", "c2"])
    epochs.rename_channels({"c3": "C3", "c0": "C0"})
    path = place / "new-epo.fif"
    epochs.save(path, verbose="error")
    return path


def test_epochs_of_another_order_and_rate_are_ranked_as_inside_the_study(retriever, study, store, file, tmp_path):
    trials = np.flatnonzero((study.recording("sub-02").trials["split"] == "test").to_numpy()).tolist()
    found = retriever.retrieve(file, average=True, trials=trials)
    plain = inside(retriever.model, study, store)
    # the signals here are white, and resampling cannot keep the highest frequency
    assert found.similarity == pytest.approx(plain.similarity, abs=0.1)
    assert np.abs(found.rank() - plain.rank).mean() < 0.5
    signals = SignalOptions(resample=100.0, channels=("C0", "c1", "c2", "C3", "c4", "c5"))
    same = import_epochs({"sub-02": file}, tmp_path / "in", study.image_folder, TrialOptions(), signals, quiet=True)
    test = same.recording("sub-02").load("test")
    expected = rank_gallery(retriever.model.embed(test.signals), test, *gallery(store, test, BLUR.base))
    assert found.queries == expected.queries
    assert np.array_equal(found.similarity, expected.similarity)
    assert "Resampled from 200 to 100 Hz." in found.notes
    assert any("2 channels" in note for note in found.notes)
    in_memory = retriever.retrieve(mne.read_epochs(file, verbose="error"), average=True, trials=trials)
    assert np.array_equal(in_memory.similarity, found.similarity)


def test_a_longer_window_is_cut_to_the_models(retriever, study, tmp_path):
    recording = study.recording("sub-02")
    plain = retriever.retrieve(study.root, trials=(0, 3))
    data = recording.signals[np.flatnonzero(recording.trials["split"] == "test")[[0, 3]]].astype(float)
    random = np.random.default_rng(0)
    longer = np.concatenate([random.normal(size=(2, 6, 20)), data, random.normal(size=(2, 6, 7))], axis=2)
    epochs = mne.EpochsArray(
        longer, mne.create_info([f"c{i}" for i in range(6)], 100, "eeg"), tmin=-0.2, verbose="error"
    )
    found = retriever.retrieve(epochs)
    assert found.similarity == pytest.approx(plain.similarity, abs=1e-6)
    assert found.seen == ("", "")
    assert np.isnan(found.rank()).all()
    beside = mne.EpochsArray(longer, epochs.info, tmin=-0.204, verbose="error")
    assert retriever.retrieve(beside).similarity == pytest.approx(plain.similarity, abs=1e-6)
    array = tmp_path / "trials.npy"
    np.save(array, longer)
    assert np.array_equal(retriever.retrieve(array, sfreq=100, tmin=-0.2).similarity, found.similarity)
    one = retriever.retrieve(data[0].astype(np.float32))
    assert one.similarity == pytest.approx(plain.similarity[:1], abs=1e-6)
    shuffled = retriever.retrieve(data[:, ::-1], channels=[f"C{i}" for i in reversed(range(6))])
    assert shuffled.similarity == pytest.approx(plain.similarity, abs=1e-6)


def test_probabilities_and_sets_are_those_of_the_calibration(retriever, study):
    found = retriever.retrieve(study.root, average=True)
    assert found.probability.sum(axis=1) == pytest.approx(np.ones(12))
    confidence = retriever.confidence(2)
    scale = retriever.model.sharpness(retriever.model.embed(study.recording("sub-02").load("test").signals))
    assert found.probability == pytest.approx(
        softmax(found.similarity * scale[:, None] / confidence.temperature, axis=1), rel=1e-4
    )
    order = found.best()
    assert np.array_equal(np.argsort(-found.probability, axis=1, kind="stable")[:, :3], order[:, :3])
    assert (found.set_sizes[0.8] <= found.set_sizes[0.9]).all()
    assert (found.set_sizes[0.95] == 12).all()
    assert any("too few for sets of 95 %" in note for note in found.notes)
    members = found.members(0.8)
    assert [len(one) for one in members] == found.set_sizes[0.8].tolist()
    assert all(set(one) <= set(two) for one, two in zip(members, found.members(0.9), strict=True))
    with pytest.raises(InputError, match=r"coverage 0\.5"):
        found.members(0.5)


def test_a_pair_is_in_its_set_in_every_gallery(retriever, folder, study, common):
    many = Retriever.load(folder, study.root, split="all", common=common)
    assert len(many.gallery.images) == 52
    few, large = (one.retrieve(study.root, average=True) for one in (retriever, many))
    for small, big in zip(few.members(0.8), large.members(0.8), strict=True):
        assert set(small) == {image for image in big if image.startswith("test/")}


def test_many_queries_are_answered_in_blocks(retriever, study, monkeypatch):
    whole = retriever.retrieve(study.root)
    monkeypatch.setattr("ubp.retrieve.BLOCK", 60)
    parts = retriever.retrieve(study.root)
    assert np.array_equal(parts.probability, whole.probability)
    assert all(np.array_equal(parts.set_sizes[coverage], sizes) for coverage, sizes in whole.set_sizes.items())


def test_training_trials_are_named_as_such(retriever, study):
    assert any("training trials" in note for note in retriever.retrieve(study.root, split="train").notes)
    assert not any("training trials" in note for note in retriever.retrieve(study.root).notes)


def test_single_trials_and_means_have_confidence_of_their_own(retriever, study):
    single, mean = (retriever.retrieve(study.root, average=average) for average in (False, True))
    assert retriever.confidence(1).repetitions == 1
    assert retriever.confidence(7).repetitions == 2
    assert single.probability.max() != mean.probability.max()


def test_a_model_without_calibration_ranks_and_says_that_it_has_no_confidence(
    retriever, study, store, common, tmp_path
):
    plain = replace(OPTIONS, calibration_concepts=0, epochs=1)
    folder = train(study, store, Job("sub-01", BLUR, plain), tmp_path)
    found = Retriever.load(folder, common=common).retrieve(study.root)
    assert found.probability is None
    assert not found.set_sizes
    assert any("no confidence" in note for note in found.notes)
    assert "probability" not in found.table()
    assert "sets" not in found.to_dict()["queries"][0]


def test_the_table_and_json_tell_the_same(retriever, study):
    found = retriever.retrieve(study.root, average=True)
    table, content = found.table(3), found.to_dict(3)
    assert len(table) == 36
    first = table[table["query"] == found.queries[4]]
    one = content["queries"][4]
    assert first["image"].tolist() == [best["image"] for best in one["best"]]
    assert first["probability"].tolist() == [best["probability"] for best in one["best"]]
    assert (one["rank"], one["seen"]) == (first["rank"].iloc[0], found.queries[4])
    assert len(one["sets"]["80"]) == first["set_80"].iloc[0]
    assert first["in_set_80"].tolist() == [image in one["sets"]["80"] for image in first["image"]]
    assert found.table(99)["place"].max() == 12


@pytest.mark.parametrize("top", [1, 3, 8])
def test_the_best_are_those_of_a_stable_sort(top):
    values = np.random.default_rng(top).integers(0, 4, (50, 8)).astype(np.float32)
    assert np.array_equal(_largest(values, top), np.argsort(-values, axis=1, kind="stable")[:, :top])


def test_a_folder_of_images_is_a_gallery_and_its_vectors_are_kept(folder, study, store, common, place):
    about = Model.load(folder).description
    photos = place / "photos"
    (photos / "inner").mkdir(parents=True)
    for image in study.images("test")[:4]:
        shutil.copy(study.image_path(image), photos / "inner" / image.replace("/", "-"))
    (photos / ".hidden").mkdir()
    (photos / ".hidden" / "a.png").write_bytes(b"no image")
    (photos / "notes.txt").write_text("no image either")
    found = open_gallery(photos, about, common=common)
    assert found.images == tuple(f"inner/{image.replace('/', '-')}" for image in study.images("test")[:4])
    assert found.vectors == pytest.approx(store.vectors(BLUR.base, study.images("test")[:4]), abs=1e-6)
    stamps = {path: path.stat().st_mtime_ns for path in common.store.rglob("*.npy")}
    again = open_gallery(photos, about, common=common)
    assert np.array_equal(again.vectors, found.vectors)
    assert {path: path.stat().st_mtime_ns for path in common.store.rglob("*.npy")} == stamps
    of_store = open_gallery(store.folder, about, common=common)
    assert of_store.images == study.images()
    assert of_store.folder is None
    result = Retriever(Model.load(folder), found).retrieve(study.root)
    assert len(result.gallery) == 4


def with_file(name, data):
    def make(folder):
        (folder / "a.png").write_bytes(png(np.zeros((8, 8, 3), np.uint8)))
        (folder / name).write_bytes(data)

    return make


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: None, "has no image"),
        (with_file("a.png", png(np.full((8, 8, 3), 99, np.uint8))), "has 1 image"),
        (with_file("b.png", b"not an image"), r"b\.png is not an image"),
        (with_file("b.jpg", b""), r"b\.jpg is empty"),
        (lambda folder: folder.rmdir(), "does not exist"),
    ],
)
def test_a_gallery_that_cannot_serve_is_refused(folder, common, tmp_path, make, says):
    images = tmp_path / "images"
    images.mkdir()
    make(images)
    with pytest.raises(InputError, match=says):
        open_gallery(images, Model.load(folder).description, common=common)


def test_a_gallery_of_another_encoder_is_refused(folder, study, store, common, tmp_path):
    about = replace(Model.load(folder).description, vision_fingerprint="another")
    for where in (study.root, store.folder):
        with pytest.raises(InputError, match="encoder"):
            open_gallery(where, about, common=common)
    with pytest.raises(InputError, match="is not a study and has no split"):
        open_gallery(store.folder, about, split="test", common=common)
    with pytest.raises(InputError, match="split of a gallery"):
        open_gallery(study.root, about, split="some", common=common)
    with pytest.raises(InputError, match="with --gallery"):
        open_gallery(None, replace(about, study_path=str(tmp_path / "moved")), common=common)


def made(channels=6, n_times=N_TIMES, rate=100.0, tmin=0.0, names=None, trials=3):
    data = np.random.default_rng(0).normal(size=(trials, channels, n_times))
    info = mne.create_info(names or [f"c{i}" for i in range(channels)], rate, "eeg")
    return mne.EpochsArray(data, info, tmin=tmin, verbose="error")


def changed(change):
    epochs = made()
    data = epochs.get_data(copy=True)
    change(data)
    return mne.EpochsArray(data, epochs.info, verbose="error")


REFUSED = {
    "few channels": (lambda: made(channels=4), r"lacks 2 of the model's 6 channels \(c4, c5\)"),
    "alike": (
        lambda: made(channels=7, names=["c1", "c2", "c3", "c4", "c5", "C0", "c0 "]),
        "C0 and c0  for the model's c0",
    ),
    "slow": (lambda: made(rate=50.0), "has 50 Hz and the model 100 Hz"),
    "late": (lambda: made(tmin=0.1), "runs from 0.1 to 0.59 s; the model needs 0 to 0.49 s"),
    "short": (lambda: made(n_times=40), "runs from 0 to 0.39 s; the model needs 0 to 0.49 s"),
    "microvolts": (
        lambda: changed(lambda data: np.multiply(data, 1e6, out=data)),
        "microvolts where the model was trained",
    ),
    "volts": (
        lambda: changed(lambda data: np.multiply(data, 1e-6, out=data)),
        r"volts .* microvolts; .*--multiply 1e\+06",
    ),
    "no unit": (lambda: changed(lambda data: np.multiply(data, 100, out=data)), "another unit"),
    "NaN": (lambda: changed(lambda data: data[1, 2].fill(np.nan)), "epoch 1, channel 'c2' holds a value"),
    "huge": (lambda: changed(lambda data: data[2, 0].fill(1e300)), "epoch 2, channel 'c0' holds a value"),
    "flat": (lambda: changed(lambda data: data.fill(1.0)), "constant in every channel"),
    "array of channels": (lambda: np.zeros((2, 5, N_TIMES)), "has 5 channels without names; expected the 6"),
    "array of times": (lambda: np.zeros((2, 6, 40)), "has 40 samples per trial; expected the 50"),
    "array of text": (lambda: np.array([["a"]]), "real numbers"),
    "array of complex": (lambda: np.zeros((2, 6, 50), complex), "real numbers"),
    "empty array": (lambda: np.zeros((0, 6, 50)), "real numbers"),
    "flat array": (lambda: np.zeros(5), "real numbers"),
    "something else": (lambda: {"a": 1}, "dict"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_signals_that_cannot_be_adapted_are_refused_with_the_fact(retriever, case):
    make, says = REFUSED[case]
    with pytest.raises(InputError, match=says):
        retriever.retrieve(make())


def test_a_unit_is_changed_when_asked_and_noise_is_no_other_unit(retriever):
    plain = retriever.retrieve(made())
    micro = changed(lambda data: np.multiply(data, 1e6, out=data))
    assert retriever.retrieve(micro, multiply=1e-6).similarity == pytest.approx(plain.similarity, abs=1e-5)
    for factor in (5.0, 0.2):
        retriever.retrieve(changed(lambda data, factor=factor: np.multiply(data, factor, out=data)))
    wild = changed(lambda data: data[0, 0].fill(1e6))  # one artefact is no unit either
    assert np.isfinite(retriever.retrieve(wild).similarity).all()
    with pytest.raises(InputError, match="finite number other than 0"):
        retriever.retrieve(made(), multiply=0.0)


def test_averaging_needs_to_know_what_was_seen(retriever):
    with pytest.raises(InputError, match="does not say what image epoch 0 showed"):
        retriever.retrieve(made(), average=True)
    epochs = made()
    epochs.metadata = pd.DataFrame({"picture": ["test/040.png", "test/040.png", "test/041.png"]})
    found = retriever.retrieve(epochs, average=True, image_column="picture")
    assert found.queries == ("test/040.png", "test/041.png")
    assert found.repetitions.tolist() == [2, 1]
    with pytest.raises(InputError, match="no column 'image'"):
        retriever.retrieve(epochs, image_column="image")


def test_bad_channels_are_used_and_named(retriever):
    epochs = made()
    epochs.info["bads"] = ["c2"]
    found = retriever.retrieve(epochs)
    assert any("c2" in note and "bad" in note for note in found.notes)
    assert np.array_equal(found.similarity, retriever.retrieve(made()).similarity)


def test_files_that_are_no_signals_are_refused(study, tmp_path):
    pickled, cut, text, fif = (tmp_path / name for name in ("a.npy", "b.npy", "c.txt", "d-epo.fif"))
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(cut, np.zeros((2, 6, 50)))
    cut.write_bytes(cut.read_bytes()[:1000])
    text.write_text("no")
    fif.write_bytes(b"no")
    for path, says in (
        (pickled, "cannot be read as an array"),
        (cut, "cannot be read as an array"),
        (text, "is not a file of signals"),
        (fif, "cannot be read as epochs"),
        (tmp_path / "none.fif", "does not exist"),
        (tmp_path, "dataset.json"),
        (study.root, "say whose signals"),
    ):
        with pytest.raises(InputError, match=says):
            given_signals(path)
    with pytest.raises(InputError, match="no trial 24"):
        given_signals(study.root, subject="sub-01", trials=(24,))
    with pytest.raises(InputError, match="no trial -1"):
        given_signals(study.root, subject="sub-01", trials=(-1,))
    with pytest.raises(InputError, match="split 'all'"):
        given_signals(study.root, subject="sub-01", split="all")
    with pytest.raises(InputError, match="no subject"):
        given_signals(study.root, subject="sub-09")
    with pytest.raises(InputError, match="they are for arrays"):
        given_signals(study.root, subject="sub-01", sfreq=100.0)
    with pytest.raises(InputError, match="1 are named"):
        given_signals(np.zeros((1, 6, 50)), channels=["c1"])
    with pytest.raises(InputError, match="above 0"):
        given_signals(np.zeros((1, 6, 50)), sfreq=0.0)


def test_a_broken_model_folder_is_refused(folder, common, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "model")
    (copy / FILE).unlink()
    with pytest.raises(InputError, match="calibration"):
        Retriever.load(copy, common=common)
    newer = (copy / DESCRIPTION).read_text().replace('"format": 1', '"format": 2')
    (copy / DESCRIPTION).write_text(newer)
    with pytest.raises(InputError, match="update ubp"):
        Retriever.load(copy, common=common)
    with pytest.raises(InputError, match="does not exist"):
        Retriever.load(tmp_path, common=common)


def test_a_study_without_times_is_served_as_it_is(place, common):
    study = make_study(place / "spikes", n_times=1, n_subjects=1, n_train=20)
    text = (study.root / "dataset.json").read_text()
    text = text.replace('"sfreq": 100.0', '"sfreq": null').replace('"tmin": 0.0', '"tmin": null')
    (study.root / "dataset.json").write_text(text)
    study = Study.open(study.root)
    store = FeatureStore.build(
        study.image_folder, study.images(), image_encoder("gabor"), BLUR.ladder, root=common.store, quiet=True
    )
    plain = TrainOptions(epochs=1, batch_size=20)
    folder = train(study, store, Job("sub-01", BLUR, plain), place / "spike-runs")
    found = Retriever.load(folder, common=common).retrieve(study.root, average=True)
    assert np.array_equal(found.rank(), inside(Model.load(folder), study, store).rank)
