"""Figure 8: what ubp adds to vanilla, for brain encoders and vision encoders."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ubp.errors import InputError
from ubp.evaluate import larger_k
from ubp.measures import measure
from ubp.plots.heat import heat_figure
from ubp.progress import counted
from ubp.published import published
from ubp.reproduce.models import Models
from ubp.reproduce.output import Output, Plan
from ubp.reproduce.setup import Group, Setup
from ubp.reproduce.wording import chance_text, each_of, interval, percent
from ubp.results import Results
from ubp.sheets import Sheet
from ubp.statistics import grand_mean

TITLE = "Figure 8: gain of ubp over vanilla"
METHODS = ("vanilla", "ubp")
SETTING = "intra-subject"

Cells = Mapping[tuple[str, str], Mapping[str, Any]]


def plan(setup: Setup) -> Plan:
    """Both methods for every brain encoder and vision encoder that can serve the study."""
    brains = setup.choices.brain_encoders or setup.scale.brain_encoders
    visions = setup.choices.vision_encoders or setup.scale.vision_encoders
    subjects = setup.subjects if setup.choices.subjects else setup.subjects[: setup.scale.grid_subjects]
    seeds = setup.choices.seeds or setup.scale.grid_seeds
    usual = setup.group(METHODS, SETTING, subjects=subjects, seeds=seeds)
    kept: list[str] = []
    notes: tuple[str, ...] = ()
    reasons: list[str] = []
    for brain in brains:
        try:
            setup.jobs(replace(usual, brain_encoder=brain, seeds=seeds[:1]))
            kept.append(brain)
        except InputError as error:
            reasons.append(str(error).rstrip("."))
            notes += (f"Left out: {brain}. {reasons[-1]}.",)
    if not kept:
        raise InputError(f"{reasons[0]}.")
    default = {job.options.brain_encoder for job in setup.jobs(replace(usual, seeds=seeds[:1]))}
    groups = []
    for brain in kept:
        for vision in visions:
            # what is the method's own encoder anyway shares its models with the tables
            own = None if default == {brain} else brain
            groups.append(replace(usual, vision_encoder=vision, brain_encoder=own))
    return Plan(tuple(groups), notes)


def make(models: Models, plan: Plan) -> Output:
    """Gain in top-1 with its paired interval, for every pair of encoders."""
    setup = models.setup
    k = larger_k(setup.study)
    rows, table = [], None
    for group in plan.groups:
        measured = models.measured(group)
        found = {f"top{n}": measured.results(measure(f"top{n}")) for n in sorted({1, k})}
        table = found["top1"].table if table is None else table
        rows.append(_row(found, group, k))
    each = pd.DataFrame(rows)
    assert table is not None
    group = plan.groups[0]
    notes = (
        f"ubp minus vanilla in top-1, points, paired over {counted(len(group.subjects), 'subject')}, "
        f"{counted(len(group.seeds), 'seed')} and test images, 95 % bootstrap intervals over them; * where "
        f"the interval leaves out 0 (not corrected for the number of cells). Study {setup.study.info.name!r}, "
        f"{SETTING}, "
        f"gallery of {each_of(table['gallery_size'])} test images, chance {chance_text(table)}, inductive; "
        "kernel widths in proportion to each encoder's input.",
        _published_gain(),
        *plan.notes,
    )
    brains, visions = (list(dict.fromkeys(each[name])) for name in ("brain_encoder", "vision_encoder"))
    cells = {(row["brain_encoder"], row["vision_encoder"]): row for row in rows}
    grid = np.array([[100 * cells[brain, vision]["difference"] for vision in visions] for brain in brains])
    marks = np.array([[excludes_zero(cells[brain, vision]) for vision in visions] for brain in brains])
    caption = "Gain in top-1 accuracy of ubp over vanilla, in points. " + " ".join(notes)
    figure = heat_figure(grid, marks, brains, visions, "gain (points)")
    return Output(TITLE, (_gains(cells, brains, visions), _each(cells, notes)), each, figure, caption)


def excludes_zero(row: Mapping[str, Any]) -> bool:
    """Whether the interval of a difference leaves out 0."""
    return bool(row["difference_low"] > 0 or row["difference_high"] < 0)


def _row(found: dict[str, Results], group: Group, k: int) -> dict[str, Any]:
    first = found["top1"]
    brain = first.table["brain_encoder"].iloc[0]
    row: dict[str, Any] = {"brain_encoder": brain, "vision_encoder": group.vision_encoder}
    for method in METHODS:
        for name, results in found.items():
            scores = results.scores(SETTING, method)
            low, high = results.interval(SETTING, method, scores)
            row |= {f"{method}_{name}": grand_mean(list(scores.values()))}
            row |= {f"{method}_{name}_low": low, f"{method}_{name}_high": high}
    gain = first.comparison(SETTING, METHODS[1], METHODS[0])
    assert gain is not None
    row |= {"difference": gain["difference"], "difference_low": gain["low"], "difference_high": gain["high"]}
    sizes = first.table.drop_duplicates("subject")["gallery_size"].astype(int)
    row["top1_chance"] = float(sizes.map(measure("top1").by_chance).mean())
    return row | {
        "subjects": " ".join(group.subjects),
        "seeds": " ".join(map(str, group.seeds)),
        "protocol": "inductive",
    }


def _gains(cells: Cells, brains: list[str], visions: list[str]) -> Sheet:
    rows = tuple((vision, *(_gain(cells[brain, vision]) for brain in brains)) for vision in visions)
    return Sheet(f"{TITLE} in top-1, points", ("vision encoder", *brains), rows)


def _gain(row: Mapping[str, Any]) -> str:
    return percent(row["difference"], sign=True) + ("*" if excludes_zero(row) else "")


def _each(cells: Cells, notes: tuple[str, ...]) -> Sheet:
    rows = tuple(
        (
            f"{brain}, {vision}",
            *(percent(row[f"{method}_top1"]) for method in METHODS),
            _gain(row),
            interval(row["difference_low"], row["difference_high"], sign=True),
        )
        for (brain, vision), row in cells.items()
    )
    header = ("encoders", *(f"{method} %" for method in METHODS), "gain", "95 % interval")
    return Sheet("Top-1 of every pair of encoders", header, rows, notes=notes)


def _published_gain() -> str:
    table = published("table3").set_index("transformation")["intra_top1"]
    gain = table["ubp"] - table["vanilla"]
    return (
        f"Published for EEGProject and RN50 on THINGS-EEG2, mean over 10 subjects: {gain:+.1f} (Wu et al., CVPR 2025); "
        "its other cells are in a figure without numbers that could be read here. Levels of two studies cannot be "
        "compared."
    )
