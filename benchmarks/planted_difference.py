"""Does `ubp compare` find a difference between trained methods that is there, and none that is not?

`python benchmarks/planted_difference.py` simulates 20 studies, trains every subject with each method, evaluates and
compares them as the commands do. With the gaps on, images blurred at the true width are better than crisp ones (the
planted difference), and `blur again` is `blur` with another seed (the absent one). With the gaps off, `vanilla again`
is `vanilla` with another seed. Every method has one model a subject, so that methods and names are exchangeable where
nothing is planted. It prints how often of 20 the corrected test found each, with 95 % Clopper-Pearson intervals, the
mean difference, and the smallest one that could be detected, and fails where the intervals exclude that 80 % of the
planted differences and 5 % of the absent ones are found. `--out` keeps what is finished; run again, it continues there.
"""

import argparse
import multiprocessing
import shutil
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from itertools import product
from pathlib import Path

import pandas as pd
import torch
from rich.console import Console
from scipy.stats import binomtest

from ubp.commands.comparing import DIFFERENCES, compare
from ubp.commands.evaluating import evaluate_models
from ubp.commands.images import build_store
from ubp.compare import ALPHA
from ubp.config import Common, TrainOptions
from ubp.data.forward import POSTERIOR
from ubp.data.simulated import Simulation
from ubp.demo import OPTIONS, simulated_study
from ubp.experiment import train
from ubp.files import digest, write_text
from ubp.job import Job
from ubp.presets import preset
from ubp.results import RESULTS
from ubp.tables import table

POWER = 0.8
SMALL = Simulation(n_subjects=10, n_concepts=120, n_test=150)
NO_GAPS = replace(SMALL, system_gap=False, random_gap=False)


@dataclass(frozen=True)
class Design:
    """Studies of one kind, and the methods that are trained on each.

    Parameters
    ----------
    simulation : Simulation
    methods : dict
        Name of a method to its preset and seed.
    absent : (str, str)
        Two methods that are alike.
    planted : (str, str), optional
        A method, and one that it is better than.
    """

    simulation: Simulation
    methods: dict[str, tuple[str, int]]
    absent: tuple[str, str]
    planted: tuple[str, str] | None = None


def study_differences(design: Design, number: int, folder: Path, options: TrainOptions = OPTIONS) -> pd.DataFrame:
    """Simulate, train, evaluate and compare; keeps the table of differences and removes the rest.

    Returns
    -------
    DataFrame
        The `differences.csv` of `ubp compare`, read if it is in `folder` already.
    """
    if not (folder / DIFFERENCES).exists():
        work, common = folder / "work", Common(store=folder / "work/features", quiet=True, device="cpu")
        simulation = replace(design.simulation, seed=number)
        study = simulated_study(work / "study", simulation, True, "the benchmark")
        presets = {
            name: replace(preset(base, simulation.true_width, simulation.width_step), name=name)
            for name, (base, _) in design.methods.items()
        }
        store = build_store(study, "gabor", [level for one in presets.values() for level in one.ladder], common)
        runs = [
            train(study, store, Job(subject, presets[name], options, seed, channels=POSTERIOR), work / "runs")
            for subject, (name, (_, seed)) in product(study.subjects, design.methods.items())
        ]
        results = evaluate_models(runs, work / "runs", ridge=False, common=common)
        write_text(work / "runs" / RESULTS, results.table.to_csv(index=False))
        with redirect_stdout(StringIO()):
            compare([work / "runs"], formats=["csv"], out=folder)
    shutil.rmtree(folder / "work", ignore_errors=True)
    return pd.read_csv(folder / DIFFERENCES)


def pair(differences: pd.DataFrame, method: str, against: str) -> pd.Series:
    """The row of two methods; the difference is `method` minus `against`."""
    for _, row in differences.iterrows():
        if (row["method"], row["against"]) == (method, against):
            return row
        if (row["method"], row["against"]) == (against, method):
            return pd.Series({**row, "difference": -row["difference"]})
    raise KeyError((method, against))


def rate(count: int, total: int) -> tuple[float, float]:
    """Clopper-Pearson interval at 95 %."""
    interval = binomtest(count, total).proportion_ci()
    return interval.low, interval.high


def summary(tables: Iterable[pd.DataFrame], method: str, against: str) -> dict[str, float]:
    """How often the corrected test told two methods apart, and how often the first was the better one then."""
    rows = pd.DataFrame([pair(differences, method, against) for differences in tables])
    found = rows["p_holm"] <= ALPHA
    low, high = rate(int(found.sum()), len(rows))
    return {
        "studies": len(rows),
        "found": int(found.sum()),
        "found_better": int((found & (rows["difference"] > 0)).sum()),
        "low": low,
        "high": high,
        "difference": rows["difference"].mean(),
        "spread": rows["difference"].std(ddof=1),
        "detectable": rows["detectable"].mean(),
        "detectable_corrected": rows["detectable_corrected"].mean(),
    }


DESIGNS = {
    "gaps on": Design(
        SMALL,
        {"vanilla": ("vanilla", 0), "blur": ("blur", 0), "blur again": ("blur", 1)},
        absent=("blur again", "blur"),
        planted=("blur", "vanilla"),
    ),
    "gaps off": Design(
        NO_GAPS, {"vanilla": ("vanilla", 0), "vanilla again": ("vanilla", 1)}, absent=("vanilla again", "vanilla")
    ),
}


def one(task: tuple[str, int, Path]) -> tuple[str, pd.DataFrame]:
    name, number, out = task
    torch.set_num_threads(1)
    design = DESIGNS[name]
    folder = out / f"{name.replace(' ', '-')}-{digest(repr((design, OPTIONS)))[:8]}" / f"study-{number:02d}"
    return name, study_differences(design, number, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--design", nargs="*", default=list(DESIGNS), choices=list(DESIGNS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in arguments.design}
    with tempfile.TemporaryDirectory() as temporary:
        out = arguments.out or Path(temporary)
        tasks = [(name, number, out) for name in arguments.design for number in range(arguments.studies)]
        with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
            for name, differences in pool.map(one, tasks):
                tables[name].append(differences)
                print(f"{name}, study {len(tables[name])}", flush=True)
    raise SystemExit(0 if report(tables) else 1)


def report(tables: dict[str, list[pd.DataFrame]]) -> bool:
    """Print the table; whether planted differences are found often enough, and absent ones seldom enough."""
    rows, good = [], True
    for name, studies in tables.items():
        for kind in ("planted", "absent"):
            methods = getattr(DESIGNS[name], kind)
            if methods is None:
                continue
            found = summary(studies, *methods)
            if kind == "planted":
                good &= found["high"] >= POWER and found["found_better"] == found["found"]
            else:
                good &= found["low"] <= ALPHA
            share = f"{found['found']:.0f} of {found['studies']:.0f} ({found['low']:.3f} to {found['high']:.3f})"
            points = (f"{100 * found[key]:.1f}" for key in ("spread", "detectable", "detectable_corrected"))
            rows.append((name, f"{kind}: {' - '.join(methods)}", share, f"{100 * found['difference']:+.1f}", *points))
    header = ("studies", "difference", "found", "mean", "sd", "detectable", "corrected")
    caption = (
        "points of top-1; sd over studies; detectable with 80 % power at p .05, uncorrected and at Holm's strictest"
    )
    Console(width=120).print(table(f"Corrected p at most {ALPHA:g}", header, rows, caption))
    return good


if __name__ == "__main__":
    main()
