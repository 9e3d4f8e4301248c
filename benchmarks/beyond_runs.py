"""Train and evaluate the configurations of `beyond.py`, each in a process of its own."""

import io
import itertools
import math
import multiprocessing
import re
import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from beyond_parts import Configuration
from beyond_shown import read_costs, write_costs
from ubp.commands.evaluating import evaluate_models
from ubp.commands.training import train_jobs
from ubp.config import Common, TrainOptions
from ubp.data.study import Study
from ubp.description import DESCRIPTION
from ubp.job import Job
from ubp.model import HISTORY
from ubp.results import Results, find_runs


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
    common: Common

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
    new = [job for job in jobs if not (task.out / job.folder / DESCRIPTION).exists()]
    started = time.process_time()
    with redirect_stdout(io.StringIO()):
        train_jobs(Study.open(task.study), jobs, task.out, common=task.common)
    if not new:
        return math.nan, math.nan
    return (time.process_time() - started) / len(new), most_memory()


def most_memory() -> float:
    """The most memory this process held, in MiB; under Linux without what its parent held when it started it."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
        if found:
            return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


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


def trained(out: Path, setting: str, subjects: Sequence[str], seeds: int) -> dict[str, list[Path]]:
    """Models of each configuration's folder, of these subjects and at most so many seeds.

    A configuration of which some subject lacks a seed that another has is not finished, and left out.
    """
    found: dict[str, dict[str, dict[str, Path]]] = {}
    place = out / "runs" / setting
    for folder in find_runs(place) if place.exists() else ():
        subject, name, seed = folder.parts[-3:]
        if subject in subjects and seed in {f"seed-{number}" for number in range(seeds)}:
            found.setdefault(name, {}).setdefault(subject, {})[seed] = folder
    return {
        name: [folder for seeds_of in of_subject.values() for folder in seeds_of.values()]
        for name, of_subject in found.items()
        if set(of_subject) == set(subjects) and len({tuple(sorted(one)) for one in of_subject.values()}) == 1
    }


def evaluated(out: Path, folders: Sequence[Path], common: Common, single: bool = False) -> Results:
    """Results of models, of single presentations where asked for."""
    ranks = out / "single" if single else None
    return evaluate_models(folders, out / "runs", ridge=False, average=not single, ranks=ranks, common=common)


def fit_all(tasks: Sequence[Task], processes: int, costs_file: Path | None) -> None:
    """Train the models of tasks, a process for each, or in this one with no processes; write what they cost."""
    costs = read_costs(costs_file) if costs_file else {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max(1, processes), context, max_tasks_per_child=1) as pool:
        for task, measured in zip(tasks, pool.map(fit, tasks) if processes else map(fit, tasks), strict=True):
            key = (task.setting, task.configuration.name)
            print(f"{key[0]}, {key[1]}: {measured[0]:.1f} s a model, {measured[1]:.0f} MiB", flush=True)
            if costs_file and not math.isnan(measured[0]):
                costs[key] = measured
                write_costs(costs_file, costs)
