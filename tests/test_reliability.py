"""Reliability and its relatives against closed forms, slow loops, other libraries and invariances."""

import numpy as np
import pytest
from scipy import stats

from ubp.reliability import (
    ROUNDING,
    explainable_variance,
    noise_ceiling,
    signal_variability,
    spearman_brown,
    split_half,
    trial_variability,
    variances,
)

MEASURES = (explainable_variance, noise_ceiling, trial_variability)


def draw(counts, signal, noise, shape=(2, 3), seed=0, offset=5.0):
    """Trials of images with that many repetitions each: variance over images `signal`, over trials `noise`."""
    random = np.random.default_rng(seed)
    image = np.repeat(np.arange(len(counts)), counts)
    means = np.sqrt(signal) * random.standard_normal((len(counts), *shape))
    trials = offset + means[image] + np.sqrt(noise) * random.standard_normal((len(image), *shape))
    mixed = random.permutation(len(image))
    return trials[mixed].astype(np.float32), image[mixed]


def in_blocks(signals, image, n_images):
    """The same trials, so many images a block."""
    for start in range(0, image.max() + 1, n_images):
        some = (image >= start) & (image < start + n_images)
        yield signals[some], image[some]


def slow_split_half(signals, image, n_splits, seed):
    """One channel at a time, one image at a time."""
    flat = signals.reshape(len(signals), -1).astype(float)
    result = np.zeros(flat.shape[1])
    keys = {i: np.random.default_rng([seed, i]).random((n_splits, (image == i).sum())) for i in np.unique(image)}
    for split in range(n_splits):
        halves = []
        for i in np.unique(image):
            trials = flat[np.flatnonzero(image == i)[np.argsort(keys[i][split])]]
            if len(trials) > 1:
                halves.append((trials[: len(trials) // 2].mean(axis=0), trials[len(trials) // 2 :].mean(axis=0)))
        first, second = np.array(halves).transpose(1, 0, 2)
        for channel in range(flat.shape[1]):
            result[channel] += stats.pearsonr(first[:, channel], second[:, channel]).statistic / n_splits
    return result.reshape(signals.shape[1:])


UNEVEN = [1, 2, 3, 6, 7, 8, 9, 10, 2, 1, 4, 5] * 3


@pytest.mark.parametrize("n_images", [1, 5, 1000])
def test_split_half_equals_a_slow_loop_whatever_the_blocks(n_images):
    signals, image = draw(UNEVEN, 1.0, 2.0)
    expected = slow_split_half(signals, image, 4, 3)
    np.testing.assert_allclose(split_half(in_blocks(signals, image, n_images), 4, 3), expected, atol=1e-10)


@pytest.mark.parametrize(("n_trials", "noise"), [(2, 1.0), (4, 6.0), (9, 3.0), (10, 0.25)])
def test_halves_reliability_and_variances_are_as_expected(n_trials, noise):
    """r = s / (s + 2n/k) and its correction s / (s + n/k), within four standard errors of a correlation."""
    n_images = 3000
    blocks = [draw([n_trials] * n_images, 2.0, noise, shape=(8,))]
    small, large = n_trials // 2, n_trials - n_trials // 2
    expected = 2.0 / np.sqrt((2.0 + noise / small) * (2.0 + noise / large))
    halves = split_half(blocks, 5)
    assert np.abs(halves - expected).max() < 4 / np.sqrt(n_images)
    whole = 2.0 / (2.0 + noise / n_trials)
    found = variances(blocks)
    if n_trials % 2 == 0:
        assert spearman_brown(halves) == pytest.approx(whole, abs=4 / np.sqrt(n_images))
        assert spearman_brown(halves) == pytest.approx(explainable_variance(found), abs=0.02)
    assert explainable_variance(found) == pytest.approx(whole, abs=4 / np.sqrt(n_images))
    assert noise_ceiling(found) == pytest.approx(np.sqrt(whole), abs=4 / np.sqrt(n_images))
    assert trial_variability(found) == pytest.approx(np.sqrt(noise / (noise + 2.0)), abs=4 / np.sqrt(n_images))


def test_uneven_trials_bias_nothing():
    found = variances([draw([6, 7, 8, 9, 10, 1] * 700, 1.0, 4.0, shape=(10,))])
    assert found.trial.mean() == pytest.approx(4.0, rel=0.02)
    assert found.image.mean() == pytest.approx(1.0, rel=0.03)


def test_the_ceiling_is_what_the_true_means_reach():
    random = np.random.default_rng(0)
    truth = random.standard_normal(4000)
    image = np.repeat(np.arange(4000), 3)
    signals = (truth[image] + 1.5 * random.standard_normal(len(image)))[:, None]
    means = signals[:, 0].reshape(-1, 3).mean(axis=1)
    reached = np.corrcoef(truth, means)[0, 1]
    assert noise_ceiling(variances([(signals, image)]))[0] == pytest.approx(reached, abs=0.02)


@pytest.mark.parametrize("n_images", [1, 7, 1000])
def test_variances_equal_numpy_and_anova(n_images):
    signals, image = draw(UNEVEN, 1.0, 2.0)
    found = variances(in_blocks(signals, image, n_images))
    groups = [signals[image == i].astype(float) for i in range(len(UNEVEN))]
    means = np.array([group.mean(axis=0) for group in groups])
    assert (found.n_images, found.n_trials) == (len(UNEVEN), sum(UNEVEN))
    np.testing.assert_allclose(found.mean, signals.astype(float).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.of_means, means.var(axis=0, ddof=1), rtol=1e-10)
    pooled = sum((len(g) - 1) * g.var(axis=0, ddof=1) for g in groups if len(g) > 1) / (sum(UNEVEN) - len(UNEVEN))
    np.testing.assert_allclose(found.trial, pooled, rtol=1e-10)
    np.testing.assert_allclose(found.image, found.of_means - pooled * np.mean(1 / np.array(UNEVEN)), atol=1e-10)


def test_of_even_trials_the_explained_share_is_that_of_the_f_test():
    signals, image = draw([4] * 30, 1.0, 2.0, shape=(5,))
    f = stats.f_oneway(*(signals[image == i].astype(float) for i in range(30))).statistic
    np.testing.assert_allclose(explainable_variance(variances([(signals, image)])), 1 - 1 / f, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-13, 3.0, 1e6])
def test_a_channel_may_have_any_unit(scale):
    signals, image = draw(UNEVEN, 1.0, 2.0)
    signals = signals.astype(float)
    scaled = [(signals * scale, image)]
    np.testing.assert_allclose(split_half(scaled), split_half([(signals, image)]), atol=1e-9)
    for measure in MEASURES:
        np.testing.assert_allclose(measure(variances(scaled)), measure(variances([(signals, image)])), atol=1e-9)


def test_order_of_trials_and_names_of_images_do_not_matter_to_variances():
    signals, image = draw(UNEVEN, 1.0, 2.0)
    mixed = np.random.default_rng(1).permutation(len(image))
    a, b = variances([(signals, image)]), variances([(signals[mixed], 1000 - image[mixed])])
    for name in ("mean", "trial", "of_means", "image"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-10)


def test_the_same_seed_gives_the_same_and_another_another():
    blocks = [draw(UNEVEN, 1.0, 2.0)]
    assert np.array_equal(split_half(blocks, seed=1), split_half(blocks, seed=1))
    assert not np.array_equal(split_half(blocks, seed=1), split_half(blocks, seed=2))


def test_a_constant_channel_has_no_reliability():
    """Also one that the thirds of a mean round differently."""
    signals, image = draw([2, 3, 5] * 20, 1.0, 1.0, shape=(4,))
    signals[:, 1] = 0
    signals[:, 2] = 0.1
    halves, found = split_half([(signals, image)]), variances([(signals, image)])
    assert np.isnan(halves).tolist() == [False, True, True, False]
    assert found.trial[1:3].tolist() == found.image[1:3].tolist() == [0.0, 0.0]
    for measure in MEASURES:
        assert np.isnan(measure(found)).tolist() == [False, True, True, False]


def test_a_small_spread_on_a_large_mean_is_kept():
    signals, image = draw([4] * 50, 1.0, 1.0, shape=(2,), offset=0.01 / ROUNDING)
    assert np.isfinite(split_half([(signals, image)])).all()


def test_trials_all_alike_have_a_ceiling_of_one_and_no_variability():
    image = np.repeat(np.arange(10), 3)
    signals = (image**2.0)[:, None]
    found = variances([(signals, image)])
    assert split_half([(signals, image)]) == pytest.approx(1)
    assert noise_ceiling(found) == pytest.approx(1)
    assert trial_variability(found) == pytest.approx(0)


def test_images_all_alike_have_no_ceiling_and_full_variability():
    signals, image = draw([4] * 2000, 0.0, 1.0, shape=(30,))
    found = variances([(signals, image)])
    assert np.abs(split_half([(signals, image)])).max() < 0.1
    assert explainable_variance(found).mean() == pytest.approx(0, abs=0.02)  # three standard errors
    assert (noise_ceiling(found) >= 0).all()
    assert trial_variability(found).mean() > 0.99
    assert (trial_variability(found) <= 1).all()


def test_single_trials_say_nothing_about_noise():
    signals, image = draw([1] * 20, 1.0, 1.0)
    found = variances([(signals, image)])
    assert np.isnan(split_half([(signals, image)])).all()
    assert np.isfinite(found.of_means).all()
    for measure in MEASURES:
        assert np.isnan(measure(found)).all()


@pytest.mark.parametrize(("counts", "finite"), [([2, 2], False), ([2, 1, 1, 2], False), ([2, 2, 2], True)])
def test_halves_of_three_images_are_the_fewest(counts, finite):
    assert np.isfinite(split_half([draw(counts, 1.0, 1.0)])).all() == finite


def test_no_trial_is_refused():
    with pytest.raises(ValueError, match="no trial"):
        variances([])
    assert np.isnan(split_half([]))


@pytest.mark.parametrize(("r", "whole"), [(0.0, 0.0), (0.5, 2 / 3), (1.0, 1.0), (-0.5, -2 / 3), (-1.0, -1.0)])
def test_spearman_brown(r, whole):
    assert spearman_brown(np.array(r)) == pytest.approx(whole)


def test_signal_variability_is_the_mean_of_the_square_root_of_the_share_of_trials():
    signals, image = draw([3] * 40, signal=1.0, noise=2.0, shape=(3, 4))
    values = np.empty((3, 4))
    for channel, time in np.ndindex(values.shape):
        x = signals[:, channel, time].astype(float)
        groups = [x[image == i] for i in range(40)]
        within = sum(((group - group.mean()) ** 2).sum() for group in groups) / (len(x) - 40)
        between = max(0.0, np.var([group.mean() for group in groups], ddof=1) - within / 3)
        values[channel, time] = np.sqrt(within / (within + between))
    found = variances([(signals, image)])
    assert signal_variability(found) == pytest.approx(values.mean())
    assert signal_variability(found, np.array([2, 0])) == pytest.approx(values[[2, 0]].mean())
    assert signal_variability(variances([(1000 * signals, image)])) == pytest.approx(values.mean(), rel=1e-4)
    signals[:, 1] = 7  # a constant channel has no part
    assert signal_variability(variances([(signals, image)])) == pytest.approx(values[[0, 2]].mean())
    with pytest.raises(ValueError, match="repeated trials"):
        signal_variability(variances([(signals[:5], np.arange(5))]))


def test_signal_variability_rises_with_noise_and_not_with_repetitions():
    one, more, noisy = (
        signal_variability(variances([draw([n] * 400, 1.0, noise)])) for n, noise in ((2, 1.0), (8, 1.0), (2, 4.0))
    )
    assert one == pytest.approx(np.sqrt(0.5), abs=0.02)
    assert more == pytest.approx(one, abs=0.02)
    assert noisy == pytest.approx(np.sqrt(0.8), abs=0.02)
