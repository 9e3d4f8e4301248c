import math

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from ubp.conformal import (
    COVERAGES,
    allowed_misses,
    expected_calibration_error,
    fit_temperature,
    log_ratio,
    negative_log_likelihood,
    probabilities,
    reliability,
    threshold,
)


def gaussian(n, n_reference, mu, random):
    """Similarities whose likelihood ratio is known: others N(0, 1), the seen image N(mu, 1), so T is 1 / mu."""
    return random.normal(mu, 1, n), random.normal(0, 1, (n, n_reference))


@pytest.mark.parametrize("coverage", COVERAGES)
@pytest.mark.parametrize("n", [19, 30, 59])
def test_the_threshold_covers_as_often_as_counting_ranks_says(n, coverage):
    random = np.random.default_rng(0)
    scores = random.normal(size=(20_000, n + 1))
    covered = sum(new >= threshold(some, coverage) for *some, new in scores)
    expected = 1 - math.floor((1 - coverage) * (n + 1) + 1e-9) / (n + 1)
    assert coverage <= expected < coverage + 1 / (n + 1)
    assert binomtest(int(covered), len(scores), expected).pvalue > 1e-3


def test_the_threshold_is_the_largest_that_keeps_enough_of_the_scores():
    scores = np.random.default_rng(0).permutation(np.arange(59.0))
    assert {coverage: threshold(scores, coverage) for coverage in COVERAGES} == {0.8: 11, 0.9: 5, 0.95: 2}
    for coverage in COVERAGES:
        kept = [value for value in scores if (scores >= value).sum() >= coverage * 60]
        assert threshold(scores, coverage) == max(kept)


def test_too_few_scores_promise_nothing_but_the_whole_gallery():
    scores = np.arange(18.0)
    assert threshold(scores, 0.95) == -math.inf
    assert threshold(np.arange(19.0), 0.95) == 0
    assert [allowed_misses(n, 0.9) for n in (8, 9, 19)] == [0, 1, 2]


def test_equal_scores_all_stay_in():
    scores = np.array([0.0, 0, 0, 0, 1])
    assert threshold(scores, 0.5) == 0


@pytest.mark.parametrize("mu", [1.5, 3.0])
def test_the_temperature_is_that_of_a_known_likelihood_ratio(mu):
    matched, others = gaussian(20_000, 60, mu, np.random.default_rng(1))
    assert fit_temperature(matched, others, np.ones(others.shape, bool)) == pytest.approx(1 / mu, rel=0.03)


def test_with_one_rival_the_temperature_is_that_of_logistic_regression():
    matched, others = gaussian(400, 1, 1.0, np.random.default_rng(2))
    difference = matched - others[:, 0]
    table, seen = np.concatenate([difference, -difference])[:, None], np.repeat([1, 0], len(difference))
    fitted = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(table, seen)
    temperature = fit_temperature(matched, others, np.ones(others.shape, bool))
    assert temperature == pytest.approx(1 / fitted.coef_[0, 0], rel=1e-4)


def test_the_temperature_follows_the_scale_and_ignores_what_is_masked():
    matched, others = gaussian(50, 20, 2.0, np.random.default_rng(3))
    mask = np.random.default_rng(4).random(others.shape) < 0.7
    found = fit_temperature(matched, others, mask)
    assert fit_temperature(7 * matched, 7 * others, mask) == pytest.approx(7 * found, rel=1e-4)
    assert fit_temperature(matched, np.where(mask, others, 1e3), mask) == pytest.approx(found)
    worse = [negative_log_likelihood(matched, others, mask, found * factor) for factor in (0.9, 1.1)]
    assert negative_log_likelihood(matched, others, mask, found) < min(worse)


def test_the_likelihood_is_that_of_a_slow_softmax():
    matched, others = gaussian(5, 4, 1.0, np.random.default_rng(5))
    mask = np.array([[True, True, False, True]] * 5)
    slow = [
        -math.log(softmax([one / 0.7, *(value / 0.7 for value, kept in zip(row, some, strict=True) if kept)])[0])
        for one, row, some in zip(matched, others, mask, strict=True)
    ]
    assert negative_log_likelihood(matched, others, mask, 0.7) == pytest.approx(np.mean(slow))


def test_log_ratio_of_a_slow_loop_and_of_extreme_similarities():
    random = np.random.default_rng(6)
    similarity, reference = random.normal(size=(3, 4)), random.normal(size=(3, 5))
    slow = [[s / 2 - math.log(np.mean([math.exp(r / 2) for r in row])) for s in some]
            for some, row in zip(similarity, reference, strict=True)]  # fmt: skip
    assert log_ratio(similarity, reference, 2.0) == pytest.approx(np.array(slow))
    assert np.isfinite(log_ratio(1e4 * similarity, 1e4 * reference, 1e-3)).all()


def test_a_pair_has_one_score_in_every_gallery():
    random = np.random.default_rng(7)
    similarity, reference = random.normal(size=(3, 200)), random.normal(size=(3, 30))
    large, small = (log_ratio(part, reference, 0.5) for part in (similarity, similarity[:, :20]))
    assert np.array_equal(large[:, :20], small)


def test_sets_cover_in_galleries_of_any_size_when_pairs_are_exchangeable():
    """Calibrated once on 59 pairs, tested among 5, 50 and 500 images; a share of softmax would not carry over."""
    random = np.random.default_rng(8)
    covered = {(n, coverage): 0 for n in (5, 50, 500) for coverage in COVERAGES}
    sizes = dict.fromkeys(covered, 0.0)
    repeats, queries = 150, 10
    for _ in range(repeats):
        scores = log_ratio(random.normal(2, 1, (59, 1)), random.normal(size=(59, 30)), 0.5)[:, 0]
        for n in (5, 50, 500):
            similarity = random.normal(size=(queries, n))
            similarity[:, 0] += 2
            ratio = log_ratio(similarity, random.normal(size=(queries, 30)), 0.5)
            for coverage in COVERAGES:
                members = ratio >= threshold(scores, coverage)
                covered[n, coverage] += members[:, 0].sum()
                sizes[n, coverage] += members.sum(axis=1).mean() / repeats
    for (n, coverage), count in covered.items():
        spread = math.sqrt(coverage * (1 - coverage) * (1 / (repeats * queries) + 1 / (repeats * 60)))
        assert count / (repeats * queries) == pytest.approx(coverage, abs=3.5 * spread), (n, coverage)
    for coverage in COVERAGES:  # others enter at one rate, so the set grows with the gallery
        rates = [(sizes[n, coverage] - coverage) / (n - 1) for n in (50, 500)]
        assert rates[0] == pytest.approx(rates[1], rel=0.15)


def test_probabilities_are_a_softmax():
    similarity = np.random.default_rng(9).normal(size=(4, 7)) * 50
    assert probabilities(similarity, 3.0) == pytest.approx(softmax(similarity / 3.0, axis=1))
    assert probabilities(np.array([[1e5, 0.0]]), 1e-3).tolist() == [[1, 0]]


def slow_error(confidence, hit, n_bins):
    total = 0.0
    for b in range(n_bins):
        inside = [
            i for i, c in enumerate(confidence) if b / n_bins <= c < (b + 1) / n_bins or (b == n_bins - 1 and c == 1)
        ]
        if inside:
            stated, found = np.mean([confidence[i] for i in inside]), np.mean([hit[i] for i in inside])
            total += len(inside) / len(hit) * abs(stated - found)
    return total


def test_calibration_error_against_a_loop_and_scikit_learn():
    random = np.random.default_rng(10)
    confidence = np.append(random.random(500), [0.0, 1.0])
    hit = random.random(502) < confidence**2
    assert expected_calibration_error(confidence, hit) == pytest.approx(slow_error(confidence, hit, 10))
    found, stated = calibration_curve(hit, confidence, n_bins=10)
    assert reliability(confidence, hit)[:, 1:] == pytest.approx(np.stack([stated, found], axis=1))
    assert expected_calibration_error(np.array([0.25, 0.75]), np.array([0, 1])) == pytest.approx(0.25)
    assert np.isnan(reliability(np.array([0.55]), np.array([1]))[0, 1:]).all()
