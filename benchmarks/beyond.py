"""What each part beyond the paper is worth: added to `ubp`, and removed from `ubp-plus`, with paired intervals.

`python benchmarks/beyond.py --out beyond` simulates 10 subjects and runs both settings; with a study's folder it takes
that, as in `python benchmarks/beyond.py THINGS --encoder RN50 --layer RN50,layer=layer3,pool=grid2`. Settings are
chosen with `--validate N`, which holds out N training concepts of every subject, trains on the others and prints the
accuracy on these, and never opens the test split. Without it every configuration is trained on all training concepts
and ranked on the test images once, beside `ubp` and `ubp-plus` with shuffled pairs. It writes beyond.csv, beyond.md and
beyond.png; `--into PAGE` puts the tables between the page's lines `<!-- beyond: NAME -->` and `<!-- end -->`, NAME
being the study's, and what the parts are between `<!-- beyond: parts -->` and its end. Run again, it continues.

Seconds are processor time, of training alone; memory is the most that a process held while it trained the models of
the configuration one after the other.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from beyond_parts import (
    LAYER,
    PARTS,
    PLUS,
    PLUS_PARTS,
    REPETITIONS,
    SHARED,
    SHUFFLED,
    SUBJECTS,
    TIME,
    UBP,
    Configuration,
    acting,
    configurations,
    plus_parts,
    trained_as,
)
from beyond_runs import Task, evaluated, fit_all, trained, validation
from beyond_shown import differences_figure, inserted, legend, read_costs, report, sheet
from methods import SIMULATED
from ubp.commands.figures import save_figure
from ubp.commands.images import build_store
from ubp.config import SETTINGS, Common, TrainOptions
from ubp.data.study import Study
from ubp.demo import simulated_study
from ubp.errors import InputError
from ubp.files import write_text
from ubp.grid.factors import read_values
from ubp.sheets import markdown

COSTS, SIMULATED_NAME = "costs.csv", "simulated"


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
    together = setting != SETTINGS[0]
    images = {
        subject: one.trials.loc[one.trials["split"] == "train", "image"] for subject, one in study.recordings.items()
    }
    trained_on = {one for one in images if set(subjects) != {one}} if together else set(subjects)
    distinct = {subject: one.drop_duplicates() for subject, one in images.items()}
    found = {
        LAYER: layer is not None,
        TIME: min(one.header.shape[2] for one in recordings) > 1,
        SUBJECTS: together,
        SHARED: together and all(_shared(distinct, subject) for subject in subjects),
        REPETITIONS: min((images[one].value_counts().min() for one in trained_on), default=0) > 1,
    }
    return {name for name, there in found.items() if there}


def _shared(images: Mapping[str, pd.Series], held_out: str) -> bool:
    """Whether two of the other subjects saw one image."""
    others = [seen for subject, seen in images.items() if subject != held_out]
    return bool(others) and bool(pd.concat(others).duplicated().any())


def check_names(names: Sequence[str], plus: Sequence[str], parts: Sequence[str]) -> None:
    """Refuse names of configurations that there are not, whatever the study has."""
    known = {one.name for one in configurations(plus, parts)}
    for name in names:
        if name not in known:
            raise InputError(
                f"There is no configuration {name!r}; expected {UBP}, {PLUS}, '{UBP} + PART', '{PLUS} - PART' with "
                f"one of its own parts ({', '.join(plus)}), or the first two with '{SHUFFLED}' behind."
            )


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
    made.add_argument("--device", default="cpu", help="cuda with --processes 1")
    made.add_argument("--report", action="store_true", help="train nothing, and show what was trained")
    made.add_argument("--into", type=Path, metavar="PAGE")
    return made


@dataclass(frozen=True)
class Plan:
    """What the command line asks for, with what the study says where it is silent."""

    study: Study
    name: str
    settings: tuple[str, ...]
    subjects: tuple[str, ...]
    blur: tuple[int, int]
    base: dict[str, TrainOptions]
    common: Common

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Plan":
        """With the settings of the simulated study, or the published ones."""
        out, store = arguments.out, arguments.store
        if arguments.study is None:
            study, name = simulated_study(out / "study", SIMULATED, True, "the benchmark"), SIMULATED_NAME
            blur, store, settings = (SIMULATED.true_width, SIMULATED.width_step), out / "features", SETTINGS
            epochs, batch_size, learning_rates = (15, 2), 256, (3e-4, 3e-4)
        else:
            study, name = Study.open(arguments.study), Path(arguments.study).name
            blur, settings = (51, 6), SETTINGS[:1]
            epochs, batch_size, learning_rates = (50, 50), 1024, (1e-4, 1e-5)
        given = list(arguments.epochs or ())
        rates = [arguments.learning_rate] * 2 if arguments.learning_rate else learning_rates
        further = {key: read_values(key, value)[0] for key, _, value in (one.partition("=") for one in arguments.set)}
        base = {
            setting: TrainOptions(
                epochs=number,
                batch_size=arguments.batch_size or batch_size,
                learning_rate=rate,
                validation_concepts=arguments.validate,
                **further,
            )
            for setting, number, rate in zip(SETTINGS, [*given, *epochs[len(given) :]], rates, strict=True)
        }
        return cls(
            study,
            name,
            tuple(arguments.settings or settings),
            tuple(arguments.subjects or study.subjects),
            tuple(arguments.width or blur),
            base,
            Common(store=store, device=arguments.device, quiet=True, dtype="float16"),
        )

    def chosen(self, setting: str, arguments: argparse.Namespace) -> list[Configuration]:
        """Configurations that are asked for, and can act."""
        there = what_is_there(self.study, self.subjects, setting, arguments.layer)
        made = configurations(plus_parts(there, arguments.plus), acting(arguments.parts, there))
        if arguments.validate:
            made = [one for one in made if not one.shuffled]
        if arguments.only:
            made = [one for one in made if one.name in arguments.only]
        if arguments.report:
            runs = trained(arguments.out, setting, self.subjects, arguments.seeds)
            folders, first = {one.name: one.folder for one in made}, trained_as(made)
            made = [one for one in made if folders[first[one.name]] in runs]
        return made

    def tasks(self, setting: str, chosen: Sequence[Configuration], arguments: argparse.Namespace) -> list[Task]:
        """What is to be trained, each once."""
        first = set(trained_as(chosen).values())
        return [
            Task(
                self.study.root,
                arguments.out / ("validated" if arguments.validate else "runs"),
                one,
                setting,
                self.subjects,
                tuple(range(arguments.seeds)),
                one.options(self.base[setting]),
                arguments.layer if one.layer else arguments.encoder,
                self.blur,
                self.common,
            )
            for one in chosen
            if one.name in first
        ]


def run(arguments: argparse.Namespace) -> None:
    """Train, evaluate and write the tables."""
    check_names(arguments.only or (), arguments.plus, arguments.parts)
    plan, out = Plan.of(arguments), arguments.out
    if arguments.into:
        inserted(arguments.into.read_text(encoding="utf-8"), plan.name, "")
    chosen = {setting: plan.chosen(setting, arguments) for setting in plan.settings}
    chosen = {setting: some for setting, some in chosen.items() if some}
    if not chosen:
        raise InputError("Nothing is left to be shown: no configuration that is asked for can act, or is trained.")
    if not arguments.report:
        for configurations_of in chosen.values():
            build_stores(plan.study, arguments.encoder, arguments.layer, plan.blur, configurations_of, plan.common)
        tasks = [task for setting, some in chosen.items() for task in plan.tasks(setting, some, arguments)]
        fit_all(tasks, arguments.processes, None if arguments.validate else out / COSTS)
        if arguments.validate:
            print(validation(tasks).round(4).to_string(index=False))
            return
    tables, made = [], []
    for setting, some in chosen.items():
        for title, table, said in reports(plan, setting, some, arguments):
            tables.append(table)
            made.append(sheet(title, table, said))
    together = pd.concat(tables, ignore_index=True)
    write_text(out / "beyond.csv", together.to_csv(index=False))
    text = "\n\n".join(markdown(one) for one in made)
    write_text(out / "beyond.md", text + "\n")
    save_figure(differences_figure(together[together["query"] == "mean"]), out / "beyond.png")
    print(text)
    if arguments.into:
        page = inserted(arguments.into.read_text(encoding="utf-8"), plan.name, text)
        write_text(arguments.into, inserted(page, "parts", legend()))


def reports(
    plan: Plan, setting: str, chosen: Sequence[Configuration], arguments: argparse.Namespace
) -> Iterator[tuple[str, pd.DataFrame, str]]:
    """Title, table and what is said of it: of all configurations, and of single presentations."""
    out, single = arguments.out, arguments.single
    costs, models = read_costs(out / COSTS), trained(out, setting, plan.subjects, arguments.seeds)
    names = {one.folder for one in chosen}
    folders = [folder for name, some in models.items() if name in names for folder in some]
    table = report(evaluated(out, folders, plan.common), costs, setting, chosen)
    said = "All repetitions of a test image are averaged."
    yield setting, table.assign(query="mean"), said
    few = [one for one in chosen if one.name in (UBP, PLUS)]
    if single and few:
        names = {one.folder for one in few}
        folders = [folder for folder in folders if folder.parts[-2] in names and folder.parts[-3] in single]
        table = report(evaluated(out, folders, plan.common, True), costs, setting, few)
        said = f"Single presentations of {', '.join(single)}."
        yield f"{setting}, single presentations", table.assign(query="single"), said


if __name__ == "__main__":
    run(parser().parse_args())
