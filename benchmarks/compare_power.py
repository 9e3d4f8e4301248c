"""Does `ubp compare` find a difference that is there, and none that is not?

`python benchmarks/compare_power.py` simulates tables of hits many times and compares the methods in each. A hit has a
probability whose logit is the sum of a method's, a subject's, an image's and a trained model's (seed's) effect. `same`
is as good as `vanilla`; `better` is better by the points planted, which differ from subject to subject. It reports how
often the corrected test found `better` above `vanilla`, and `same` apart from `vanilla`, with 95 % Clopper-Pearson
intervals, and fails where, with 10 subjects, 8 points are found in fewer than 80 % of the repetitions or an absent
difference in clearly more than 5 %. Two designs show what the test does not promise. With 4 subjects it is over images,
so it finds what is true of these 4 and not of people. With an interaction each method has images that it is good at:
the test over subjects finds what is true of these images and would not be of others.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from scipy.special import expit
from scipy.stats import binomtest

from ubp.compare import ALPHA, Comparison, compare
from ubp.measures import measure
from ubp.results import Results, collect_scores
from ubp.tables import table

METHODS = ("vanilla", "same", "better")


@dataclass(frozen=True)
class Design:
    """What is simulated.

    Parameters
    ----------
    subjects, seeds, images : int
    gain : float
        Points of top-1 by which `better` is better, near an accuracy of one half.
    subject_spread : float
        Standard deviation over subjects of what each method is better or worse in them, in points; differences of two
        methods vary by 1.4 times that.
    interaction : float
        Standard deviation, in logits, of what a method is good at image by image, the same for all subjects.
    """

    subjects: int = 10
    seeds: int = 3
    images: int = 200
    gain: float = 8.0
    subject_spread: float = 2.0
    interaction: float = 0.0


def simulate(design: Design, seed: int) -> Results:
    """Hits of three methods."""
    random = np.random.default_rng(seed)
    names = [f"{number:03d}" for number in range(design.images)]
    easy = random.normal(0, 1, design.images)
    own = {method: random.normal(0, design.interaction, design.images) for method in METHODS}

    def found() -> Iterator[tuple[dict[str, Any], pd.Series]]:
        for subject in range(design.subjects):
            level = random.normal(-0.2, 0.5)
            for method in METHODS:
                points = design.gain * (method == "better") + random.normal(0, design.subject_spread)
                for run in range(design.seeds):
                    # around one half, a logit is a quarter of the accuracy; the effects of images flatten it to a fifth
                    logit = level + easy + own[method] + 5 * points / 100 + random.normal(0, 0.1)
                    hits = (random.random(design.images) < expit(logit)).astype(float)
                    row = {"setting": "intra-subject", "method": method, "subject": f"sub-{subject + 1:02d}"}
                    row |= {"seed": run, "run": f"{method}-{subject}-{run}", "gallery_size": design.images}
                    row |= {"gallery_level": "-", "query": "-", "repetitions": 1.0, "protocol": "inductive"}
                    yield row, pd.Series(hits, names)

    return collect_scores(found())


def told_apart(comparison: Comparison, method: str) -> bool:
    """Whether the corrected test tells a method from `vanilla`."""
    rows = comparison.differences.set_index(["method", "against"])["p_holm"]
    return bool(next(p for pair, p in rows.items() if set(pair) == {method, "vanilla"}) <= ALPHA)


def rates(design: Design, repetitions: int) -> dict[str, tuple[float, float, float]]:
    """How often each method was told from `vanilla`, with its interval; and the mean detectable difference."""
    counts, detectable = dict.fromkeys(METHODS[1:], 0), []
    for seed in range(repetitions):
        comparison = compare(simulate(design, seed), measure("top1"), intervals=False, n_flips=5_000)
        detectable.append(comparison.differences["detectable_corrected"].mean())
        for method in counts:
            counts[method] += told_apart(comparison, method)
    found = {}
    for method, count in counts.items():
        interval = binomtest(count, repetitions).proportion_ci()
        found[method] = (count / repetitions, interval.low, interval.high)
    return found | {"detectable": (float(np.mean(detectable)),) * 3}


DESIGNS = {
    "10 subjects, 8 points planted": Design(),
    "10 subjects, 4 points planted": Design(gain=4.0),
    "10 subjects, 8 points, subjects alike": Design(subject_spread=0.0),
    "7 subjects, 8 points": Design(subjects=7),
    "4 subjects, 8 points": Design(subjects=4),
    "4 subjects, 8 points, subjects alike": Design(subjects=4, subject_spread=0.0),
    "10 subjects, 8 points, interaction 0.5": Design(interaction=0.5),
}
MUST_HOLD = ("10 subjects, 8 points planted", "10 subjects, 8 points, subjects alike")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    arguments = parser.parse_args()
    rows, good = [], True
    for name, design in DESIGNS.items():
        found = rates(design, arguments.repetitions)
        texts = [f"{rate:.3f} ({low:.3f} to {high:.3f})" for rate, low, high in (found["better"], found["same"])]
        rows.append((name, *texts, f"{100 * found['detectable'][0]:.1f}"))
        if name in MUST_HOLD:
            good &= found["better"][2] >= 0.8 and found["same"][1] <= ALPHA
    header = ("design", "planted one found", "absent one found", "detectable, points")
    title = f"Corrected p at most {ALPHA:g}, {arguments.repetitions} repetitions"
    Console(width=120).print(table(title, header, rows))
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
