"""What each part beyond the paper is worth: added to `ubp`, and removed from `ubp-plus`, with paired intervals.

`python benchmarks/beyond.py --out beyond` simulates 10 subjects and runs both settings; with a study's folder it takes
that, as in `python benchmarks/beyond.py THINGS --encoder RN50 --layer RN50,layer=layer3,pool=grid2`. Settings are
chosen with `--validate N`, which holds out N training concepts of every subject, trains on the others and prints the
accuracy on these, and never opens the test split. Without it every configuration is trained on all training concepts
and ranked on the test images once, beside `ubp` and `ubp-plus` with shuffled pairs. It writes beyond.csv, beyond.md and
beyond.png; `--into PAGE` puts the tables between the page's lines `<!-- beyond: NAME -->` and `<!-- end -->`, NAME
being the study's. Run again, it continues.

Seconds are processor time, of training alone; memory is the most that a process held while it trained the models of
the configuration one after the other.
"""

import argparse
import io
import itertools
import math
import multiprocessing
import resource
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from beyond_parts import (
    LAYER,
    PARTS,
    PLUS,
    PLUS_PARTS,
    REPETITIONS,
    SUBJECTS,
    TIME,
    UBP,
    Configuration,
    acting,
    configurations,
    plus_parts,
    trained_as,
)
from beyond_shown import differences_figure, inserted, sheet
from methods import SIMULATED
from ubp.commands.evaluating import evaluate_models
from ubp.commands.figures import save_figure
from ubp.commands.images import build_store
from ubp.commands.training import train_jobs
from ubp.config import SETTINGS, Common, TrainOptions
from ubp.data.study import Study
from ubp.demo import simulated_study
from ubp.description import DESCRIPTION
from ubp.files import write_text
from ubp.job import Job
from ubp.model import HISTORY
from ubp.results import Results, find_runs
from ubp.sheets import markdown

Costs = dict[tuple[str, str], tuple[float, float]]
COSTS, SIMULATED_NAME = "costs.csv", "simulated"


@dataclass(frozen=True)
class Task:
    """All models of a configuration in a setting, trained by one process."""

    study: Path
    out: Path
    configuration: Configuration
    setting: str
    subjects: tuple[str, ...]
    seeds: tuple[int, ...]
    options: TrainOptions
    encoder: str
    blur: tuple[int, int]
    store: Path | None

    def jobs(self) -> list[Job]:
        """What is trained."""
        blur = self.configuration.blur(*self.blur)
        return [
            Job(subject, blur, self.options, seed, self.encoder, self.setting)
            for subject, seed in itertools.product(self.subjects, self.seeds)
        ]


def fit(task: Task) -> tuple[float, float]:
    """Train a task's models; seconds a model and MiB, nan where all were trained before."""
    torch.set_num_threads(1)
    jobs = task.jobs()
    common = Common(store=task.store, device="cpu", quiet=True, dtype="float16")
    new = [job for job in jobs if not (task.out / job.folder / DESCRIPTION).exists()]
    started = time.process_time()
    with redirect_stdout(io.StringIO()):
        train_jobs(Study.open(task.study), jobs, task.out, common=common)
    if not new:
        return math.nan, math.nan
    return (time.process_time() - started) / len(new), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def validation(tasks: Sequence[Task]) -> pd.DataFrame:
    """Mean over subjects and seeds of the accuracy on the held-out training concepts after the last epoch."""
    rows = []
    for task in tasks:
        histories = [pd.read_csv(task.out / job.folder / HISTORY) for job in task.jobs()]
        last = pd.DataFrame([history.iloc[-1] for history in histories])
        best = pd.Series([history["validation_mrr"].max() for history in histories])
        rows.append(
            {
                "setting": task.setting,
                "configuration": task.configuration.name,
                **last[["validation_top1", "validation_top5", "validation_mrr"]].mean(),
                "best_mrr": best.mean(),
            }
        )
    return pd.DataFrame(rows)


def report(results: Results, costs: Costs, setting: str, chosen: Sequence[Configuration]) -> pd.DataFrame:
    """A row a configuration: accuracy, paired difference and costs."""
    rows, trained = [], trained_as(chosen)
    for one in chosen:
        name = trained[one.name]
        low, high = results.interval(setting, name)
        compared = results.comparison(setting, name, one.against) if one.against else None
        part = results.table.query("setting == @setting and method == @name")
        seconds, memory = costs.get((setting, name), (math.nan, math.nan))
        rows.append(
            {
                "setting": setting,
                "configuration": one.name,
                "top1": part.groupby("subject")["top1"].mean().mean(),
                "low": low,
                "high": high,
                "top5": part.groupby("subject")["top5"].mean().mean(),
                "chance": part["top1_chance"].mean(),
                "against": one.against,
                "difference": compared["difference"] if compared else None,
                "difference_low": compared["low"] if compared else None,
                "difference_high": compared["high"] if compared else None,
                "seconds": seconds,
                "memory": memory,
            }
        )
    return pd.DataFrame(rows)


def build_stores(
    study: Study,
    encoder: str,
    layer: str | None,
    blur: tuple[int, int],
    chosen: Sequence[Configuration],
    common: Common,
) -> None:
    """Compute the image vectors of all configurations, so that training finds them."""
    for name, by_layer in ((encoder, False), *([(layer, True)] if layer else [])):
        ladder = [level for one in chosen if one.layer == by_layer for level in one.blur(*blur).ladder]
        if ladder:
            build_store(study, name, ladder, common)


def what_is_there(study: Study, subjects: Sequence[str], setting: str, layer: str | None) -> set[str]:
    """What parts may need, of what the study has."""
    recordings = [study.recording(subject) for subject in subjects]
    train = [one.trials[one.trials["split"] == "train"] for one in recordings]
    found = {
        LAYER: layer is not None,
        TIME: min(one.header.shape[2] for one in recordings) > 1,
        SUBJECTS: setting != SETTINGS[0],
        REPETITIONS: min(trials["image"].value_counts().min() for trials in train) > 1,
    }
    return {name for name, there in found.items() if there}


def read_costs(path: Path) -> Costs:
    """Seconds a model and MiB by setting and configuration, as measured before."""
    if not path.exists():
        return {}
    return {(row.setting, row.configuration): (row.seconds, row.memory) for row in pd.read_csv(path).itertuples()}


def write_costs(path: Path, costs: Costs) -> None:
    """What :func:`read_costs` reads."""
    rows = [(*key, *value) for key, value in costs.items()]
    table = pd.DataFrame(rows, columns=["setting", "configuration", "seconds", "memory"])
    write_text(path, table.to_csv(index=False))


def evaluated(
    out: Path, setting: str, chosen: Sequence[Configuration], common: Common, single: Sequence[str] = ()
) -> Results:
    """Results of configurations; those of single presentations of the subjects `single` where there are some."""
    names = {one.folder for one in chosen}
    folders = [folder for folder in find_runs(out / "runs" / setting) if folder.parent.name in names]
    if not single:
        return evaluate_models(folders, out / "runs", ridge=False, common=common)
    folders = [folder for folder in folders if folder.parent.parent.name in single]
    ranks = out / "single"
    return evaluate_models(folders, out / "runs", ridge=False, average=False, ranks=ranks, common=common)


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("study", nargs="?", type=Path)
    made.add_argument("--out", type=Path, default=Path("beyond"))
    made.add_argument("--encoder", default="gabor")
    made.add_argument("--layer", help="the encoder with an intermediate layer; without it that part is left out")
    made.add_argument("--width", type=int, nargs=2, metavar=("WIDTH", "STEP"))
    made.add_argument("--settings", nargs="*", default=None, choices=list(SETTINGS))
    made.add_argument("--subjects", nargs="*")
    made.add_argument("--single", nargs="*", default=[], help="subjects whose single presentations are ranked too")
    made.add_argument("--seeds", type=int, default=5)
    made.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    made.add_argument("--plus", nargs="*", default=list(PLUS_PARTS), choices=list(PARTS))
    made.add_argument("--only", nargs="*", help="configurations by name")
    made.add_argument("--validate", type=int, default=0, metavar="N")
    made.add_argument("--epochs", type=int, nargs="*", help="intra-subject, inter-subject")
    made.add_argument("--batch-size", type=int)
    made.add_argument("--learning-rate", type=float)
    made.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further options of all")
    made.add_argument("--store", type=Path)
    made.add_argument("--processes", type=int, default=2)
    made.add_argument("--into", type=Path, metavar="PAGE")
    return made


def run(arguments: argparse.Namespace) -> None:
    """Train, evaluate and write the tables."""
    out, store = arguments.out, arguments.store
    if arguments.study is None:
        study = simulated_study(out / "study", SIMULATED, True, "the benchmark")
        blur, store = (SIMULATED.true_width, SIMULATED.width_step), out / "features"
        epochs, batch_size, learning_rate = (15, 2), 256, 3e-4
        settings = arguments.settings or SETTINGS
    else:
        study, blur = Study.open(arguments.study), (51, 6)
        epochs, batch_size, learning_rate = (50, 50), 1024, 1e-4
        settings = arguments.settings or (SETTINGS[0],)
    blur = tuple(arguments.width or blur)
    epochs = dict(zip(SETTINGS, [*(arguments.epochs or epochs), *epochs][:2], strict=True))
    subjects = tuple(arguments.subjects or study.subjects)
    common = Common(store=store, device="cpu", quiet=True, dtype="float16")
    kinds = {key: type(value) for key, value in vars(TrainOptions()).items()}
    further = {key: kinds[key](value) for key, _, value in (one.partition("=") for one in arguments.set)}
    tasks, reported = [], {}
    for setting in settings:
        there = what_is_there(study, subjects, setting, arguments.layer)
        chosen = configurations(plus_parts(there, arguments.plus), acting(arguments.parts, there))
        if arguments.validate:
            chosen = [one for one in chosen if not one.shuffled]
        if arguments.only:
            chosen = [one for one in chosen if one.name in arguments.only]
        reported[setting], trained = chosen, set(trained_as(chosen).values())
        build_stores(study, arguments.encoder, arguments.layer, blur, chosen, common)
        base = TrainOptions(
            epochs=epochs[setting],
            batch_size=arguments.batch_size or batch_size,
            learning_rate=arguments.learning_rate or learning_rate,
            validation_concepts=arguments.validate,
            **further,
        )
        tasks += [
            Task(
                study.root,
                out / ("validated" if arguments.validate else "runs"),
                one,
                setting,
                subjects,
                tuple(range(arguments.seeds)),
                one.options(base),
                arguments.layer if one.layer else arguments.encoder,
                blur,
                store,
            )
            for one in chosen
            if one.name in trained
        ]
    costs = read_costs(out / COSTS)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.processes, context, max_tasks_per_child=1) as pool:
        for task, measured in zip(tasks, pool.map(fit, tasks), strict=True):
            key = (task.setting, task.configuration.name)
            print(f"{key[0]}, {key[1]}: {measured[0]:.1f} s a model, {measured[1]:.0f} MiB", flush=True)
            if not arguments.validate and not math.isnan(measured[0]):
                costs[key] = measured
                write_costs(out / COSTS, costs)
    if arguments.validate:
        print(validation(tasks).round(4).to_string(index=False))
        return
    tables, made = [], []
    for setting, chosen in reported.items():
        said = f"{len(subjects)} subjects, {arguments.seeds} seeds, all repetitions of a test image averaged."
        table = report(evaluated(out, setting, chosen, common), costs, setting, chosen)
        made.append(sheet(setting, table, said))
        tables.append(table.assign(query="mean"))
        if arguments.single:
            few = [one for one in chosen if one.name in (UBP, PLUS)]
            results = evaluated(out, setting, few, common, arguments.single)
            table = report(results, costs, setting, few)
            said = f"Single presentations of {', '.join(arguments.single)}, {arguments.seeds} seeds."
            made.append(sheet(f"{setting}, single presentations", table, said))
            tables.append(table.assign(query="single"))
    together = pd.concat(tables, ignore_index=True)
    write_text(out / "beyond.csv", together.to_csv(index=False))
    text = "\n\n".join(markdown(one) for one in made)
    write_text(out / "beyond.md", text + "\n")
    save_figure(differences_figure(together[together["query"] == "mean"]), out / "beyond.png")
    print(text)
    if arguments.into:
        page = arguments.into.read_text(encoding="utf-8")
        write_text(arguments.into, inserted(page, study.root.name if arguments.study else SIMULATED_NAME, text))


if __name__ == "__main__":
    run(parser().parse_args())
