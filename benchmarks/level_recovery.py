"""Do the rules find each pair's blur? Estimated against true level on simulated studies, where the truth is known.

`python benchmarks/level_recovery.py` simulates a study for every seed, trains a model by every
rule on averaged and on single trials, and writes for each
- Spearman's rank correlation of the estimated position with the true width, with lapses and with gain (of an averaged
  pair: the means of its trials), with a bootstrap interval over studies;
- top-1 and reciprocal rank on held-out validation concepts after the last epoch, the latter as a difference to
  `three-step` too;
- `recovery.csv`, `studies.csv` and `recovery.png`.

`similarity` ranks pairs by the matched similarity that three-step keeps, `truth` trains at the true widths, and
`ideal observer` knows the simulation's forward model: more than it finds is not in the signals.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from rich.console import Console
from scipy.stats import spearmanr

from ideal_observer import ideal_positions
from ubp.commands.figures import save_figure
from ubp.commands.images import build_store
from ubp.config import Common, TrainOptions
from ubp.data.forward import POSTERIOR
from ubp.data.simulated import Simulation, simulate
from ubp.data.study import Study
from ubp.demo import OPTIONS, SIMULATION
from ubp.files import write_text
from ubp.fit import Trainer
from ubp.images.features import FeatureStore
from ubp.job import Job
from ubp.plots.style import INK, new_figure
from ubp.position_prior import PositionPrior
from ubp.presets import Preset, preset
from ubp.statistics import bootstrap_interval
from ubp.tables import table
from ubp.training_data import TrainingData, image_pairs, validation_gallery

RULES = ("three-step", "three-step, raw", "smooth", "smooth-pooled", "posterior", "learned")
SHOWN = ("three-step", "smooth", "posterior", "learned", "ideal observer")
AGAINST = ("width", "lapse", "gain")
SCORES = ("top1", "mrr")


class KnownPrior(PositionPrior):
    """Every pair where it truly is."""

    def __init__(self, positions: torch.Tensor, n_levels: int) -> None:
        super().__init__(len(positions), n_levels)
        self.known = positions.float()

    def learn(self, pairs: torch.Tensor, brain: torch.Tensor | None, images: torch.Tensor | None) -> None:
        """Nothing."""

    def deviation(self) -> torch.Tensor:
        """See the base class."""
        return self.known / self.base - 1

    def positions(self, pairs: torch.Tensor) -> torch.Tensor:
        """From the first pass on."""
        return self.known[pairs]


def presets(simulation: Simulation) -> dict[str, Preset]:
    """Every rule on the ladder of the widths that occur."""
    ubp = preset("ubp", simulation.true_width, simulation.width_step)
    rules = {name: replace(ubp, rule=name) for name in RULES if "raw" not in name}
    return rules | {"three-step, raw": replace(ubp, compare="raw")}


def truth_of(study: Study, subject: str, images: list[str], average: bool) -> pd.DataFrame:
    """True width, lapse and gain of training pairs: of each trial, or the means of an image's trials."""
    truth = pd.read_csv(study.root / subject / "truth.csv")
    truth = truth[truth["split"] == "train"]
    if average:
        return truth.groupby("image")[list(AGAINST)].mean().loc[images].reset_index(drop=True)
    kept = truth[truth["image"].isin(set(images))].reset_index(drop=True)
    assert kept["image"].tolist() == images
    return kept[list(AGAINST)]


def fitted(
    study: Study, store: FeatureStore, simulation: Simulation, options: TrainOptions, seed: int, average: bool
) -> Iterator[tuple[str, pd.DataFrame, dict[str, float]]]:
    """Name of each rule, estimated positions beside the truth, and validation scores."""
    subject, options = study.subjects[0], replace(options, average_training=average)
    rules = presets(simulation)
    data = TrainingData.load(study, Job(subject, rules["three-step"], options, seed, channels=POSTERIOR))
    truth = truth_of(study, subject, list(data.trials.images), average)
    place = torch.tensor((truth["width"].to_numpy() - simulation.widths[0]) / simulation.width_step)
    fixed = preset("blur", simulation.true_width)
    for name, chosen in {"fixed": fixed, **rules, "truth": rules["three-step"]}.items():
        job = Job(subject, chosen, options, seed, channels=POSTERIOR)
        pairs = image_pairs(data.trials, store, job)
        assert data.validation is not None
        gallery = validation_gallery(data.validation, store, job, data.scale, data.trials)
        trainer = Trainer(pairs, chosen, options, seed, gallery)
        if name == "truth":
            trainer.prior = KnownPrior(place, len(chosen.ladder))
        while not trainer.finished:
            trainer.run_epoch()
        scores = {of: float(trainer.history[-1][f"validation_{of}"]) for of in SCORES}
        prior = trainer.prior
        found = np.ones(len(truth)) if prior is None else prior.positions(torch.arange(len(truth))).double().numpy()
        yield name, truth.assign(position=found), scores
        if name == "three-step" and prior is not None:
            yield "similarity", truth.assign(position=-prior.similarity.double().numpy()), {}
    yield "ideal observer", truth.assign(position=ideal_positions(study, simulation, list(data.trials.images))), {}


def measure(
    folder: Path,
    simulation: Simulation,
    seeds: int,
    options: TrainOptions,
    averages: Sequence[bool] = (False, True),
    quiet: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Correlations and accuracy of every rule and study, and the estimated positions of all pairs."""
    rows, positions = [], []
    for seed in range(seeds):
        chosen = replace(simulation, seed=seed)
        study = simulate(folder / f"study-{seed}", chosen, quiet=True)
        ladder = presets(chosen)["three-step"].ladder
        store = build_store(study, "gabor", ladder, Common(store=folder / "features", quiet=True))
        for average in averages:
            pairs = "averaged" if average else "single"
            for name, found, scores in fitted(study, store, chosen, options, seed, average):
                correlations = {of: _spearman(found["position"], found[of]) for of in AGAINST}
                rows.append({"study": seed, "pairs": pairs, "rule": name, **correlations, **scores})
                positions.append(found.assign(study=seed, pairs=pairs, rule=name))
                if not quiet:
                    print(rows[-1], flush=True)
    return pd.DataFrame(rows), pd.concat(positions, ignore_index=True)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over studies with their intervals, and the difference in accuracy to three-step, paired by study."""
    lines = []
    for (pairs, rule), part in rows.groupby(["pairs", "rule"], sort=False):
        line = {"pairs": pairs, "rule": rule}
        base = rows[(rows["pairs"] == pairs) & (rows["rule"] == "three-step")]
        gain = part["mrr"].to_numpy() - base["mrr"].to_numpy()
        for name, values in (*((of, part[of].to_numpy()) for of in (*AGAINST, *SCORES)), ("gain_mrr", gain)):
            low, high = bootstrap_interval([np.array([[value]]) for value in values])
            line |= {name: values.mean(), f"{name}_low": low, f"{name}_high": high}
        lines.append(line)
    return pd.DataFrame(lines)


def recovery_figure(positions: pd.DataFrame, found: pd.DataFrame, n_levels: int) -> Figure:
    """Estimated position over true width, a row for single trials and one for averaged ones, a column a rule."""
    rules = [rule for rule in SHOWN if rule in set(positions["rule"])]
    with new_figure(5.6) as figure:
        kinds = list(positions["pairs"].unique())
        panels = figure.subplots(len(kinds), len(rules), sharey=True, squeeze=False)
        for row, pairs in zip(panels, kinds, strict=True):
            for axes, rule in zip(row, rules, strict=True):
                part = positions[(positions["rule"] == rule) & (positions["pairs"] == pairs)]
                widths = sorted(part["width"].unique())
                axes.boxplot(
                    [part.loc[part["width"] == width, "position"] for width in widths],
                    positions=widths,
                    widths=0.6 * float(np.diff(widths).min()),
                    manage_ticks=False,
                    flierprops={"markersize": 2, "markeredgewidth": 0.3},
                    medianprops={"color": INK},
                )
                ends = [widths[0], widths[-1]]
                axes.plot(ends, [0, n_levels - 1], color=INK, linestyle=":", linewidth=1, zorder=0)
                line = found[(found["rule"] == rule) & (found["pairs"] == pairs)].iloc[0]
                axes.set_title(f"{rule}\nρ = {line['width']:.2f}", fontsize=9, color=INK)
                axes.set_xticks(widths)
            row[0].set_ylabel("estimated level (0 least blur)")
        text = "true kernel width in pixels; above single trials, below means of two; dotted: truth"
        figure.supxlabel(text, fontsize=10)
    return figure


def _spearman(first: pd.Series, second: pd.Series) -> float:
    return float(spearmanr(first, second).statistic) if first.nunique() > 1 and second.nunique() > 1 else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--snr", type=float, default=SIMULATION.snr)
    parser.add_argument("--out", type=Path, default=Path("recovery"))
    arguments = parser.parse_args()
    simulation = replace(SIMULATION, n_concepts=400, n_test=1, snr=arguments.snr)
    options = replace(OPTIONS, epochs=arguments.epochs, validation_concepts=100)
    with tempfile.TemporaryDirectory() as name:
        rows, positions = measure(Path(name), simulation, arguments.seeds, options)
    found = summary(rows)
    write_text(arguments.out / "recovery.csv", found.to_csv(index=False))
    write_text(arguments.out / "studies.csv", rows.to_csv(index=False))
    save_figure(recovery_figure(positions, found, 3), arguments.out / "recovery.png")
    for pairs, part in found.groupby("pairs", sort=False):
        lines = [
            (
                row["rule"],
                *(f"{row[of]:+.2f} ({row[f'{of}_low']:+.2f} to {row[f'{of}_high']:+.2f})" for of in AGAINST),
                *(f"{row[of]:.3f}" for of in SCORES),
                f"{row['gain_mrr']:+.3f} ({row['gain_mrr_low']:+.3f} to {row['gain_mrr_high']:+.3f})",
            )
            for row in part.to_dict("records")
        ]
        header = ("rule", "true width", "lapse", "gain", "top-1", "reciprocal rank", "against three-step")
        Console(width=160).print(table(f"Estimated level, {pairs} trials", header, lines))


if __name__ == "__main__":
    main()
