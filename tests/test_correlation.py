"""Correlations against scipy, and bootstrap intervals against a plain loop."""

import itertools

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from ubp.correlation import KINDS, correlate

REFERENCE = {"pearson": pearsonr, "spearman": spearmanr}


def sample(n=9, seed=0, ties=False):
    random = np.random.default_rng(seed)
    x = random.normal(size=n)
    y = -0.7 * x + random.normal(size=n)
    return (x.round(0), y.round(0)) if ties else (x, y)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ties", [False, True])
def test_the_value_is_scipys(kind, ties):
    x, y = sample(ties=ties)
    found = correlate(x, y, kind)
    assert found.value == pytest.approx(REFERENCE[kind](x, y).statistic)
    assert found.low <= found.value <= found.high
    assert found.n == 9


@pytest.mark.parametrize("kind", KINDS)
def test_the_interval_is_that_of_all_resamples(kind):
    x, y = sample(n=5, seed=3)
    values = []
    for drawn in itertools.product(range(5), repeat=5):  # every resample there is, each as likely
        some = list(drawn)
        if len(set(some)) > 1:
            values.append(REFERENCE[kind](x[some], y[some]).statistic)
    found = correlate(x, y, kind, n_resamples=40_000)
    np.testing.assert_allclose([found.low, found.high], np.quantile(values, [0.025, 0.975]), atol=0.03)


def test_scale_and_place_do_not_matter_and_sign_does():
    x, y = sample()
    assert correlate(3 * x + 1, 0.1 * y - 5).value == pytest.approx(correlate(x, y).value)
    assert correlate(x, -y).value == pytest.approx(-correlate(x, y).value)
    assert correlate(x, np.exp(y), "spearman").value == pytest.approx(correlate(x, y, "spearman").value)
    assert correlate(x, 2 * x).value == pytest.approx(1)


def test_where_there_is_no_correlation():
    for x, y in (([1, 2], [3, 4]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [5, 5, 5])):
        found = correlate(x, y)
        assert np.isnan([found.value, found.low, found.high]).all()
        assert found.n == len(x)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (([1, 2, 3], [1, 2, 3], "kendall"), "unknown"),
        (([1, 2, 3], [1, 2]), "one length"),
        (([1, np.nan, 3], [1, 2, 3]), "finite"),
    ],
)
def test_what_cannot_be_is_refused(arguments, part):
    with pytest.raises(ValueError, match=part):
        correlate(*arguments)
