import itertools

import numpy as np
import pytest
from scipy.stats import binomtest, norm, permutation_test, ttest_1samp
from statsmodels.stats.multitest import multipletests

from ubp.paired import (
    EXACT_UP_TO,
    SIMULATED_UP_TO,
    cohen_d_z,
    detectable_difference,
    detectable_effect,
    hedges_g_z,
    holm,
    sign_flip_test,
    smallest_p,
)

TIED = [0.02, -0.01, 0.01, 0.03, -0.02, 0.01]


def brute_force(values):
    """Sign patterns one by one, in whole thousandths so that ties are ties."""
    units = [round(1000 * value) for value in values]
    sums = [
        abs(sum(s * v for s, v in zip(signs, units, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(units))
    ]
    return np.mean([total >= abs(sum(units)) for total in sums])


@pytest.mark.parametrize("values", [TIED, [0.05], [0.1, 0.1, 0.1], [0.3, -0.1, 0.0, 0.0], np.arange(-3, 7) / 100])
def test_sign_flips_equal_brute_force_with_ties_and_zeros(values):
    assert sign_flip_test(values) == brute_force(values)


@pytest.mark.parametrize("n", [2, 6, 11])
def test_sign_flips_equal_scipy(n):
    values = np.random.default_rng(n).normal(0.4, 1, n)
    scipy = permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip_test(values) == pytest.approx(scipy, rel=1e-12)


def test_hits_of_one_seed_give_the_exact_test_of_discordant_images():
    values = np.array([1.0] * 13 + [-1.0] * 4 + [0.0] * 183)
    assert sign_flip_test(values) == pytest.approx(binomtest(13, 17).pvalue, rel=1e-12)
    many = np.array([1.0] * 60 + [-1.0] * 38 + [0.0] * 102)
    assert sign_flip_test(many) == pytest.approx(binomtest(60, 98).pvalue, abs=0.002)


def test_random_flips_agree_with_the_t_test_and_are_seeded():
    values = np.random.default_rng(5).normal(0.15, 1, 200)
    assert sign_flip_test(values) == pytest.approx(ttest_1samp(values, 0).pvalue, abs=0.004)
    assert sign_flip_test(values, seed=3) == sign_flip_test(values, seed=3)
    assert sign_flip_test(values + 5) == pytest.approx(smallest_p(200)) == pytest.approx(1e-5, rel=1e-4)


def test_no_difference_gives_one_and_the_sign_does_not_matter():
    assert sign_flip_test(np.zeros(10)) == sign_flip_test([]) == 1
    assert sign_flip_test(TIED) == sign_flip_test(-np.array(TIED))
    assert sign_flip_test([0.1] * 8) == smallest_p(8) == 2 / 2**8
    assert sign_flip_test([0.1] * EXACT_UP_TO) == smallest_p(EXACT_UP_TO)


def slow_holm(p):
    """Step down: the i-th smallest is held against m - i + 1; its adjusted p is the level at which it is rejected."""
    adjusted = [0.0] * len(p)
    left, so_far = list(range(len(p))), 0.0
    while left:
        least = min(left, key=lambda index: p[index])
        so_far = max(so_far, min(1.0, len(left) * p[least]))
        adjusted[least] = so_far
        left.remove(least)
    return adjusted


@pytest.mark.parametrize(
    "p", [[0.01], [0.04, 0.01, 0.03], [0.02, 0.02, 0.02], [0.5, 0.9, 1.0], [0.001, 0.3, 0.011, 0.0]]
)
def test_holm_equals_the_slow_definition_and_statsmodels(p):
    np.testing.assert_allclose(holm(p), slow_holm(p))
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


def test_holm_of_none_is_none():
    assert len(holm([])) == 0


def test_holm_keeps_the_family_wise_error():
    random = np.random.default_rng(0)
    errors = [(holm(random.random(6)) <= 0.05).any() for _ in range(4000)]
    assert np.mean(errors) == pytest.approx(0.05, abs=0.012)


def test_effect_sizes():
    values = np.array([0.1, 0.2, 0.0, 0.3])
    assert cohen_d_z(values) == pytest.approx(values.mean() / np.std(values, ddof=1))
    # the correction for 4 degrees of freedom and more, from Hedges' table
    assert hedges_g_z(np.arange(5.0)) / cohen_d_z(np.arange(5.0)) == pytest.approx(0.7979, abs=1e-4)
    random = np.random.default_rng(1)
    drawn = [hedges_g_z(random.normal(0.7, 1, 6)) for _ in range(20_000)]
    assert np.mean(drawn) == pytest.approx(0.7, abs=0.015)


def test_effect_sizes_where_there_is_none():
    assert np.isnan(cohen_d_z([0.1]))
    assert np.isnan(hedges_g_z([0.1, 0.2]))
    assert np.isnan(cohen_d_z([0.0, 0.0, 0.0]))
    assert cohen_d_z([-0.1, -0.1, -0.1]) == -np.inf


def found(n, effect, alpha, repetitions=1500):
    random = np.random.default_rng(n)
    return np.mean([sign_flip_test(random.normal(effect, 1, n), n_flips=2000) <= alpha for _ in range(repetitions)])


@pytest.mark.parametrize(("n", "alpha"), [(6, 0.05), (8, 0.05 / 3), (10, 0.05), (14, 0.05 / 3)])
def test_the_detectable_difference_is_found_four_times_in_five(n, alpha):
    assert found(n, detectable_effect(n, alpha=alpha), alpha) == pytest.approx(0.8, abs=0.035)


def test_many_units_are_found_four_times_in_five():
    assert found(200, detectable_effect(200), 0.05, 400) == pytest.approx(0.8, abs=0.06)


def test_six_subjects_must_all_agree():
    # the only p of six below .05 is that of six equal signs: power = Phi(effect) ** 6
    assert detectable_effect(6) == pytest.approx(norm.ppf(0.8 ** (1 / 6)), abs=0.03)


def test_the_two_ways_to_the_detectable_effect_meet():
    below, above = detectable_effect(SIMULATED_UP_TO), detectable_effect(SIMULATED_UP_TO + 1)
    assert 1.01 < below / above < 1.08  # as sqrt(n) does, and a little more


def test_the_detectable_difference_is_in_the_unit_of_the_differences():
    values = np.random.default_rng(2).normal(0, 0.04, 10)
    assert detectable_difference(values) == pytest.approx(detectable_effect(10) * np.std(values, ddof=1))
    assert detectable_difference(100 * values) == pytest.approx(100 * detectable_difference(values))
    assert detectable_difference(values, alpha=0.005) > detectable_difference(values)
    assert detectable_difference(values, power=0.95) > detectable_difference(values)


def test_nothing_is_detectable_where_no_p_is_small_enough():
    assert detectable_difference([0.1, 0.2, 0.3, 0.1, 0.2]) == np.inf
    assert detectable_difference(np.arange(7.0), alpha=0.05 / 10) == np.inf
    assert np.isnan(detectable_difference([0.1]))
    assert detectable_difference(np.full(8, 0.3)) == 0
