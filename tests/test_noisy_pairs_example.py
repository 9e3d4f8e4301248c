"""The example of noisy pairs says what it finds: run on two of its seeds, against the figures in its text."""

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest

SOURCE = (Path(__file__).parents[1] / "examples/plot_noisy_pairs.py").read_text(encoding="utf-8")
TEXT = " ".join(SOURCE[SOURCE.index("**Does the prior help?**") :].replace("\n#", " ").split())


def said(pattern):
    """Numbers of a sentence of the text."""
    (found,) = re.findall(pattern, TEXT)
    return [float(number) for number in ([found] if isinstance(found, str) else found)]


@pytest.fixture(scope="module")
def example():
    """What the example computes, with two seeds instead of five."""
    assert SOURCE.count("range(5)") == 1
    matplotlib.use("Agg")
    names = {"__name__": "example"}
    exec(compile(SOURCE.replace("range(5)", "range(2)"), "plot_noisy_pairs.py", "exec"), names)
    return names


def test_the_gains_are_those_of_the_text(example):
    number = r"([+-][\d.]+) ± [\d.]+"
    accuracy, gain = example["accuracy"], {rule: mean for rule, (mean, _) in example["gain"].items()}
    (base,) = said(r"top-1 is ([\d.]+) %")
    assert accuracy["base"].mean() == pytest.approx(base, abs=3)
    prior, random = said(rf"and {number} points with the prior, {number} with random levels")
    crisp, more = said(rf"{number} crisp, {number} at more blur")
    (ignore,) = said(rf"ignore bad pairs\*\*: {number} points")
    expected = {"prior": prior, "random": random, "crisp": crisp, "more": more, "ignore": ignore}
    assert gain == pytest.approx(expected, abs=2.5)
    assert gain["ignore"] > gain["prior"] > gain["crisp"] > gain["more"]


def test_mismatched_pairs_are_found_as_the_text_says(example):
    last, best = example["last"], {rule: curve.mean(axis=0).max(axis=0) for rule, curve in example["auc"].items()}
    fit, loss, fit_with, loss_with = said(r"AUC of ([\d.]+) and the loss of ([\d.]+);.*?, ([\d.]+) and ([\d.]+)\. ")
    np.testing.assert_allclose([*last["base"], *last["prior"]], [fit, loss, fit_with, loss_with], atol=0.02)
    (early,) = said(r"AUC ([\d.]+) at the best epoch")
    np.testing.assert_allclose([*best["base"], *best["prior"]], early, atol=0.015)
    (caught,) = said(r"as ([\d.]+) % of the pairs it leaves out are mismatched")
    assert 100 * example["caught"] == pytest.approx(caught, abs=4)


def test_the_example_takes_the_prior_alone():
    assert re.findall(r"^from ubp\S* import .*|^import ubp.*", SOURCE, re.M) == [
        "from ubp.prior import BlurPrior, Level"
    ]
