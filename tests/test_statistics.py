import numpy as np
import pytest
from scipy.stats import bootstrap

from ubp.errors import InputError
from ubp.statistics import bootstrap_interval, grand_mean


def test_one_seed_equals_scipy_bootstrap_over_queries():
    values = np.random.default_rng(0).standard_normal((1, 300))
    scipy = bootstrap((values[0],), np.mean, n_resamples=10_000, method="percentile", rng=1).confidence_interval
    assert bootstrap_interval([values]) == pytest.approx((scipy.low, scipy.high), abs=0.006)


def test_interval_over_queries_equals_the_normal_approximation():
    hits = (np.arange(400) < 120).astype(float)[None]
    half = 1.96 * np.sqrt(0.3 * 0.7 / 400)
    assert bootstrap_interval([hits]) == pytest.approx((0.3 - half, 0.3 + half), abs=0.004)


def test_seeds_and_subjects_widen_the_interval():
    random = np.random.default_rng(1)
    same = random.standard_normal((1, 200)).repeat(4, axis=0)
    differing = same + np.array([[-1.0], [1.0], [-1.0], [1.0]])
    narrow, wide = bootstrap_interval([same]), bootstrap_interval([differing])
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])
    subjects = [same - 1, same + 1, same - 1, same + 1]
    fixed, drawn = bootstrap_interval(subjects, over_subjects=False), bootstrap_interval(subjects)
    assert drawn[1] - drawn[0] > 2 * (fixed[1] - fixed[0])


def test_coverage_over_subjects_seeds_and_queries():
    random = np.random.default_rng(2)
    inside = 0
    for trial in range(200):
        subjects = [random.normal(0.0, 0.5) + random.normal(0, 1, (1, 50)) for _ in range(12)]
        low, high = bootstrap_interval(subjects, n_resamples=600, seed=trial)
        inside += low <= 0 <= high
    assert inside >= 175  # 95 % minus what the percentile bootstrap of 12 subjects lacks


def test_subjects_who_saw_the_same_images_get_the_same_draw_of_them():
    hits = (np.random.default_rng(5).random((1, 200)) < 0.5).astype(float)
    alone = bootstrap_interval([hits])
    shared = bootstrap_interval([hits] * 8, queries=["same"] * 8)
    apart = bootstrap_interval([hits] * 8)
    assert shared == pytest.approx(alone, abs=0.01)
    assert apart[1] - apart[0] < 0.6 * (shared[1] - shared[0])


def test_interval_is_seeded_and_constant_scores_have_no_width():
    values = [np.random.default_rng(3).standard_normal((2, 40))]
    assert bootstrap_interval(values, seed=4) == bootstrap_interval(values, seed=4)
    assert bootstrap_interval([np.full((3, 20), 0.25)]) == pytest.approx((0.25, 0.25))
    assert grand_mean([np.zeros((2, 4)), np.ones((2, 8))]) == 0.5


@pytest.mark.parametrize("scores", [[], [np.zeros(3)], [np.zeros((0, 3))]])
def test_nothing_to_resample_is_refused(scores):
    with pytest.raises(InputError, match="one array of shape"):
        bootstrap_interval(scores)
