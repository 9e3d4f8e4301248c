import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import make_study
from ubp.calibration import FILE, Calibration
from ubp.config import TrainOptions
from ubp.conformal import COVERAGES, fit_temperature, log_ratio, threshold
from ubp.data.study import Study
from ubp.errors import InputError
from ubp.experiment import train
from ubp.held_out import held_trials, split_training
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.loss import LOSSES
from ubp.metrics import cosine_similarity
from ubp.model import Model
from ubp.presets import preset
from ubp.tensor_files import read_tensors, write_tensors

OPTIONS = TrainOptions(epochs=2, batch_size=20, learning_rate=1e-3, calibration_concepts=15)
BLUR = preset("blur", 13, 6)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("study") / "five", repetitions=5)


@pytest.fixture(scope="module")
def store(study, tmp_path_factory):
    root = tmp_path_factory.mktemp("features")
    encoder = image_encoder("gabor")
    return FeatureStore.build(study.image_folder, study.images(), encoder, BLUR.ladder, root=root, quiet=True)


@pytest.fixture(scope="module")
def folder(study, store, tmp_path_factory):
    return train(study, store, Job("sub-01", BLUR, OPTIONS), tmp_path_factory.mktemp("runs"))


def concepts_of(study, pairs):
    return {study.concepts[image] for _, image in pairs}


@pytest.mark.parametrize("validation", [0, 6])
def test_no_concept_serves_two_purposes(tiny, validation):
    trials = tiny.recording("sub-01").load("train")
    parts = split_training(trials, replace(OPTIONS, validation_concepts=validation))
    held = parts.calibration
    groups = [set(parts.training.concepts), concepts_of(tiny, held.temperature), concepts_of(tiny, held.calibration)]
    assert [len(group) for group in groups] == ([25, 5, 10] if not validation else [19, 6, 15])
    assert len(set.union(*groups)) == sum(map(len, groups)) == 40
    assert not set.union(*groups) & {tiny.concepts[image] for image in tiny.images("test")}
    assert {concept for _, concept in held.reference} == groups[1]
    if validation:
        assert set(parts.validation.concepts) == groups[1]
        alone = split_training(trials, replace(OPTIONS, calibration_concepts=0, validation_concepts=validation))
        assert alone.validation.images == parts.validation.images
        assert alone.calibration is None


def test_several_subjects_give_one_query_a_concept(tiny):
    both = Job("sub-03", BLUR, OPTIONS)  # stands for a third who is left out
    parts = [tiny.recording(subject).load("train") for subject in tiny.subjects]
    from ubp.data.trials import concatenate

    held = split_training(concatenate(parts), both.options).calibration
    for pairs in (held.temperature, held.calibration):
        assert len(concepts_of(tiny, pairs)) == len(pairs)
    assert {who for who, _ in held.calibration} == set(tiny.subjects)


def test_held_out_trials_are_the_means_that_the_recording_gives(study):
    recording = study.recording("sub-01")
    held = split_training(recording.load("train"), OPTIONS).calibration
    found = held_trials(study, held, recording.channel_names, None)
    assert list(found[0]) == list(found[1]) == [1, 2, 4, 5]
    everything = recording.load("train")
    row = {image: place for place, image in enumerate(everything.images)}
    wanted = everything.signals[[row[image] for _, image in held.calibration]]
    assert found[1][5] == pytest.approx(wanted, abs=1e-6)
    single = recording.load("train", average=False)
    for (_, image), signals in zip(held.temperature, found[0][1], strict=True):
        mine = [one for one, name in zip(single.signals, single.images, strict=True) if name == image]
        assert any(np.array_equal(signals, one) for one in mine)


@pytest.mark.parametrize("loss", LOSSES)
def test_sharpness_turns_cosines_into_the_similarity_of_the_loss(folder, loss):
    model = Model.load(folder)
    model = replace(model, description=replace(model.description, options=replace(OPTIONS, loss=loss)))
    random = np.random.default_rng(0)
    brain, vision = random.normal(size=(4, 9)).astype(np.float32), random.normal(size=(5, 9)).astype(np.float32)
    vision /= np.linalg.norm(vision, axis=1, keepdims=True)
    expected = LOSSES[loss](torch.from_numpy(brain), torch.from_numpy(vision), model.temperature).numpy()
    assert cosine_similarity(brain, vision) * model.sharpness(brain)[:, None] == pytest.approx(expected, rel=1e-4)


def test_what_is_saved_are_the_models_answers_to_held_out_queries(study, store, folder):
    model = Model.load(folder)
    found = Calibration.load(folder, model.description)
    held = found.held
    assert model.description.n_pairs == 25
    vision = store.vectors(BLUR.base, [image for _, image in held.calibration])
    signals = held_trials(study, held, model.description.channels, None)[1][4]
    matrix = LOSSES["ubp"](torch.from_numpy(model.embed(signals)), torch.from_numpy(vision), model.temperature)
    assert found.answers[4].matched == pytest.approx(matrix.diagonal().numpy(), rel=1e-4)
    assert np.array_equal(found.reference, store.vectors(BLUR.base, held.reference_images))
    assert found.mask.shape == (5, 5)
    assert not found.mask.diagonal().any()
    assert found.mask.sum() == 20


def test_confidence_follows_the_repetitions_of_the_query(folder):
    calibration = Calibration.load(folder, Model.load(folder).description)
    used = {asked: calibration.confidence(asked).repetitions for asked in (1, 2, 3, 4, 5, 80)}
    assert used == {1: 1, 2: 2, 3: 2, 4: 4, 5: 5, 80: 5}
    about, found = calibration.answers[2], calibration.confidence(2)
    alone = fit_temperature(about.fit_matched, about.fit_others, calibration.mask)
    scores = log_ratio(about.matched[:, None], about.others, alone)[:, 0]
    assert found.set_temperature == alone
    assert found.thresholds == {coverage: threshold(scores, coverage) for coverage in COVERAGES}
    assert found.thresholds[0.95] == -np.inf  # ten concepts are too few


def test_a_model_without_calibration_is_the_same_run_as_before_the_option(study, store, tmp_path):
    plain = replace(OPTIONS, calibration_concepts=0)
    folder = train(study, store, Job("sub-01", BLUR, plain), tmp_path)
    path = folder / "model.json"
    about = Model.load(folder).description
    content = json.loads(path.read_text())
    del content["options"]["calibration_concepts"]
    path.write_text(json.dumps(content))
    assert Model.load(folder).description.identity() == about.identity()
    assert train(study, store, Job("sub-01", BLUR, plain), tmp_path) == folder
    assert not (folder / FILE).exists()
    assert Calibration.load(folder, about) is None
    with pytest.raises(InputError, match="other options"):
        train(study, store, Job("sub-01", BLUR, OPTIONS), tmp_path)


def test_a_run_stopped_and_continued_saves_the_same_calibration(study, store, folder, tmp_path):
    class Stop(Exception):
        pass

    def stop(trainer):
        raise Stop

    job = Job("sub-01", BLUR, OPTIONS)
    with pytest.raises(Stop):
        train(study, store, job, tmp_path, checkpoint_every=0, after_epoch=stop)
    assert not (tmp_path / job.folder / FILE).exists()
    again = train(study, store, job, tmp_path)
    assert (again / FILE).read_bytes() == (folder / FILE).read_bytes()


def damage_shape(tensors, content):
    tensors["1.matched"] = tensors["1.matched"][:-1]


def damage_numbers(tensors, content):
    tensors["1.others"][0, 0] = np.nan


def damage_content(tensors, content):
    del content["calibration"]


def newer(tensors, content):
    content["format"] = 2


@pytest.mark.parametrize(
    ("edit", "says"),
    [(damage_shape, "damaged"), (damage_numbers, "damaged"), (damage_content, "damaged"), (newer, "format 2")],
)
def test_a_damaged_or_newer_calibration_is_refused(folder, tmp_path, edit, says):
    tensors, content = read_tensors(folder / FILE)
    edit(tensors, content)
    write_tensors(tmp_path / FILE, tensors, content)
    with pytest.raises(InputError, match=says):
        Calibration.load(tmp_path, Model.load(folder).description)
    (tmp_path / FILE).write_bytes(b"x" * 100)
    with pytest.raises(InputError, match="not a complete safetensors file"):
        Calibration.load(tmp_path, Model.load(folder).description)


@pytest.mark.parametrize("number", [-1, 1, 9])
def test_too_few_calibration_concepts_are_refused(number):
    with pytest.raises(InputError, match="at least 10"):
        TrainOptions(calibration_concepts=number)


def test_calibration_needs_concepts_that_are_left(tiny):
    trials = Study.open(tiny.root).recording("sub-01").load("train")
    with pytest.raises(InputError, match="13 of 14 training concepts were to be taken out for calibration"):
        split_training(trials, replace(OPTIONS, validation_concepts=26, calibration_concepts=13))
