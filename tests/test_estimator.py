"""The scikit-learn face: its contract, and its scores against loops that anybody can read."""

import pickle
import re

import numpy as np
import pytest
from mne.decoding import GeneralizingEstimator, SlidingEstimator, cross_val_multiscore
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score, cross_validate
from sklearn.utils.estimator_checks import parametrize_with_checks

from ubp.commands.images import build_store
from ubp.config import Common, TrainOptions
from ubp.errors import InputError
from ubp.estimator import BrainImageRetriever
from ubp.experiment import train
from ubp.job import Job
from ubp.metrics import cosine_similarity, mean_reciprocal_rank, ranks, unit
from ubp.model import Model
from ubp.presets import preset
from ubp.retrieval_scores import RetrievalScorer

N_IMAGES, N_CHANNELS, N_TIMES, EMBED_DIM = 36, 5, 4, 6
QUICK = {"epochs": 3, "batch_size": 12, "learning_rate": 1e-2, "device": "cpu"}


@pytest.fixture(scope="module")
def data():
    """Two trials of every image, two images of every concept; the signal grows over time."""
    random = np.random.default_rng(0)
    features = random.standard_normal((N_IMAGES, EMBED_DIM))
    image = np.repeat(np.arange(N_IMAGES), 2)
    signals = np.einsum("ne,ect->nct", features[image], random.standard_normal((EMBED_DIM, N_CHANNELS, N_TIMES)))
    signals = signals * np.arange(N_TIMES) / N_TIMES + random.standard_normal(signals.shape)
    return signals, features, image, image // 2


def slow_ridge(train_signals, train_features, signals, gallery, alpha):
    """Similarities of ridge regression, from the normal equations."""
    mean, deviation = train_signals.mean(axis=0), train_signals.std(axis=0)
    scaled, centre = (train_signals - mean) / deviation, train_features.mean(axis=0)
    weights = np.linalg.solve(scaled.T @ scaled + alpha * np.eye(scaled.shape[1]), scaled.T @ (train_features - centre))
    predicted = (signals - mean) / deviation @ weights
    return [[p @ (g - centre) / np.linalg.norm(p) / np.linalg.norm(g - centre) for g in gallery] for p in predicted]


def slow_score(similarity, target, metric):
    """Score by sorting, one query after the other."""
    scores = []
    for row, seen in zip(similarity, target, strict=True):
        place = sorted(row, reverse=True).index(row[seen]) + 1
        scores.append({"top1": place <= 1, "top5": place <= 5, "mean_reciprocal_rank": 1 / place}[metric])
    return np.mean(scores)


def slow_fold(signals, features, image, fit, held, alpha=10.0, metric="top1"):
    """Score of one fold: the held-out images are the gallery."""
    directions = features / np.linalg.norm(features, axis=1, keepdims=True)
    flat = signals.reshape(len(signals), -1)
    gallery = sorted(set(image[held]))
    similarity = slow_ridge(flat[fit], directions[image[fit]], flat[held], directions[gallery], alpha)
    return slow_score(similarity, [gallery.index(seen) for seen in image[held]], metric)


@parametrize_with_checks([BrainImageRetriever("ridge"), BrainImageRetriever(epochs=1, device="cpu")])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("metric", ["top1", "top5", "mean_reciprocal_rank"])
def test_cross_validation_over_concepts_equals_the_normal_equations(data, metric):
    signals, features, image, concept = data
    folds = GroupKFold(3)
    retriever = BrainImageRetriever("ridge", ridge_alphas=(10.0,), metric=metric)
    found = cross_val_score(retriever, signals, features[image], groups=concept, cv=folds)
    expected = [
        slow_fold(signals, features, image, fit, held, metric=metric)
        for fit, held in folds.split(signals, groups=concept)
    ]
    assert found == pytest.approx(expected)
    assert min(found) > retriever.chance(features[: N_IMAGES // 3])
    by_row = clone(retriever).set_params(image_features=features)
    assert cross_val_score(by_row, signals, image, groups=concept, cv=folds) == pytest.approx(expected)


def test_grid_search_equals_a_loop_over_penalties_and_folds(data):
    signals, features, image, concept = data
    folds, alphas = GroupKFold(3), [(0.1,), (100.0,), (1e5,)]
    scoring = {name: RetrievalScorer(name) for name in ("top5", "mean_reciprocal_rank")}
    search = GridSearchCV(
        BrainImageRetriever("ridge"), {"ridge_alphas": alphas}, cv=folds, scoring=scoring, refit="top5"
    ).fit(signals, features[image], groups=concept)
    for metric in scoring:
        expected = [
            np.mean(
                [
                    slow_fold(signals, features, image, fit, held, alpha, metric)
                    for fit, held in folds.split(signals, groups=concept)
                ]
            )
            for (alpha,) in alphas
        ]
        assert search.cv_results_[f"mean_test_{metric}"] == pytest.approx(expected)
    best = search.best_estimator_
    assert best.ridge_alphas == alphas[int(np.argmax(search.cv_results_["mean_test_top5"]))]


def test_accuracy_over_time_equals_a_loop_over_samples(data):
    signals, features, image, concept = data
    folds = GroupKFold(3)
    retriever = BrainImageRetriever("ridge", image_features=features, ridge_alphas=(10.0,))
    sliding = SlidingEstimator(retriever, verbose="error")
    found = cross_val_multiscore(sliding, signals, image, groups=concept, cv=folds)
    expected = [
        [slow_fold(signals[:, :, [t]], features, image, fit, held) for t in range(N_TIMES)]
        for fit, held in folds.split(signals, groups=concept)
    ]
    assert found == pytest.approx(np.array(expected))
    assert found[:, -1].mean() > found[:, 0].mean() + 0.1
    assert sliding.fit(signals, image).predict(signals).shape == (len(signals), N_TIMES, EMBED_DIM)


def test_generalisation_over_time_equals_two_loops(data):
    signals, features, image, concept = data
    fit, held = next(GroupKFold(3).split(signals, groups=concept))
    retriever = BrainImageRetriever("ridge", image_features=features, ridge_alphas=(10.0,))
    every = GeneralizingEstimator(retriever, verbose="error").fit(signals[fit], image[fit])
    directions = unit(features).astype(float)
    gallery = sorted(set(image[held]))
    target = [gallery.index(seen) for seen in image[held]]
    expected = [
        [
            slow_score(
                slow_ridge(
                    signals[fit][:, :, t], directions[image[fit]], signals[held][:, :, s], directions[gallery], 10.0
                ),
                target,
                "top1",
            )
            for s in range(N_TIMES)
        ]
        for t in range(N_TIMES)
    ]
    assert every.score(signals[held], image[held]) == pytest.approx(np.array(expected))


@pytest.mark.parametrize(("name", "validation"), [("ubp", 0), ("official", 0), ("vanilla", 10)])
def test_it_is_the_model_that_ubp_train_gives_bit_for_bit(tiny, tmp_path, name, validation):
    options = TrainOptions(epochs=3, batch_size=20, learning_rate=1e-3, validation_concepts=validation)
    job = Job("sub-01", preset(name, 13), options, seed=4)
    store = build_store(tiny, "gabor", job.preset.ladder, Common(store=tmp_path / "features", quiet=True))
    model = Model.load(train(tiny, store, job, tmp_path / "runs"))
    trials, test = (job.trials(tiny, split) for split in ("train", "test"))
    y = store.ladder(job.preset.ladder, trials.images).numpy().swapaxes(0, 1)
    retriever = BrainImageRetriever(
        preset=name,
        epochs=3,
        batch_size=20,
        learning_rate=1e-3,
        validation_concepts=validation,
        random_state=4,
        device="cpu",
    ).fit(trials.signals, y if y.shape[1] > 1 else y[:, 0], concepts=trials.concepts)
    assert np.array_equal(retriever.predict(test.signals), unit(model.embed(test.signals)))
    assert retriever.history_ == [pytest.approx(row) for row in model.history]
    gallery = store.vectors(job.preset.base, sorted(set(test.images)))
    target = np.array([sorted(set(test.images)).index(image) for image in test.images])
    rank = ranks(cosine_similarity(model.embed(test.signals), gallery), target)
    y_test = store.ladder(job.preset.ladder, test.images).numpy().swapaxes(0, 1)
    assert np.array_equal(retriever.rank(test.signals, y_test if y.shape[1] > 1 else y_test[:, 0]), rank)
    assert retriever.score(test.signals, store.vectors(job.preset.base, test.images), "mean_reciprocal_rank") == (
        pytest.approx(mean_reciprocal_rank(rank))
    )
    assert set(retriever.prior_) == set(model.prior)
    for what, state in model.prior.items():
        assert np.array_equal(retriever.prior_[what], state)


def test_every_form_of_y_gives_the_same(data):
    signals, features, image, _ = data
    ladder = np.stack([features, 2 * features, features + 0.1])
    same = [
        BrainImageRetriever(**QUICK).fit(signals, features[image]),
        BrainImageRetriever(**QUICK, image_features=features).fit(signals, image),
        BrainImageRetriever(**QUICK, image_features=features).fit(signals, image.astype(float)),
        BrainImageRetriever(**QUICK, image_features=features[None]).fit(signals, image),
        BrainImageRetriever(**QUICK).fit(signals, features[image][:, None]),
    ]
    first = same[0].predict(signals)
    assert all(np.array_equal(other.predict(signals), first) for other in same[1:])
    three = [
        BrainImageRetriever(**QUICK).fit(signals, ladder.swapaxes(0, 1)[image]),
        BrainImageRetriever(**QUICK, image_features=ladder).fit(signals, image),
    ]
    assert np.array_equal(three[0].predict(signals), three[1].predict(signals))
    assert {name: len(state) for name, state in three[0].prior_.items()} == {
        "similarity": len(signals),
        "level": len(signals),
        "interval": 2,
    }
    assert three[0].score(signals, ladder.swapaxes(0, 1)[image]) == three[1].score(signals, image)
    assert three[0].score(signals, features[image]) == three[1].score(signals, image)


def test_one_sample_of_each_channel_may_be_two_dimensional(data):
    signals, features, image, _ = data
    flat = BrainImageRetriever(**QUICK).fit(signals[:, :, 0], features[image])
    deep = BrainImageRetriever(**QUICK).fit(signals[:, :, :1], features[image])
    assert (flat.n_features_in_, flat.n_times_, deep.n_features_in_, deep.n_times_) == (5, None, 5, 1)
    assert np.array_equal(flat.predict(signals[:, :, 0]), deep.predict(signals[:, :, :1]))


def test_every_image_counts_the_same_and_ties_hit_nothing(data):
    signals, features, image, _ = data
    retriever = BrainImageRetriever("ridge").fit(signals, features[image])
    rows = np.concatenate([np.arange(4), [0] * 9])
    hits = retriever.rank(signals[rows], features[image[rows]]) == 1
    by_hand = np.mean([hits[image[rows] == seen].mean() for seen in sorted(set(image[rows]))])
    assert retriever.score(signals[rows], features[image[rows]]) == pytest.approx(by_hand)
    constant = BrainImageRetriever("ridge").fit(np.zeros_like(signals), features[image])
    assert (constant.rank(signals, features[image]) == (N_IMAGES + 1) / 2).all()
    assert constant.score(signals, features[image]) == 0
    assert constant.chance(features[image], "top5") == pytest.approx(5 / N_IMAGES)


def test_retrieve_gives_the_rows_of_the_most_similar_images(data):
    signals, features, image, _ = data
    retriever = BrainImageRetriever("ridge", image_features=features).fit(signals, image)
    similarity = retriever.similarity(signals, features)
    found = retriever.retrieve(signals, top=3)
    assert found.shape == (len(signals), 3)
    for row, best in zip(similarity, found, strict=True):
        assert best.tolist() == sorted(range(N_IMAGES), key=lambda place: -row[place])[:3]
    assert np.array_equal(retriever.retrieve(signals, features[:9])[:, 0], similarity[:, :9].argmax(axis=1))


def test_averaging_trains_on_the_mean_of_an_images_trials(data):
    signals, features, image, _ = data
    averaged = BrainImageRetriever(**QUICK, average_training=True).fit(signals, features[image])
    means = np.stack([signals[image == row].mean(axis=0) for row in dict.fromkeys(image)])
    by_hand = BrainImageRetriever(**QUICK).fit(means, features[list(dict.fromkeys(image))])
    assert averaged.predict(signals) == pytest.approx(by_hand.predict(signals), abs=1e-4)


@pytest.mark.parametrize("brain_encoder", ["ridge", "eegproject"])
def test_it_can_be_cloned_pickled_and_repeated_and_leaves_its_input_alone(data, brain_encoder):
    signals, features, image, concept = data
    before = signals.astype(np.float32), features.copy(), image.copy()
    given = tuple(part.copy() for part in before)
    retriever = BrainImageRetriever(brain_encoder, **QUICK, image_features=given[1], random_state=3)
    retriever.fit(given[0], given[2], concepts=concept)
    assert all(np.array_equal(*pair) for pair in zip(before, given, strict=True))
    again = clone(retriever)
    assert again.image_features is given[1]
    assert again.get_params() == retriever.get_params()
    with pytest.raises(NotFittedError):
        again.predict(signals)
    predicted = retriever.predict(given[0])
    assert np.array_equal(again.fit(given[0], given[2], concepts=concept).predict(given[0]), predicted)
    assert np.array_equal(pickle.loads(pickle.dumps(retriever)).predict(given[0]), predicted)
    if brain_encoder != "ridge":
        assert not np.array_equal(again.set_params(random_state=4).fit(given[0], given[2]).predict(given[0]), predicted)
        drawn = [again.set_params(random_state=np.random.RandomState(5)).fit(given[0], given[2]) for _ in "ab"]
        assert np.array_equal(drawn[0].predict(given[0]), drawn[1].predict(given[0]))


def test_concepts_reach_the_folds_that_choose_the_penalty(data):
    signals, features, image, concept = data
    scores = cross_validate(
        BrainImageRetriever("ridge", image_features=features),
        signals,
        image,
        groups=concept,
        cv=GroupKFold(3),
        params={"concepts": concept},
        return_estimator=True,
    )
    for (fit, _), fitted in zip(GroupKFold(3).split(signals, groups=concept), scores["estimator"], strict=True):
        alone = BrainImageRetriever("ridge").fit(signals[fit], features[image[fit]], concepts=concept[fit])
        assert fitted.encoder_.alpha_ == alone.encoder_.alpha_


REFUSED = {
    "trials differ": (lambda s, f, i: BrainImageRetriever().fit(s[:9], f[i]), "inconsistent numbers of samples"),
    "concepts differ": (
        lambda s, f, i: BrainImageRetriever().fit(s, f[i], concepts=i[:9]),
        "inconsistent numbers of samples",
    ),
    "concepts by two": (
        lambda s, f, i: BrainImageRetriever().fit(s, f[i], concepts=np.stack([i, i], 1)),
        "concepts has shape (72, 2)",
    ),
    "NaN in X": (lambda s, f, i: BrainImageRetriever().fit(np.where(s > 2, np.nan, s), f[i]), "X contains NaN"),
    "NaN in y": (lambda s, f, i: BrainImageRetriever().fit(s, np.where(f > 2, np.nan, f)[i]), "y contains NaN"),
    "one trial": (lambda s, f, i: BrainImageRetriever().fit(s[:1], f[:1]), "minimum of 2 is required"),
    "four dimensions": (lambda s, f, i: BrainImageRetriever().fit(s[..., None], f[i]), "X has shape (72, 5, 4, 1)"),
    "rows without table": (lambda s, f, i: BrainImageRetriever().fit(s, i), "give image_features"),
    "features and table": (lambda s, f, i: BrainImageRetriever(image_features=f).fit(s, f[i]), "leave image_features"),
    "row outside": (lambda s, f, i: BrainImageRetriever(image_features=f[:9]).fit(s, i), "from 0 to 8"),
    "half a row": (lambda s, f, i: BrainImageRetriever(image_features=f).fit(s, i + 0.5), "whole numbers"),
    "two levels": (lambda s, f, i: BrainImageRetriever().fit(s, np.stack([f, f], 1)[i]), "three levels of blur"),
    "NaN in table": (lambda s, f, i: BrainImageRetriever(image_features=f * np.nan).fit(s, i), "finite numbers"),
    "preset of three": (lambda s, f, i: BrainImageRetriever(preset="ubp").fit(s, f[i]), "have 1 level and the preset"),
    "encoder": (lambda s, f, i: BrainImageRetriever("egproject").fit(s, f[i]), "did you mean 'eegproject'"),
    "window": (lambda s, f, i: BrainImageRetriever("tsconv").fit(s, f[i]), "needs at least 75"),
    "option": (lambda s, f, i: BrainImageRetriever(epochs=0).fit(s, f[i]), "epochs is 0"),
    "metric": (lambda s, f, i: BrainImageRetriever("ridge", metric="top").fit(s, f[i]), "top1"),
    "bravl": (lambda s, f, i: BrainImageRetriever("bravl", loss="bravl").fit(s, f[i]), "ubp train"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused(data, name):
    signals, features, image, _ = data
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        call(signals, features, image)
    assert not isinstance(error.value, InputError) or "\n" not in str(error.value)


def test_a_fitted_estimator_refuses_what_it_was_not_fitted_to(data):
    signals, features, image, _ = data
    retriever = BrainImageRetriever("ridge").fit(signals, features[image])
    for X, message in (
        (signals[:, :3], "3 features, but"),
        (signals[:, :, :2], "expected 4 samples"),
        (signals[:, :, 0], "expected 4 samples"),
    ):
        with pytest.raises(ValueError, match=message):
            retriever.predict(X)
    with pytest.raises(InputError, match="expected 6, as in fitting"):
        retriever.score(signals, features[image][:, :3])
    with pytest.raises(ValueError, match="at least 2 to rank"):
        retriever.score(signals[:2], features[[0, 0]])
    with pytest.raises(InputError, match="'bank' mixes several blurs, and image features hold one vector a level"):
        BrainImageRetriever(preset="bank").fit(signals, features[image])
    with pytest.raises(InputError, match="give one, or image_features"):
        retriever.retrieve(signals)
    with pytest.raises(InputError, match="expected 1 to 36"):
        retriever.retrieve(signals, features, top=37)
    with pytest.raises(InputError, match="expected k from 1 to 2"):
        retriever.score(signals[[0, 2]], features[:2], metric="top3")
