"""The paper's tables with our numbers beside the published ones."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from ubp.commands.training import evaluate_models, train
from ubp.config import SETTINGS, Common, TrainOptions, preset, unknown
from ubp.data.forward import POSTERIOR
from ubp.data.simulated import Simulation, simulation_of
from ubp.data.study import Study
from ubp.demo import OPTIONS, SIMULATION, simulated_study
from ubp.device import pick_device
from ubp.files import write_text
from ubp.images.blur_options import default_widths
from ubp.images.encoders import image_encoder
from ubp.measures import measure
from ubp.progress import console, say
from ubp.published import published
from ubp.results import RESULTS, Results
from ubp.saved import read_results
from ubp.sheets import Sheet, markdown
from ubp.statistics import grand_mean
from ubp.tables import sheet_table

NAME = "table3"
K = 5


def table3(
    study: Path | None = None,
    out: Path = Path(NAME),
    encoder: str = "gabor",
    width: int | None = None,
    step: int | None = None,
    subjects: Sequence[str] | None = None,
    setting: str = "intra-subject",
    seeds: Sequence[int] = (0, 1, 2),
    channels: Sequence[str] | None = None,
    options: TrainOptions | None = None,
    simulation: Simulation = SIMULATION,
    common: Common = Common(),
) -> pd.DataFrame:
    """Table 3 of the paper: train and evaluate with every transformation of the images, published rows beside ours.

    The gallery gets the transformation that the training images got, as in the released program (for `ubp` the middle
    level). Differences to the crisp images are paired over subjects, seeds and test images.

    Parameters
    ----------
    study : Path, optional
        By default a study is simulated in `out`, and trained on with the demo's settings.
    out : Path
        Folder for runs, `table3.csv`, `table3.md` and `results.csv`, which `ubp compare` takes; run again, it continues
        there.
    encoder : str
    width, step : int, optional
        Kernel width and step; by default the true ones of a simulated study, otherwise the published 51 and 6 in
        proportion to the encoder's input.
    subjects : sequence of str, optional
    setting : {"intra-subject", "inter-subject"}
    seeds : sequence of int
    channels : sequence of str, optional
        By default all; of the study simulated here the posterior ones.
    options : TrainOptions, optional
        By default the published ones; for a study simulated here the demo's.
    simulation : Simulation
        What is simulated without a study.
    common : Common

    Returns
    -------
    DataFrame
        A row per transformation in the paper's order; accuracies in 0..1, published ones too.
    """
    if setting not in SETTINGS:
        raise unknown("setting", setting, SETTINGS)
    if study is None:
        opened = simulated_study(out / "study", simulation, common.quiet, "table3")
        channels, options = channels or POSTERIOR, options or OPTIONS
        common = replace(common, store=common.store or out / "features")
    else:
        opened = Study.open(study, common.allow_shared_concepts)
    width, step = _widths(opened, encoder, width, step, common)
    folders = train(
        opened.root,
        out=out / "runs",
        encoder=encoder,
        presets=list(PRESET_OF.values()),
        width=width,
        step=step,
        subjects=subjects,
        setting=setting,
        seeds=seeds,
        channels=channels,
        options=options,
        common=common,
    )
    k = min(K, len(opened.images("test")))
    results = evaluate_models(folders, out, k=k, ridge=False, common=common)
    write_text(out / RESULTS, results.table.to_csv(index=False))
    rows = compare_with_published(results, read_results([out], measure(f"top{k}")), setting)
    rows.insert(1, "level", [preset(name, width, step).base.name for name in rows["transformation"]])
    sheets = (
        Sheet(TITLE, ACCURACIES, _accuracies(rows)),
        Sheet(GAINS_TITLE, GAINS, _gains(rows), notes=(_note(opened, encoder, setting, results.table),)),
    )
    write_text(out / f"{NAME}.csv", rows.to_csv(index=False))
    write_text(out / f"{NAME}.md", "\n".join(map(markdown, sheets)))
    for sheet in sheets:
        console.print(sheet_table(sheet))
    say(f"Written to {out}: {NAME}.csv, {NAME}.md, {RESULTS}.")
    return rows


def compare_with_published(results: Results, results_top5: Results, setting: str) -> pd.DataFrame:
    """Our accuracies with intervals, differences to the crisp images, and the published row, for every transformation.

    Parameters
    ----------
    results, results_top5 : Results
        With hits at rank 1 and among the best five.
    setting : {"intra-subject", "inter-subject"}
        Of ours; the published columns are of the same setting.
    """
    printed = published(NAME).set_index("transformation").filter(regex="top").astype(float) / 100
    crisp = PRESET_OF["vanilla"]
    prefix = setting.split("-")[0]
    rows: list[dict[str, Any]] = []
    for row_name, method in PRESET_OF.items():
        row: dict[str, Any] = {"transformation": method}
        for name, measured in (("top1", results), (f"top{K}", results_top5)):
            scores = measured.scores(setting, method)
            low, high = measured.interval(setting, method, scores)
            row |= {name: grand_mean(list(scores.values())), f"{name}_low": low, f"{name}_high": high}
        difference = results.comparison(setting, method, crisp) if method != crisp else None
        row |= {
            "difference": difference["difference"] if difference else None,
            "difference_low": difference["low"] if difference else None,
            "difference_high": difference["high"] if difference else None,
        }
        for name in ("top1", "top5"):
            row[f"published_{name}"] = printed[f"{prefix}_{name}"][row_name]
        row["published_difference"] = row["published_top1"] - printed[f"{prefix}_top1"]["vanilla"]
        rows.append(row)
    return pd.DataFrame(rows)


def _widths(study: Study, encoder: str, width: int | None, step: int | None, common: Common) -> tuple[int, int]:
    simulation = simulation_of(study.info.source)
    if simulation is not None:
        default = simulation.true_width, simulation.width_step
    elif width is None or step is None:
        default = default_widths(image_encoder(encoder, str(pick_device(common.device))).size)
    else:
        default = width, step
    return default[0] if width is None else width, default[1] if step is None else step


def _accuracies(rows: pd.DataFrame) -> tuple[tuple[str, ...], ...]:
    cells = []
    for row in rows.to_dict("records"):
        ours = [cell for name in ("top1", f"top{K}") for cell in _with_interval(row, name)]
        theirs = " / ".join(f"{100 * row[f'published_{name}']:.1f}" for name in ("top1", "top5"))
        cells.append((row["transformation"], *ours, theirs))
    return tuple(cells)


def _gains(rows: pd.DataFrame) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (row["transformation"], *_with_interval(row, "difference", "+"), f"{100 * row['published_difference']:+.1f}")
        for row in rows[rows["difference"].notna()].to_dict("records")
    )


def _with_interval(row: dict[Any, Any], name: str, sign: str = "") -> tuple[str, str]:
    value, low, high = (f"{100 * row[key]:{sign}.1f}" for key in (name, f"{name}_low", f"{name}_high"))
    return value, f"{low} to {high}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _note(study: Study, encoder: str, setting: str, results: pd.DataFrame) -> str:
    first = results.iloc[0]
    return (
        f"Ours: study {study.info.name!r}, {setting}, {_count(results['subject'].nunique(), 'subject')}, "
        f"{_count(results['seed'].nunique(), 'seed')}, encoder {encoder}, gallery of "
        f"{first['gallery_size']} test images under the row's transformation, chance "
        f"{100 * first['top1_chance']:.2f} %, {first['protocol']}; per cent, 95 % bootstrap intervals, paired gains. "
        f"Published: Wu et al., CVPR 2025, Table 3, THINGS-EEG2, {setting}, 10 subjects, gallery of 200, RN50: another "
        "study, so compare the order, not the level."
    )


TITLE = "Table 3: image transformations"
GAINS_TITLE = "Gain in top-1 over vanilla, points"
ACCURACIES = ("images", "top-1 %", "95 % interval", "top-5 %", "95 % interval", "published")
GAINS = ("images", "gain", "95 % interval", "published gain")

PRESET_OF = {
    "vanilla": "vanilla",
    "flip": "flip",
    "crop": "crop",
    "grayscale": "grayscale",
    "color_jitter": "color-jitter",
    "noise": "noise",
    "low_resolution": "low-resolution",
    "uniform_blur": "uniform-blur",
    "fovea_blur": "blur",
    "ubp": "ubp",
}
"""Rows of the published table, and the presets that make them."""
