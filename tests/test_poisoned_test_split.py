"""Nothing of the test split reaches a model: its signals and image vectors may be anything."""

import shutil

import numpy as np
import pytest

from ubp.align import ALIGNMENTS
from ubp.config import SETTINGS, TrainOptions
from ubp.data.study import Study
from ubp.description import DESCRIPTION
from ubp.experiment import train
from ubp.images.encoders import image_encoder
from ubp.images.features import FeatureStore
from ubp.images.levels import stored_levels
from ubp.job import Job
from ubp.methods import PLUS, PLUS_OF_LAYER
from ubp.model import WEIGHTS, Model
from ubp.presets import preset

QUICK = {"epochs": 3, "batch_size": 20, "learning_rate": 1e-3}
NAMES = ("ubp", "bank", "ubp-smooth", "ubp-posterior", "ubp-learned")
OPTIONS = {
    "ubp": {},
    "ubp-plus": dict(PLUS) | PLUS_OF_LAYER,
    "held out": {"validation_concepts": 6, "calibration_concepts": 10},
    "subsets": {"repetitions": "subset", "augment": ("noise",), "weight_average": 0.9, "warm_up": 1},
    **{f"aligned {name}": {"alignment": name, "subject_layers": True} for name in ALIGNMENTS if name != "none"},
}


@pytest.fixture(scope="module")
def clean_and_poisoned(tiny_folder, tmp_path_factory):
    """A study and its store, and the same with NaN in all that belongs to the test split."""
    root = tmp_path_factory.mktemp("poisoned")
    study = Study.open(tiny_folder)
    ladder = stored_levels(level for name in NAMES for level in preset(name, 13, 6).ladder)
    store = FeatureStore.build(
        study.image_folder, study.images(), image_encoder("gabor"), ladder, root=root / "clean", quiet=True
    )
    shutil.copytree(tiny_folder, root / "study")
    shutil.copytree(root / "clean", root / "poisoned")
    tested = set()
    for subject, recording in study.recordings.items():
        test = (recording.trials["split"] == "test").to_numpy()
        tested |= set(recording.trials.loc[test, "image"])
        path = root / "study" / subject / "signals.npy"
        signals = np.load(path)
        signals[test] = np.nan
        np.save(path, signals)
    other = FeatureStore.open(root / "poisoned" / store.folder.name)
    rows = [row for row, image in enumerate(store.images) if image in tested]
    assert 0 < len(rows) < len(store.images)
    for level in other.levels:
        vectors = np.load(other.folder / f"{level}.npy")
        vectors[rows] = np.nan
        np.save(other.folder / f"{level}.npy", vectors)
    return (study, store), (Study.open(root / "study"), FeatureStore.open(other.folder))


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, OPTIONS["ubp"]) for name in NAMES),
        *((name, one) for name in ("ubp", "bank") for one in OPTIONS.values()),
    ],
)
def test_a_poisoned_test_split_changes_no_weight(clean_and_poisoned, tmp_path, name, options, setting):
    models, files = [], []
    for number, (study, store) in enumerate(clean_and_poisoned):
        job = Job("sub-01", preset(name, 13, 6), TrainOptions(**{**QUICK, **options}), 0, "gabor", setting)
        folder = train(study, store, job, tmp_path / str(number))
        models.append(Model.load(folder))
        files.append({path.name: path.read_bytes() for path in folder.iterdir() if path.name != DESCRIPTION})
    clean, poisoned = models
    assert clean.history == poisoned.history
    found = [model.encoder.state_dict() | dict(zip(("mean", "scale"), model.scale, strict=True)) for model in models]
    for key, tensor in found[0].items():
        assert bool(tensor.isfinite().all()), key
        assert tensor.equal(found[1][key]), key
    # what was learned beside the encoder too: temperature, prior, alignment; and what the confidence is calibrated by
    assert WEIGHTS in files[0]
    assert (len(files[0]) > 2) == bool(options.get("calibration_concepts"))
    assert files[0] == files[1]
