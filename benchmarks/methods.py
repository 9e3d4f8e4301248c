"""Every method of `ubp methods` side by side on one study, in both settings, with shuffled pairs beside it.

`python benchmarks/methods.py` simulates 10 subjects with 63 channels and trains 3 seeds of each method for each; with a
study's folder it takes that. It writes methods.md and methods.csv to `--out`: top-1 and top-5 with 95 % intervals over
subjects, seeds and test images, chance, the control, and the parameters of the brain encoder. A method that the study
cannot serve is listed with its refusal. `--change METHOD KEY=VALUE` sets an option of training over the published one;
what was changed stands below the table. Run again, it continues. It fails where a method is not above chance, or its
control is, at 5 % over all rows.
"""

import argparse
import dataclasses
import io
import multiprocessing
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console

from ubp.commands.evaluating import evaluate_models
from ubp.commands.images import build_store
from ubp.commands.training import train
from ubp.config import SETTINGS, Common
from ubp.data.simulated import Simulation
from ubp.data.study import Study
from ubp.demo import simulated_study
from ubp.errors import InputError
from ubp.files import write_text
from ubp.grid.factors import read_values, text
from ubp.measures import measure
from ubp.methods import METHODS, method, method_preset
from ubp.model import Model
from ubp.results import RESULTS, RIDGE, Results, find_runs
from ubp.saved import read_results
from ubp.sheets import Sheet, markdown
from ubp.statistics import bootstrap_interval, grand_mean
from ubp.tables import sheet_table

SIMULATED = Simulation(n_subjects=10, n_concepts=100, n_test=200, snr=0.3)
BLUR_PRIOR: dict[str, Any] = {"batch_size": 256, "learning_rate": 3e-4}
NICE: dict[str, Any] = {"batch_size": 64, "learning_rate": 2e-3, "validation_concepts": 20}
ATM: dict[str, Any] = {"batch_size": 64, "learning_rate": 2e-3}
CHANGES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("vanilla", "blur", "ubp", "official", "ubp-plus"), BLUR_PRIOR),
    **dict.fromkeys(("nice", "nice-sa", "nice-ga"), NICE),
    "atm-s": ATM,
}
"""For the simulated study, chosen on validation concepts of another simulated study."""
EPOCHS = {
    "intra-subject": {**dict.fromkeys(CHANGES, 15), **dict.fromkeys(("nice", "nice-sa", "nice-ga"), 24), "atm-s": 10},
    "inter-subject": {**dict.fromkeys(CHANGES, 2), **dict.fromkeys(("nice", "nice-sa", "nice-ga"), 3)},
}
"""Nine subjects make nine times the pairs, and so a ninth of the epochs about the same number of steps."""


@dataclass(frozen=True)
class Task:
    """The models of one method in one setting, or of its control."""

    study: Path
    out: Path
    method: str
    setting: str
    subjects: tuple[str, ...]
    seeds: tuple[int, ...]
    changes: Mapping[str, Any]
    encoder: str = "gabor"
    width: int = 51
    step: int = 6

    @property
    def shuffled(self) -> bool:
        """Whether it is the control."""
        return bool(self.changes.get("shuffle_pairs"))


def fit(task: Task) -> str:
    """Train a task's models; the refusal, if the study cannot serve the method."""
    torch.set_num_threads(1)
    try:
        with redirect_stdout(io.StringIO()):
            train(
                task.study,
                out=task.out / "runs",
                encoder=task.encoder,
                methods=(task.method,),
                width=task.width,
                step=task.step,
                subjects=task.subjects,
                setting=task.setting,
                seeds=task.seeds,
                changes=task.changes,
                common=Common(store=task.out / "features", device="cpu", quiet=True),
            )
    except InputError as error:
        return str(error)
    return ""


def evaluated(out: Path, common: Common) -> dict[str, Results]:
    """Results of all runs by measure; ridge regression beside the intra-subject ones."""
    tables = []
    for setting in SETTINGS:
        if (out / "runs" / setting).exists():
            folders = find_runs(out / "runs" / setting)
            ridge = setting == SETTINGS[0]
            tables.append(evaluate_models(folders, out / "runs", ridge=ridge, common=common).table)
    write_text(out / "runs" / RESULTS, pd.concat(tables).to_csv(index=False))
    return {name: read_results([out / "runs"], measure(name)) for name in ("top1", "top5")}


def rows(results: Mapping[str, Results], runs: Path, n_families: int) -> pd.DataFrame:
    """One row a setting and method: accuracies with intervals, chance, the control, parameters, and what holds."""
    table = results["top1"].table
    found = []
    for setting, name in results["top1"].hits:
        if ", shuffled" in name:
            continue
        part = table[(table["setting"] == setting) & (table["method"] == name)]
        row: dict[str, Any] = {"setting": setting, "method": name, "subjects": part["subject"].nunique()}
        row |= {"seeds": part["seed"].nunique(), "parameters": _parameters(runs / part["run"].iloc[0], name)}
        by_chance = {what: part["gallery_size"].map(measure(what).by_chance).mean() for what in results}
        row |= {f"{what}_chance": float(value) for what, value in by_chance.items()}
        for kind, control in (("", name), ("shuffled_", f"{name}, shuffled")):
            for what, result in results.items():
                if (setting, control) in result.hits:
                    scores = result.scores(setting, control)
                    low, high = result.interval(setting, control, scores)
                    row |= {f"{kind}{what}": grand_mean(list(scores.values()))}
                    row |= {f"{kind}{what}_low": low, f"{kind}{what}_high": high}
                    images = [result.images(setting, control, subject) for subject in scores]
                    strict, _ = bootstrap_interval(list(scores.values()), images, 1 - 0.05 / n_families)
                    row[f"{kind}{what}_above"] = strict > by_chance[what]
        found.append(row)
    return pd.DataFrame(found)


def _parameters(run: Path, name: str) -> int | None:
    if name == RIDGE:
        return None
    return sum(weights.numel() for weights in Model.load(run).encoder.parameters())


def sheets(found: pd.DataFrame, refused: Iterable[tuple[str, str, str]], notes: Sequence[str]) -> list[Sheet]:
    """A table for each setting."""
    header = ("method", "top-1 %", "95 % interval", "top-5 %", "95 % interval", "shuffled", "95 % interval")
    header = (*header, "parameters")
    made = []
    for setting in dict.fromkeys(found["setting"]):
        part = found[found["setting"] == setting]
        cells = []
        for row in part.to_dict("records"):
            texts = [text for name in ("top1", "top5", "shuffled_top1") for text in _interval(row, name)]
            count = "" if pd.isna(row["parameters"]) else f"{row['parameters']:,.0f}".replace(",", " ")
            cells.append((row["method"], *texts, count))
        cells += [(name, "refused", *[""] * (len(header) - 2)) for where, name, _ in refused if where == setting]
        chances = [f"{100 * part[f'{name}_chance'].mean():.2f}" for name in ("top1", "top5")]
        said = f"{part['subjects'].max()} subjects, {part['seeds'].max()} seeds; chance {' and '.join(chances)} %."
        made.append(Sheet(f"Methods, {setting}", header, tuple(cells), notes=(said, *notes)))
    return made


def _interval(row: Mapping[Any, Any], name: str) -> tuple[str, str]:
    if pd.isna(row.get(name, float("nan"))):
        return "", ""
    return f"{100 * row[name]:.1f}", f"{100 * row[f'{name}_low']:.1f} to {100 * row[f'{name}_high']:.1f}"


def changed(name: str, setting: str, changes: Mapping[str, Any]) -> str:
    """What is not as published, in a sentence."""
    published = dataclasses.asdict(method(name).train_options(setting))
    differing = {key: value for key, value in changes.items() if value != published[key]}
    told = [f"{key} {text(value)} ({text(published[key])})" for key, value in differing.items()]
    return f"{name}: {', '.join(told) or 'as published'}."


def changes_of(arguments: argparse.Namespace, name: str, setting: str) -> dict[str, Any]:
    """Options of training that are set over the published ones of a method."""
    chosen: dict[str, Any] = {}
    if arguments.study is None and name in CHANGES:
        chosen = {"epochs": EPOCHS[setting][name], **CHANGES[name]}
    for target, change in arguments.change or ():
        key, _, value = change.partition("=")
        if target in (name, "all"):
            chosen[key] = value if key == "brain_encoder" else read_values(key, [value])[0]
    return chosen | ({"epochs": arguments.epochs} if arguments.epochs else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", type=Path)
    parser.add_argument("--out", type=Path, default=Path("methods"))
    parser.add_argument("--encoder", default="gabor")
    parser.add_argument("--width", type=int, nargs=2, metavar=("WIDTH", "STEP"))
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--subjects", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--control-subjects", type=int, default=5, help="of the control, with one seed")
    parser.add_argument("--change", nargs=2, action="append", metavar=("METHOD", "KEY=VALUE"), help="METHOD may be all")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    raise SystemExit(0 if compare_methods(arguments) else 1)


def compare_methods(arguments: argparse.Namespace) -> bool:
    """Train, evaluate, and write the tables; whether every method is above chance and every control at chance."""
    out, common = arguments.out, Common(store=arguments.out / "features", device="cpu", quiet=True)
    if arguments.study is None:
        simulation = dataclasses.replace(SIMULATED, n_subjects=arguments.subjects or SIMULATED.n_subjects)
        study = simulated_study(out / "study", simulation, True, "the benchmark")
        width, step = simulation.true_width, simulation.width_step
    else:
        study, (width, step) = Study.open(arguments.study), (51, 6)
    width, step = arguments.width or (width, step)
    subjects = study.subjects[: arguments.subjects]
    tasks = []
    for setting in arguments.settings:
        for name in arguments.methods:
            changes = changes_of(arguments, name, setting)
            for whose, seeds, control in (
                (subjects, tuple(range(arguments.seeds)), {}),
                (subjects[: arguments.control_subjects], (0,), {"shuffle_pairs": True}),
            ):
                about = (name, setting, tuple(whose), seeds, {**changes, **control})
                tasks.append(Task(study.root, out, *about, arguments.encoder, width, step))
    ladders = [level for name in arguments.methods for level in method_preset(name, width, step).ladder]
    build_store(study, arguments.encoder, ladders, common)
    refused = []
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
        for task, refusal in zip(tasks, pool.map(fit, tasks), strict=True):
            print(f"{task.setting}, {task.method}{', shuffled' * task.shuffled}: {refusal or 'trained'}", flush=True)
            if refusal and not task.shuffled:
                refused.append((task.setting, task.method, refusal))
    with redirect_stdout(io.StringIO()):
        found = rows(evaluated(out, common), out / "runs", len(tasks) // 2)
    settings = {(task.setting, task.method): task.changes for task in tasks if not task.shuffled}
    notes = {
        setting: [changed(name, setting, changes) for (where, name), changes in settings.items() if where == setting]
        for setting in arguments.settings
    }
    made = sheets(found, refused, ())
    made = [
        dataclasses.replace(
            sheet,
            notes=(
                *sheet.notes,
                "Settings, the published ones in brackets:",
                *notes[sheet.title.removeprefix("Methods, ")],
                *(f"{name} is refused: {text}." for where, name, text in refused if sheet.title.endswith(where)),
            ),
        )
        for sheet in made
    ]
    write_text(out / "methods.csv", found.to_csv(index=False))
    write_text(out / "methods.md", "\n".join(map(markdown, made)))
    for sheet in made:
        Console(width=130).print(sheet_table(sheet))
    controls = found["shuffled_top1_above"].dropna() if "shuffled_top1_above" in found else pd.Series(dtype=bool)
    return bool(found["top1_above"].all() and not controls.any())


if __name__ == "__main__":
    main()
