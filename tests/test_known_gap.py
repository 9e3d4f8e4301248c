"""The method on small simulated studies whose gaps are known; the full measurement is benchmarks/known_gap.py."""

from dataclasses import replace

import pytest

from known_gap import best_width, difference, fixed, measure
from ubp.demo import OPTIONS, SIMULATION
from ubp.presets import preset

SMALL = replace(SIMULATION, n_concepts=100, n_test=80, true_width=25, width_step=12)
SHORT = replace(OPTIONS, epochs=12)
SEEDS = (0, 1)


def test_with_the_gaps_the_true_blur_beats_the_crisp_image(tmp_path):
    results = measure(tmp_path, SMALL, [fixed(1), fixed(25)], SEEDS, SHORT)
    gain, low, _ = difference(results, "width 25", "width 1")
    assert gain > 0.05
    assert low > 0
    assert best_width(results) == 25


def test_without_gaps_the_crisp_image_is_best(tmp_path):
    simulation = replace(SMALL, n_test=200, system_gap=False, random_gap=False)
    results = measure(tmp_path, simulation, [fixed(1), fixed(25)], (*SEEDS, 2), SHORT)
    loss, _, high = difference(results, "width 25", "width 1")
    assert loss < -0.02
    assert high < 0
    assert best_width(results) == 1


def test_with_shuffled_pairs_the_interval_covers_chance(tmp_path):
    ubp = preset("ubp", SMALL.true_width, SMALL.width_step)
    results = measure(tmp_path, SMALL, [ubp], SEEDS, replace(SHORT, shuffle_pairs=True))
    row = results.summary().iloc[0]
    assert row["top1_chance"] == pytest.approx(1 / 80)
    assert row["top1_low"] <= row["top1_chance"] <= row["top1_high"]
    assert row["mean_percentile_rank"] == pytest.approx(0.5, abs=0.07)
