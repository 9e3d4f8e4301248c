"""Do the learned weights of a bank of blurs find the blur of the brain? On simulated studies, where it is known.

`python benchmarks/bank_weights.py` simulates, for every true width and seed, a study whose brain sees all images at
that width, trains `ubp` with a learned bank of all widths, and writes the learned weights of the levels (weights.csv)
and a figure of them against the true width (weights.png). No test trial is read.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from rich.console import Console

from ubp.commands.figures import save_figure
from ubp.commands.images import build_store
from ubp.config import Common, TrainOptions
from ubp.data.forward import POSTERIOR
from ubp.data.simulated import Simulation, simulate
from ubp.demo import OPTIONS, SIMULATION
from ubp.files import write_text
from ubp.fit import Trainer
from ubp.images.blur import Blur
from ubp.images.levels import Bank
from ubp.job import Job
from ubp.plots.style import GREY, new_figure
from ubp.presets import Preset
from ubp.tables import table
from ubp.training_data import TrainingData, image_pairs

WIDTHS = (1, 7, 13, 19, 25)
COLOURS = ("#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7")


def weights(
    folder: Path, widths: Sequence[int], seeds: int, simulation: Simulation, options: TrainOptions
) -> pd.DataFrame:
    """Mean weight of every level of the bank for every true width and seed."""
    bank = Preset("bank", (Bank(tuple(Blur(width) for width in widths)),))
    rows = []
    for width in widths:
        for seed in range(seeds):
            true = {"system_gap": False} if width == 1 else {"true_width": width}
            chosen = replace(simulation, seed=seed, random_gap=False, **true)
            study = simulate(folder / f"study-{width}-{seed}", chosen, quiet=True)
            store = build_store(study, "gabor", bank.ladder, Common(store=folder / "features", quiet=True))
            job = Job(study.subjects[0], bank, options, seed, channels=POSTERIOR)
            pairs = image_pairs(TrainingData.load(study, job).trials, store, job)
            trainer = Trainer(pairs, bank, options, seed)
            while not trainer.finished:
                trainer.run_epoch()
            with torch.no_grad():
                images = pairs.ladder[0].float()
                found = trainer.final_encoder.image_side.weights(images).double().numpy()
            rows += [
                {"true_width": width, "seed": seed, "width": level, "weight": weight}
                for level, weight in zip(widths, found, strict=True)
            ]
    return pd.DataFrame(rows)


def weights_figure(found: pd.DataFrame) -> Figure:
    """Weight over the level's width, a line for each true width, which is marked on it."""
    means = found.groupby(["true_width", "width"])["weight"].mean().unstack()
    with new_figure(3.6) as figure:
        axes = figure.subplots()
        axes.axhline(1 / means.shape[1], color=GREY, linewidth=0.8, linestyle=":")
        for (width, line), colour in zip(means.iterrows(), COLOURS, strict=False):
            axes.plot(line.index, line, "-", color=colour, label=f"{width}")
            axes.plot(width, line[width], "o", color=colour, markersize=9)
        axes.set_xticks(list(means.columns))
        axes.set_xlabel("kernel width of the level in pixels (1: crisp)")
        axes.set_ylabel("learned weight")
        axes.set_ylim(0, None)
        axes.legend(title="true width (dot)", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=OPTIONS.epochs)
    parser.add_argument("--mixture", default="learned", choices=("learned", "per-dimension", "per-image"))
    parser.add_argument("--out", type=Path, default=Path("bank"))
    arguments = parser.parse_args()
    options = replace(OPTIONS, epochs=arguments.epochs, mixture=arguments.mixture)
    with tempfile.TemporaryDirectory() as name:
        found = weights(Path(name), WIDTHS, arguments.seeds, replace(SIMULATION, n_test=1), options)
    write_text(arguments.out / "weights.csv", found.to_csv(index=False))
    save_figure(weights_figure(found), arguments.out / "weights.png")
    means = found.groupby(["true_width", "width"])["weight"].mean().unstack()
    best = found.loc[found.groupby(["true_width", "seed"])["weight"].idxmax()]
    step = WIDTHS[1] - WIDTHS[0]
    close = np.mean(np.abs(best["width"] - best["true_width"]) <= step)
    chance = np.mean(np.abs(np.subtract.outer(WIDTHS, WIDTHS)) <= step)
    lines = [(str(width), *(f"{value:.3f}" for value in line)) for width, line in means.iterrows()]
    Console().print(table("Learned weights", ("true width", *map(str, means.columns)), lines))
    print(
        f"The heaviest level is the true one or its neighbour in {100 * close:.0f} % of studies; a level drawn at "
        f"random is in {100 * chance:.0f} %."
    )


if __name__ == "__main__":
    main()
