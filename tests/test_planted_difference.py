"""The benchmark of planted and absent differences, on studies small enough for the tests."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

import planted_difference as benchmark
from ubp.demo import OPTIONS

TINY = replace(
    benchmark.SMALL,
    n_subjects=6,
    n_concepts=40,
    images_per_concept=3,
    n_test=60,
    true_width=37,
    width_step=18,
    snr=0.5,
)
SHORT = replace(OPTIONS, epochs=6, batch_size=64)


def test_a_planted_difference_is_found_once_and_kept(tmp_path):
    design = replace(benchmark.DESIGNS["gaps on"], simulation=TINY)
    first = benchmark.study_differences(design, 3, tmp_path, SHORT)
    assert {path.name for path in tmp_path.iterdir()} == {"methods.csv", "differences.csv"}
    written = (tmp_path / "differences.csv").stat().st_mtime_ns
    pd.testing.assert_frame_equal(benchmark.study_differences(design, 3, tmp_path, SHORT), first)
    assert (tmp_path / "differences.csv").stat().st_mtime_ns == written
    planted, absent = benchmark.pair(first, "blur", "vanilla"), benchmark.pair(first, "blur again", "blur")
    assert (planted["unit"], planted["units"], planted["comparisons"]) == ("subjects", 6, 3)
    assert planted["difference"] > 0.05
    assert planted["p"] == 2**-5
    assert 0 < abs(absent["difference"]) < planted["difference"]


def differences(p, gain):
    row = {"method": "vanilla", "against": "blur", "difference": -gain, "p_holm": p}
    return pd.DataFrame([row | {"detectable": 0.03, "detectable_corrected": 0.04}])


def test_the_summary_counts_what_was_found_and_which_was_better():
    tables = [differences(0.01, 0.05), differences(0.2, 0.02), differences(0.05, -0.03), differences(0.06, 0.04)]
    found = benchmark.summary(tables, "blur", "vanilla")
    assert (found["studies"], found["found"], found["found_better"]) == (4, 2, 1)
    assert found["difference"] == pytest.approx(0.02)
    assert found["spread"] == pytest.approx(np.std([0.05, 0.02, -0.03, 0.04], ddof=1))
    assert (found["low"], found["high"]) == pytest.approx((beta.ppf(0.025, 2, 3), beta.ppf(0.975, 3, 2)))
    with pytest.raises(KeyError):
        benchmark.pair(tables[0], "blur", "ubp")


@pytest.mark.parametrize(("found", "good"), [(20, True), (8, False)])
def test_too_few_planted_differences_fail(found, good, capsys):
    tables = []
    for number in range(20):
        planted = differences(0.01 if number < found else 0.5, 0.05)
        absent = planted.assign(method="blur again", against="blur", p_holm=0.5)
        tables.append(pd.concat([planted, absent]))
    assert benchmark.report({"gaps on": tables}) == good
    assert f"{found} of 20" in capsys.readouterr().out


def test_absent_differences_that_are_found_too_often_fail():
    tables = [differences(0.01, 0.05).assign(method="vanilla again", against="vanilla")] * 20
    assert not benchmark.report({"gaps off": tables})
