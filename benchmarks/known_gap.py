"""The method on simulated studies whose gaps are known: does accuracy peak at the true blur, and only if there is one?

`python benchmarks/known_gap.py` trains at every fixed level of a ladder, with both gaps on, with both off, and with
shuffled pairs, over several seeds (each its own study), and the dynamic preset beside them. It says whether
- gaps on: accuracy peaks within one level of the truth and beats the crisp level, paired interval above zero;
- gaps off: the crisp level is best;
- shuffled pairs: the interval covers chance.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from rich.console import Console

from ubp.commands.images import build_store
from ubp.config import Common, TrainOptions
from ubp.data.forward import POSTERIOR
from ubp.data.simulated import Simulation, simulate
from ubp.demo import OPTIONS, SIMULATION
from ubp.evaluate_runs import Evaluation
from ubp.experiment import train
from ubp.images.blur import Blur
from ubp.job import Job
from ubp.presets import Preset, preset
from ubp.results import Results, find_runs
from ubp.tables import table

WIDTHS = (1, 7, 13, 19, 25)


def fixed(width: int) -> Preset:
    """A preset of one fixed level."""
    return Preset(f"width {width}", (Blur(width),))


def measure(
    folder: Path,
    simulation: Simulation,
    presets: Sequence[Preset],
    seeds: Sequence[int],
    options: TrainOptions = OPTIONS,
) -> Results:
    """Train every preset on a study of every seed; in the results a study stands as a subject."""
    tables, hits = [], {}
    for seed in seeds:
        study = simulate(folder / f"study-{seed}", replace(simulation, seed=seed), quiet=True)
        ladder = [level for blur in presets for level in blur.ladder]
        store = build_store(study, "gabor", ladder, Common(store=folder / "features", quiet=True))
        for blur in presets:
            for subject in study.subjects:
                train(study, store, Job(subject, blur, options, seed, channels=POSTERIOR), folder / f"runs-{seed}")
        evaluation = Evaluation(lambda study, about, store=store: store, ridge=False)
        results = evaluation.run(find_runs(folder / f"runs-{seed}"))
        tables.append(results.table.assign(subject=f"study-{seed}"))
        for key, subjects in results.hits.items():
            merged = hits.setdefault(key, {})
            for by_seed in subjects.values():
                merged[f"study-{seed}"] = by_seed
    return Results(pd.concat(tables), hits)


def best_width(results: Results) -> int:
    """Width of the fixed level with the highest mean top-1."""
    summary = results.summary()
    levels = summary[summary["method"].str.startswith("width ")]
    return int(levels.loc[levels["top1"].idxmax(), "method"].removeprefix("width "))


def difference(results: Results, method: str, against: str) -> tuple[float, float, float]:
    """Mean paired difference in top-1 of two methods, and its interval."""
    for row in results.comparisons().to_dict("records"):
        if (row["method"], row["against"]) == (method, against):
            return row["difference"], row["low"], row["high"]
        if (row["method"], row["against"]) == (against, method):
            return -row["difference"], -row["high"], -row["low"]
    raise KeyError((method, against))


def show(console: Console, title: str, results: Results) -> None:
    """Print accuracy and interval of every method."""
    rows = [
        (row["method"], f"{row['top1']:.3f}", f"{row['top1_low']:.3f} to {row['top1_high']:.3f}")
        for row in results.summary().to_dict("records")
    ]
    console.print(table(title, ("level", "top-1", "95 % interval"), rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--concepts", type=int, default=SIMULATION.n_concepts)
    parser.add_argument("--test", type=int, default=SIMULATION.n_test)
    arguments = parser.parse_args()
    console, seeds = Console(), range(arguments.seeds)
    simulation = replace(SIMULATION, n_concepts=arguments.concepts, n_test=arguments.test)
    truth = simulation.true_width
    levels = [fixed(width) for width in WIDTHS]
    ubp, official = (preset(name, truth, simulation.width_step) for name in ("ubp", "official"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        on = measure(folder / "on", simulation, [*levels, ubp, official], seeds)
        show(console, f"Both gaps on, true width {truth}", on)
        peak = best_width(on)
        near = abs(WIDTHS.index(peak) - WIDTHS.index(truth)) <= 1
        gain, low, high = difference(on, f"width {truth}", "width 1")
        low_crisp = low
        print(
            f"peak at width {peak} ({'within' if near else 'NOT within'} one level of the truth); the true width "
            f"against crisp {gain:+.3f} ({low:+.3f} to {high:+.3f})"
        )
        for name_ in ("ubp", "official"):
            gain, low, high = difference(on, name_, f"width {truth}")
            print(f"{name_} against the fixed true width: {gain:+.3f} ({low:+.3f} to {high:+.3f})")
        no_gap = replace(simulation, system_gap=False, random_gap=False)
        off = measure(folder / "off", no_gap, levels, seeds)
        show(console, "Both gaps off", off)
        crisp_best = best_width(off) == 1
        print(f"best width with no gap: {best_width(off)}")
        shuffled = measure(folder / "shuffled", simulation, [ubp], seeds, replace(OPTIONS, shuffle_pairs=True))
        row = shuffled.summary().iloc[0]
        covered = row["top1_low"] <= row["top1_chance"] <= row["top1_high"]
        print(
            f"shuffled pairs: {row['top1']:.4f} ({row['top1_low']:.4f} to {row['top1_high']:.4f}), "
            f"chance {row['top1_chance']:.4f} {'covered' if covered else 'NOT covered'}"
        )
    raise SystemExit(0 if near and low_crisp > 0 and crisp_best and covered else 1)


if __name__ == "__main__":
    main()
