import dataclasses
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ubp.data.split import inter_subject, intra_subject, validation_split
from ubp.data.study import RecordingData, Study, StudyInfo, create_study
from ubp.data.trials import concatenate
from ubp.errors import InputError

V4 = Path(__file__).parents[2] / "shared" / "data" / "v4"
CHANNELS = ("Pz", "O1", "Oz", "O2")


def make_recording(subject, channels=CHANNELS, n_times=6):
    """10 training concepts with 2 images each, 4 test concepts with one; 2 repetitions."""
    rng = np.random.default_rng(int(subject[-2:]))
    image = np.tile(np.arange(24), 2)
    train = image < 20
    trials = pd.DataFrame(
        {
            "image": [f"{i:02d}.png" for i in image],
            "concept": [f"train{i % 10}" if i < 20 else f"test{i}" for i in image],
            "split": np.where(train, "train", "test"),
            "repetition": np.repeat([0, 1], 24),
            "session": "1",
        }
    )
    signals = rng.standard_normal((48, len(channels), n_times)).astype(np.float32)
    return RecordingData(subject, signals, trials, pd.DataFrame({"name": channels, "type": "eeg"}))


def make_study(path, *recordings):
    file = BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    return create_study(path, StudyInfo("s", "eeg", 100.0, 0.0), recordings, lambda name: file.getvalue())


@pytest.fixture
def study(tmp_path):
    mixed = make_recording("sub-03", channels=CHANNELS[::-1])
    return make_study(tmp_path / "s", make_recording("sub-01"), make_recording("sub-02"), mixed)


def test_intra_subject_is_one_recording(study):
    for split, n_images in (("train", 20), ("test", 4)):
        trials = intra_subject(study, "sub-02", split, channels=["Oz"], window=(0.01, 0.03))
        expected = study.recording("sub-02").load(split, ["Oz"], (0.01, 0.03))
        assert trials.signals.shape == (n_images, 1, 3)
        np.testing.assert_array_equal(trials.signals, expected.signals)
        assert set(trials.subjects) == {"sub-02"}


@pytest.mark.parametrize("held_out", ["sub-01", "sub-02", "sub-03"])
@pytest.mark.parametrize("average", [True, False])
def test_inter_subject_joins_the_others_by_channel_name(study, held_out, average):
    train = inter_subject(study, held_out, "train", average=average)
    others = [subject for subject in study.subjects if subject != held_out]
    expected = concatenate([study.recording(s).load("train", CHANNELS, average=average) for s in others])
    np.testing.assert_array_equal(train.signals, expected.signals)
    for name in ("images", "concepts", "subjects", "channels", "tmin", "sfreq"):
        assert getattr(train, name) == getattr(expected, name)
    assert train.repetitions.tolist() == expected.repetitions.tolist()
    test = inter_subject(study, held_out, "test", average=average)
    np.testing.assert_array_equal(
        test.signals, study.recording(held_out).load("test", CHANNELS, average=average).signals
    )
    assert set(test.subjects) == {held_out}
    assert test.channels == train.channels == CHANNELS
    assert held_out not in train.subjects
    assert not set(test.concepts) & set(train.concepts)


def test_inter_subject_names_what_does_not_fit(tmp_path, study):
    with pytest.raises(InputError, match="no subject 'sub-07'"):
        inter_subject(study, "sub-07", "train")
    alone = make_study(tmp_path / "alone", make_recording("sub-01"))
    with pytest.raises(InputError, match="only the subject sub-01; expected two or more"):
        inter_subject(alone, "sub-01", "train")
    other = make_study(tmp_path / "other", make_recording("sub-01"), make_recording("sub-02", (*CHANNELS[:3], "Fz")))
    with pytest.raises(
        InputError, match=r"sub-02 and sub-01 of .* do not have the same channels \('Fz' is in one only\)"
    ):
        inter_subject(other, "sub-01", "test")
    assert inter_subject(other, "sub-01", "train", channels=["Oz", "Pz"]).channels == ("Oz", "Pz")
    longer = make_study(tmp_path / "longer", make_recording("sub-01"), make_recording("sub-02", n_times=9))
    with pytest.raises(InputError, match="different numbers of samples"):
        inter_subject(longer, "sub-01", "train")
    assert inter_subject(longer, "sub-01", "train", window=(0.0, 0.05)).signals.shape == (20, 4, 6)


@pytest.mark.skipif(not V4.exists(), reason="the V4 recordings are not beside the repository")
def test_units_of_v4_sessions_are_not_pooled():
    with pytest.raises(InputError, match="do not have the same channels"):
        inter_subject(Study.open(V4), "sub-210325", "train")


def test_validation_concepts_are_disjoint_and_whole(study):
    trials = intra_subject(study, "sub-01", "train")
    for seed in range(20):
        training, validation = validation_split(trials, 4, seed=seed, one_image_per_concept=False)
        assert len(set(validation.concepts)) == 4
        assert not set(validation.concepts) & set(training.concepts)
        assert sorted(training.images + validation.images) == sorted(trials.images)
        both = concatenate([training, validation])
        order = [both.images.index(image) for image in trials.images]
        np.testing.assert_array_equal(both.signals[order], trials.signals)


def test_validation_split_is_a_gallery_of_one_image_per_concept(study):
    single = intra_subject(study, "sub-01", "train", average=False)
    training, validation = validation_split(single, fraction=0.3, seed=1)
    assert len(validation) == len(set(validation.images)) == len(set(validation.concepts)) == 3
    assert len(training) == 7 * 2 * 2
    for signal, image, concept in zip(validation.signals, validation.images, validation.concepts, strict=True):
        rows = [i for i, name in enumerate(single.images) if name == image]
        np.testing.assert_allclose(signal, single.signals[rows].mean(0), atol=1e-6)
        assert image == single.images[single.concepts.index(concept)]
    assert validation.repetitions.tolist() == [2, 2, 2]


def test_validation_split_does_not_depend_on_the_order_of_rows(study):
    trials = intra_subject(study, "sub-01", "train")
    mixed = trials.select(np.random.default_rng(0).permutation(len(trials)))
    one, two = (validation_split(t, 3, seed=5)[1] for t in (trials, mixed))
    assert set(one.concepts) == set(two.concepts)
    assert validation_split(trials, 3, seed=5)[1].images == one.images
    chosen = {frozenset(validation_split(trials, 3, seed=seed)[1].concepts) for seed in range(10)}
    assert len(chosen) > 5


def test_validation_rows_of_several_subjects_are_kept_apart(study):
    trials = inter_subject(study, "sub-03", "train")
    training, validation = validation_split(trials, 3)
    assert sorted(set(validation.subjects)) == ["sub-01", "sub-02"]
    assert len(validation) == 6
    assert len(set(validation.images)) == 3
    assert len(training) == 2 * 14


def test_a_validation_split_that_cannot_be_made_says_why(study):
    trials = intra_subject(study, "sub-01", "train")
    for arguments, words in (
        ({"n_concepts": 1}, "1 of 10 training concepts"),
        ({"n_concepts": 9}, "9 of 10 training concepts"),
        ({"fraction": 0.04}, "0 of 10 training concepts"),
        ({"fraction": 1.5}, "expected a number between 0 and 1"),
        ({}, "give one"),
        ({"n_concepts": 3, "fraction": 0.3}, "give one"),
    ):
        with pytest.raises(InputError, match=words):
            validation_split(trials, **arguments)


def test_the_same_seed_chooses_the_same_repetitions(study):
    options = {"repetitions": 1, "seed": 4}
    one, two = (inter_subject(study, "sub-01", "train", **options) for _ in range(2))
    np.testing.assert_array_equal(one.signals, two.signals)
    other = inter_subject(study, "sub-01", "train", **(options | {"seed": 5}))
    assert (one.signals != other.signals).any()
    assert dataclasses.replace(one).repetitions.tolist() == [1] * 40
