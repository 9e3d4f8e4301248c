"""What each part beyond the paper is worth: added to `ubp`, and removed from `ubp-plus`, with paired intervals.

`python benchmarks/beyond.py --out beyond` simulates 10 subjects and runs both settings; with a study's folder it takes
that, as in `python benchmarks/beyond.py THINGS --encoder RN50 --layer RN50,layer=layer3,pool=grid2`. Settings are
chosen with `--validate N`, which holds out N training concepts of every subject, trains on the others and prints the
accuracy on these, and never opens the test split. Without it every configuration is trained on all training concepts
and ranked on the test images once. It writes beyond.csv and beyond.md; run again, it continues.
"""

import argparse
import io
import itertools
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from methods import SIMULATED
from ubp.commands.evaluating import evaluate_models
from ubp.commands.images import build_store
from ubp.commands.training import train_jobs
from ubp.config import SETTINGS, Common, TrainOptions
from ubp.data.study import Study
from ubp.demo import simulated_study
from ubp.files import write_text
from ubp.job import Job
from ubp.model import HISTORY
from ubp.presets import Preset, preset
from ubp.results import Results, find_runs, merged
from ubp.sheets import Sheet, markdown

UBP, PLUS = "ubp", "ubp-plus"
SECONDS = "seconds.csv"


@dataclass(frozen=True)
class Part:
    """One idea that can be switched on alone.

    Parameters
    ----------
    what : str
        In a sentence.
    options : dict
        Options of training over those of `ubp`.
    preset : str, optional
        Blur of the images, instead of `ubp`'s.
    layer : bool
        Images are embedded by an intermediate layer.
    """

    what: str
    options: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    layer: bool = False


PARTS = {
    "bank": Part("mean over a bank of blurs instead of one of three levels", preset="bank"),
    "learned bank": Part("one learned weight for each level of the bank", {"mixture": "learned"}, "bank"),
    "per-dimension bank": Part("learned weights for each dimension", {"mixture": "per-dimension"}, "bank"),
    "per-image bank": Part("weights predicted from the image", {"mixture": "per-image"}, "bank"),
    "adapter": Part(
        "a linear map of 256 principal components of the image features",
        {"components": 256, "adapter": "linear", "adapter_dim": 256},
    ),
    "bottleneck": Part(
        "the same with a bottleneck and dropout", {"components": 256, "adapter": "bottleneck", "adapter_dim": 256}
    ),
    "cosine loss": Part("both sides normalised, scale learned", {"loss": "clip"}),
    "three members": Part("three encoders trained side by side", {"members": 3}),
    "average": Part("moving average of the weights", {"weight_average": 0.98}),
    "layer": Part(
        "an intermediate layer of the image encoder, 256 principal components of it", {"components": 256}, layer=True
    ),
}


@dataclass(frozen=True)
class Configuration:
    """A method to report: `ubp` with parts."""

    name: str
    parts: tuple[str, ...] = ()

    def blur(self, width: int, step: int) -> Preset:
        """Its preset, under its own name."""
        chosen = [PARTS[part].preset for part in self.parts if PARTS[part].preset]
        return replace(preset(chosen[-1] if chosen else UBP, width, step), name=self.name)

    def options(self, base: TrainOptions) -> TrainOptions:
        """Options of training over those of `ubp`."""
        return replace(base, **{key: value for part in self.parts for key, value in PARTS[part].options.items()})

    @property
    def layer(self) -> bool:
        """Whether its images are embedded by an intermediate layer."""
        return any(PARTS[part].layer for part in self.parts)


def configurations(plus: Sequence[str], parts: Sequence[str]) -> list[Configuration]:
    """`ubp`, `ubp` with each part, `ubp-plus`, and `ubp-plus` without each of its parts."""
    return [
        Configuration(UBP),
        *(Configuration(f"ubp + {part}", (part,)) for part in parts),
        Configuration(PLUS, tuple(plus)),
        *(Configuration(f"ubp-plus - {part}", tuple(p for p in plus if p != part)) for part in plus),
    ]


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


def fit(task: Task) -> float:
    """Train a task's models; seconds a model, of those trained now."""
    torch.set_num_threads(1)
    jobs = task.jobs()
    common = Common(store=task.store, device="cpu", quiet=True, dtype="float16")
    new = [job for job in jobs if not (task.out / job.folder / "model.json").exists()]
    started = time.process_time()
    with redirect_stdout(io.StringIO()):
        train_jobs(Study.open(task.study), jobs, task.out, common=common)
    return (time.process_time() - started) / max(1, len(new)) if new else float("nan")


def validation(tasks: Sequence[Task]) -> pd.DataFrame:
    """Mean over subjects and seeds of the accuracy on the held-out training concepts after the last epoch."""
    rows = []
    for task in tasks:
        last = [pd.read_csv(task.out / job.folder / HISTORY).iloc[-1] for job in task.jobs()]
        table = pd.DataFrame(last)[["validation_top1", "validation_top5", "validation_mrr"]]
        best = [pd.read_csv(task.out / job.folder / HISTORY)["validation_mrr"].max() for job in task.jobs()]
        rows.append(
            {
                "setting": task.setting,
                "configuration": task.configuration.name,
                **table.mean(),
                "best_mrr": sum(best) / len(best),
            }
        )
    return pd.DataFrame(rows)


def report(results: Results, seconds: Mapping[tuple[str, str], float], tasks: Sequence[Task]) -> pd.DataFrame:
    """A row a setting and configuration: accuracy, and paired difference from `ubp` or `ubp-plus`."""
    rows = []
    for task in tasks:
        name, setting = task.configuration.name, task.setting
        scores = results.scores(setting, name)
        low, high = results.interval(setting, name, scores)
        against = UBP if name == PLUS or name.startswith("ubp + ") else PLUS if name != UBP else None
        compared = results.comparison(setting, name, against) if against else None
        part = results.table.query("setting == @setting and method == @name")
        rows.append(
            {
                "setting": setting,
                "configuration": name,
                "top1": part.groupby("subject")["top1"].mean().mean(),
                "low": low,
                "high": high,
                "top5": part.groupby("subject")["top5"].mean().mean(),
                "chance": part["top1_chance"].mean(),
                "against": against,
                "difference": compared["difference"] if compared else None,
                "difference_low": compared["low"] if compared else None,
                "difference_high": compared["high"] if compared else None,
                "seconds": seconds.get((setting, name)),
            }
        )
    return pd.DataFrame(rows)


def sheets(table: pd.DataFrame, said: str) -> list[Sheet]:
    """A table for each setting."""
    header = (
        "configuration",
        "top-1 %",
        "95 % interval",
        "top-5 %",
        "difference, points",
        "95 % interval",
        "seconds a model",
    )
    made = []
    for setting, part in table.groupby("setting", sort=False):
        cells = []
        for row in part.to_dict("records"):
            differs = row["against"] is not None and not pd.isna(row["difference"])
            cells.append(
                (
                    row["configuration"],
                    f"{100 * row['top1']:.1f}",
                    f"{100 * row['low']:.1f} to {100 * row['high']:.1f}",
                    f"{100 * row['top5']:.1f}",
                    f"{100 * row['difference']:+.1f} against {row['against']}" if differs else "",
                    f"{100 * row['difference_low']:+.1f} to {100 * row['difference_high']:+.1f}" if differs else "",
                    "" if pd.isna(row["seconds"]) else f"{row['seconds']:.1f}",
                )
            )
        note = f"{said} Chance is {100 * part['chance'].mean():.2f} %."
        made.append(Sheet(str(setting), header, tuple(cells), notes=(note,)))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", type=Path)
    parser.add_argument("--out", type=Path, default=Path("beyond"))
    parser.add_argument("--encoder", default="gabor")
    parser.add_argument("--layer", help="the encoder with an intermediate layer; without it that part is left out")
    parser.add_argument("--width", type=int, nargs=2, metavar=("WIDTH", "STEP"))
    parser.add_argument("--settings", nargs="*", default=None, choices=list(SETTINGS))
    parser.add_argument("--subjects", nargs="*")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--plus", nargs="*", default=None, choices=list(PARTS))
    parser.add_argument("--only", nargs="*", help="configurations by name")
    parser.add_argument("--validate", type=int, default=0, metavar="N")
    parser.add_argument("--epochs", type=int, nargs="*", help="intra-subject, inter-subject")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further options of all")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    run(arguments)


def run(arguments: argparse.Namespace) -> None:
    """Train, evaluate and write the tables."""
    out, store = arguments.out, arguments.store
    if arguments.study is None:
        study = simulated_study(out / "study", SIMULATED, True, "the benchmark")
        simulation = SIMULATED
        blur, store = (simulation.true_width, simulation.width_step), out / "features"
        epochs, batch_size, learning_rate = (15, 2), 256, 3e-4
        settings = arguments.settings or SETTINGS
    else:
        study, blur = Study.open(arguments.study), (51, 6)
        epochs, batch_size, learning_rate = (50, 50), 1024, 1e-4
        settings = arguments.settings or ("intra-subject",)
    blur = tuple(arguments.width or blur)
    epochs = dict(zip(SETTINGS, [*(arguments.epochs or epochs), *epochs][:2], strict=True))
    layer = [arguments.layer] if arguments.layer else []
    plus = arguments.plus if arguments.plus is not None else [p for p in PLUS_PARTS if layer or not PARTS[p].layer]
    parts = [part for part in arguments.parts if layer or not PARTS[part].layer]
    chosen = configurations(plus, parts)
    if arguments.only:
        chosen = [one for one in chosen if one.name in arguments.only]
    common = Common(store=store, device="cpu", quiet=True, dtype="float16")
    for encoder in (arguments.encoder, *layer):
        ladder = [level for one in chosen if one.layer == (encoder in layer) for level in one.blur(*blur).ladder]
        if ladder:
            build_store(study, encoder, ladder, common)
    kinds = {key: type(value) for key, value in vars(TrainOptions()).items()}
    further = {key: kinds[key](value) for key, _, value in (one.partition("=") for one in arguments.set)}
    tasks = []
    for setting, one in itertools.product(settings, chosen):
        base = TrainOptions(
            epochs=epochs[setting],
            batch_size=arguments.batch_size or batch_size,
            learning_rate=arguments.learning_rate or learning_rate,
            validation_concepts=arguments.validate,
            **further,
        )
        tasks.append(
            Task(
                study.root,
                out / ("validated" if arguments.validate else "runs"),
                one,
                setting,
                tuple(arguments.subjects or study.subjects),
                tuple(range(arguments.seeds)),
                one.options(base),
                arguments.layer if one.layer else arguments.encoder,
                blur,
                store,
            )
        )
    timed = out / SECONDS
    known = pd.read_csv(timed) if timed.exists() else pd.DataFrame(columns=["setting", "configuration", "seconds"])
    seconds = {(row.setting, row.configuration): row.seconds for row in known.itertuples()}
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
        for task, taken in zip(tasks, pool.map(fit, tasks), strict=True):
            key = (task.setting, task.configuration.name)
            print(f"{key[0]}, {key[1]}: {taken:.1f} s a model", flush=True)
            if not arguments.validate and taken == taken:
                seconds[key] = taken
                rows = [(*key, value) for key, value in seconds.items()]
                table = pd.DataFrame(rows, columns=["setting", "configuration", "seconds"])
                write_text(timed, table.to_csv(index=False))
    if arguments.validate:
        print(validation(tasks).round(4).to_string(index=False))
        return
    names = {task.configuration.name for task in tasks}
    found = []
    for setting in settings:
        folders = [folder for folder in find_runs(out / "runs" / setting) if folder.parent.name in names]
        found.append(evaluate_models(folders, out / "runs", ridge=False, common=common))
    table = report(merged(found), seconds, tasks)
    write_text(out / "beyond.csv", table.to_csv(index=False))
    said = f"{len(tasks[0].subjects)} subjects, {arguments.seeds} seeds."
    text = "\n\n".join(markdown(sheet) for sheet in sheets(table, said))
    write_text(out / "beyond.md", text)
    print(text)


PLUS_PARTS = ("bank", "adapter", "cosine loss", "three members", "layer")

if __name__ == "__main__":
    main()
