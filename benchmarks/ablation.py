"""Does `ubp ablate` find the times and channels that carry the signal of a simulated study?

`python benchmarks/ablation.py` simulates studies whose signal-to-noise ratio at every channel and time follows from the
simulation, ablates windows and channels in every way, and prints the rank correlation with that truth, and whether
windows before the first source answers are at chance.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from scipy.stats import spearmanr

from ubp.ablation_plan import Asked
from ubp.commands.ablating import ablate
from ubp.config import Common
from ubp.data.forward import CHANNELS, STAGES
from ubp.data.simulated import Simulation, simulate
from ubp.data.simulated_trials import image_table, make_brain, make_vectors, signal_power
from ubp.tables import table

TRAINING = {"epochs": 12, "batch_size": 64, "learning_rate": 1e-3, "calibration_concepts": 40}
SIMULATION = Simulation(
    n_concepts=150, images_per_concept=2, n_test=2, test_repetitions=1, channels=CHANNELS[::4], snr=0.3
)
WAYS = ("permute", "occlude", "leave-out", "alone")


def true_snr(simulation: Simulation) -> np.ndarray:
    """Variance of the signal over images divided by the noise's, of shape (n_channels, n_times), of the first subject.

    With the covariance `C` of source responses over training images, evoked responses `E` and noise mixing `A`:
    ``snr / P diag(E^T C E) / diag(A A^T)``.
    """
    images, brain = image_table(simulation), make_brain(simulation, 0)
    width = simulation.widths.index(simulation.true_width)
    responses = make_vectors(images, simulation)[width, (images.split == "train").to_numpy()] @ brain.readout
    covariance = np.cov(responses.T.astype(float))
    power = np.einsum("rx,rs,sx->x", brain.evoked, covariance, brain.evoked, optimize=True)
    power = power.reshape(len(simulation.channels), simulation.n_times)
    scale = simulation.subject_snr(0) / signal_power(responses, brain.evoked)
    return scale * power / np.diag(brain.mixing @ brain.mixing.T)[:, None]


def measure(folder: Path, seed: int, simulation: Simulation = SIMULATION) -> list[dict]:
    """Rank correlations of one simulated study, one row a way."""
    simulation = replace(simulation, seed=seed)
    simulate(folder / "study", simulation, quiet=True)
    truth = true_snr(simulation)
    common = Common(store=folder / "features", quiet=True, device="cpu")
    rows = []
    for what, by in (("windows", "alone"), ("windows", "permute"), *(("channels", way) for way in WAYS)):
        asked = Asked((0.06, 0.06), by) if what == "windows" else Asked(channels=by)
        found = ablate(
            folder / "study",
            out=folder / "out",
            asked=asked,
            preset="blur",
            width=simulation.true_width,
            metric="mean_percentile_rank",
            changes=TRAINING,
            common=common,
        )[what].summary
        if what == "windows":
            first, last = ((found[end] * simulation.sfreq).round().astype(int) for end in ("start", "stop"))
            true = [truth[:, start : stop + 1].mean() for start, stop in zip(first, last, strict=True)]
        else:
            true = truth.mean(axis=1)
        score = found["score"].to_numpy()
        top = set(np.argsort(-np.asarray(true))[:5])
        row = {"seed": seed, "what": what, "by": by, "parts": len(found), "correlation": spearmanr(score, true)[0]}
        row |= {"best": found["part"][int(score.argmax())], "of the true 5": len(top & set(np.argsort(-score)[:5]))}
        if what == "windows":
            before = found["stop"] < min(stage.latency for stage in STAGES.values())
            inside = (found["low"] <= found["reference"]) & (found["reference"] <= found["high"])
            row |= {"before": int(before.sum()), "at chance": int((before & inside).sum())}
        rows.append(row)
    return rows


def report(frame: pd.DataFrame) -> None:
    texts = frame.assign(correlation=frame["correlation"].map("{:.2f}".format)).astype(object).fillna("")
    shown = [tuple(f"{value:g}" if isinstance(value, float) else str(value) for value in row) for row in texts.values]
    Console(width=140).print(table("Ablation against the simulation's truth", tuple(frame.columns), shown))
    print(frame.groupby(["what", "by"])["correlation"].agg(["mean", "min"]).round(2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    rows = []
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(Path(folder), seed)
        report(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
