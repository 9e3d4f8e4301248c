"""Options that need images shown more than once: refused where none was, and only there."""

import numpy as np
import pandas as pd
import pytest

from conftest import make_study
from test_cli import refused, run
from ubp.commands.training import plan_jobs
from ubp.config import TrainOptions
from ubp.data.study import Study
from ubp.errors import InputError
from ubp.experiment import check_shape
from ubp.grid import Experiment
from ubp.held_out import fitted_concepts, split_training
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.model import Model
from ubp.presets import preset
from ubp.training_data import TrainingData, image_pairs

VANILLA = preset("vanilla")
TWICE = "train/025.png"
NOT_DRAWN = (
    "repetitions is 'subset' and no training image was shown to sub-01 more than once, so that there is no other"
)
NOT_MIXED = "augment has mixup and no training image was shown to sub-01 more than once, so that there is no other"
NOT_SHARED = "positives is 'image' and no two training signals of sub-01 show the same image"
REFUSED = {
    "subset": ({"repetitions": "subset"}, NOT_DRAWN),
    "subset and mixup": ({"repetitions": "subset", "augment": ("mixup",)}, NOT_MIXED),
    "single trials and mixup": ({"average_training": False, "augment": ("mixup",)}, NOT_MIXED),
    "image positives": ({"positives": "image"}, NOT_SHARED),
    "image positives of single trials": ({"positives": "image", "average_training": False}, NOT_SHARED),
}


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A study of three subjects who saw every training image once, but sub-03 one of them twice."""
    root = make_study(tmp_path_factory.mktemp("once") / "study", n_subjects=3).root
    for subject in ("sub-01", "sub-02", "sub-03"):
        table, signals = pd.read_csv(root / subject / "trials.csv"), np.load(root / subject / "signals.npy")
        kept = (table["split"] == "test") | ~table.duplicated("image")
        if subject == "sub-03":
            kept |= table["image"] == TWICE
        table[kept].to_csv(root / subject / "trials.csv", index=False)
        np.save(root / subject / "signals.npy", signals[kept])
    return Study.open(root)


@pytest.fixture(scope="module")
def store(once, tmp_path_factory):
    return FeatureStore.build(
        once.image_folder,
        once.images(),
        image_encoder("gabor"),
        VANILLA.ladder,
        root=tmp_path_factory.mktemp("features"),
        quiet=True,
    )


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_do_nothing_is_refused_from_tables_and_from_trials_alike(once, store, name):
    changes, message = REFUSED[name]
    job = Job("sub-01", VANILLA, TrainOptions(**changes))
    with pytest.raises(InputError, match=message) as first:
        check_shape(once, job)
    with pytest.raises(InputError) as second:
        image_pairs(TrainingData.load(once, job).trials, store, job)
    assert str(first.value) == str(second.value)


@pytest.mark.parametrize("name", REFUSED)
def test_one_image_shown_twice_is_enough(once, store, name):
    changes, _ = REFUSED[name]
    options = TrainOptions(**changes)
    averaged = options.average_training and options.positives == "image"
    jobs = [Job("sub-01", VANILLA, options, setting="inter-subject")]  # trained on sub-02 and sub-03
    if not averaged:
        jobs.append(Job("sub-03", VANILLA, options))
    for job in jobs:
        check_shape(once, job)
        assert len(image_pairs(TrainingData.load(once, job).trials, store, job)) > 2
    if averaged:
        with pytest.raises(InputError, match=NOT_SHARED.replace("sub-01", "sub-03")):
            check_shape(once, Job("sub-03", VANILLA, options))


@pytest.mark.parametrize("held", ["validation_concepts", "calibration_concepts"])
def test_images_held_out_of_training_do_not_count(once, held):
    concept = once.concepts[TWICE]
    shown = once.recording("sub-03").trials["concept"].unique()
    seen = set()
    for number in range(10, 31):
        options = TrainOptions(repetitions="subset", **{held: number})
        job = Job("sub-03", VANILLA, options)
        trials = job.trials(once, "train")
        left = fitted_concepts(trials.concepts, options)
        assert left == set(split_training(trials, options).training.concepts) < set(shown)
        seen.add(concept in left)
        if concept in left:
            check_shape(once, job)
        else:
            with pytest.raises(InputError, match="no training image was shown to sub-03 more than once"):
                check_shape(once, job)
    assert seen == {True, False}
    both = TrainOptions(validation_concepts=9, calibration_concepts=12)
    trials = Job("sub-03", VANILLA).trials(once, "train")
    assert fitted_concepts(trials.concepts, both) == set(split_training(trials, both).training.concepts)


def test_several_subjects_are_counted_and_not_listed(once):
    job = Job("sub-03", VANILLA, TrainOptions(repetitions="subset"), setting="inter-subject")
    with pytest.raises(InputError, match="shown to any of the 2 training subjects more than once"):
        check_shape(once, job)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--repetitions", "subset"), NOT_DRAWN),
        (("--repetitions", "subset", "--augment", "mixup"), NOT_MIXED),
        (("--no-average-training", "--augment", "mixup"), NOT_MIXED),
        (("--positives", "image"), NOT_SHARED),
    ],
)
def test_the_command_line_refuses_before_images_are_embedded(once, tmp_path, capsys, words, message):
    command = ("train", once.root, "--out", tmp_path / "runs", "--store", tmp_path / "store", "--subject", "sub-01")
    assert message in refused(capsys, *command, *words)
    assert not list(tmp_path.iterdir())


def test_presets_are_checked_beside_a_method_with_options_of_its_own(once):
    with pytest.raises(InputError, match=NOT_SHARED):
        plan_jobs(once, presets=("vanilla",), methods=("ubp",), options=TrainOptions(positives="image"))
    assert len(plan_jobs(once, methods=("ubp",), options=TrainOptions(positives="image"))) == 3


def test_a_grid_names_the_first_subject_it_cannot_serve(once):
    varied = {"repetitions": ("mean", "subset")}
    with pytest.raises(InputError, match="shown to sub-02 more than once"):
        Experiment(presets=("vanilla",), subjects=("sub-03", "sub-02"), vary=varied).cells(once)
    cells = Experiment(presets=("vanilla",), subjects=("sub-03",), vary=varied, ridge=False).cells(once)
    assert [cell.job.options.repetitions for cell in cells] == ["mean", "subset"]


def test_one_repeated_image_makes_another_model(once, tmp_path):
    """What is not refused does something."""
    command = ("--preset", "vanilla", "--epochs", 2, "--batch-size", 64, "--learning-rate", 1e-2, "--quiet")
    command = ("train", once.root, *command, "--subject", "sub-03", "--store", tmp_path / "store")
    weights = {}
    for name, words in {
        "mean": (),
        "subset": ("--repetitions", "subset"),
        "single": ("--no-average-training",),
        "mixed": ("--no-average-training", "--augment", "mixup"),
        "image": ("--no-average-training", "--positives", "image"),
    }.items():
        assert run(*command, "--out", tmp_path / name, *words) == 0
        (folder,) = (path.parent for path in (tmp_path / name).rglob("model.safetensors"))
        weights[name] = (folder / "model.safetensors").read_bytes()
        assert Model.load(folder).description.options.epochs == 2
    assert len(set(weights.values())) == len(weights)
