"""The tables of the report: results, differences, settings, and the study."""

import platform
from collections.abc import Sequence
from html import escape
from importlib.metadata import version
from typing import Any

import pandas as pd

from ubp import __version__
from ubp.data.study import Study
from ubp.data.tables import SPLITS
from ubp.model import Description
from ubp.report.html import plain, table_html
from ubp.report.runs import Run

SCORES = ("method", "top1", "top1_low", "top1_high", "top1_chance")
CONDITIONS = ("setting", "subjects", "seeds", "gallery size", "gallery level", "repetitions", "protocol")
NOTES = {
    "official": "official: the released program's behaviour.",
    "ridge": "ridge: linear regression from the signals to the image vectors, for comparison.",
    "shuffled": "shuffled pairs: a control trained on wrong pairs of signal and image, which should be at chance.",
}
HIDDEN = ("study_path", "format")
PACKAGES = ("torch", "numpy", "scipy", "pandas", "scikit-learn", "matplotlib", "mne")


def result(study: Study, summary: pd.DataFrame, results: pd.DataFrame) -> str:
    """What was done in two sentences, the accuracy of each method, and the protocol."""
    gallery = "/".join(sorted(set(results["gallery_size"].astype(str))))
    what = (
        f"This report shows how well the image that a person saw can be found among {gallery} images that no method "
        f"was trained on, from a {study.info.modality} recording of the study {study.info.name!r}, by a brain encoder "
        "trained to match a frozen image encoder. The methods differ in how the training images are blurred: not at "
        "all (vanilla), all alike (blur), or each pair by how well it fits (ubp), after the Uncertainty-aware Blur "
        "Prior of Wu et al., CVPR 2025."
    )
    return f"<p>{escape(what)}</p>{_summary_table(summary)}<p>{escape(_protocol(results))}</p>"


def _summary_table(summary: pd.DataFrame) -> str:
    rows = []
    for row in _records(summary):
        cells: dict[str, Any] = {"method": row["method"]} | {
            "top-1 (%)": f"{100 * row['top1']:.1f}",
            "95 % interval": f"{100 * row['top1_low']:.1f} to {100 * row['top1_high']:.1f}",
            "chance (%)": f"{100 * row['top1_chance']:.2f}",
        }
        for key in (key for key in row if key not in SCORES):
            if key.startswith("top") and key[3:].isdigit():
                cells[f"top-{key[3:]} (%)"] = f"{100 * row[key]:.1f}"
            else:
                value = row[key]
                cells[key.replace("_", " ")] = f"{value:.3f}" if isinstance(value, float) else plain(value)
        rows.append(cells)
    # What is the same for all methods is said once, here or in the protocol, so that the table stays narrow.
    same = [key for key in rows[0] if key in CONDITIONS and len({row.get(key) for row in rows}) == 1]
    said = "; ".join(f"{key} {rows[0][key]}" for key in same if key in CONDITIONS[:3])
    narrow = [{key: value for key, value in row.items() if key not in same} for row in rows]
    notes = " ".join(note for word, note in NOTES.items() if summary["method"].str.contains(word, regex=False).any())
    text = " ".join(filter(None, (f"For all methods: {said}." if said else "", notes)))
    return table_html(narrow) + (f"<p>{escape(text)}</p>" if text else "")


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _protocol(results: pd.DataFrame) -> str:
    def values(column: str) -> str:
        return ", ".join(dict.fromkeys(map(plain, results[column].tolist()))) if column in results else "not stated"

    return (
        f"Protocol: {values('protocol')}; gallery of {values('gallery_size')} images at blur level "
        f"{values('gallery_level')}; repetitions averaged per query: {values('repetitions')} (mean over queries). "
        "Inductive means that every query is ranked alone and nothing is fitted on the test trials. Intervals are "
        "bootstrap intervals over test images, and over seeds and subjects where there are several. Tied images count "
        "as their mean rank."
    )


def differences(comparisons: pd.DataFrame) -> str:
    """Paired differences between methods with their intervals."""
    rows = []
    for row in _records(comparisons):
        names = ("setting", "method", "against", "subjects")
        cells: dict[str, Any] = {key: row[key] for key in names if key in row}
        cells["difference (points)"] = f"{100 * row['difference']:+.1f}"
        cells["95 % interval"] = f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}"
        rows.append(cells)
    text = (
        "Mean of method minus against in top-1, in percentage points, paired over the same subjects, seeds and images. "
        "An interval that leaves out 0 shows a difference."
    )
    return f"<p>{text}</p>{table_html(rows)}"


def settings(runs: Sequence[Run], results: pd.DataFrame) -> str:
    """Exact settings, first where methods differ, versions, and every run's row."""
    methods: dict[str, dict[str, list[str]]] = {}
    for run in runs:
        values = methods.setdefault(run.about.method, {})
        for key, value in _flat(run.about).items():
            if value not in values.setdefault(key, []):
                values[key].append(value)
    keys = dict.fromkeys(key for values in methods.values() for key in values)
    cells = {key: {m: ", ".join(values.get(key, [])) for m, values in methods.items()} for key in keys}
    differ = [{"setting": key, **by} for key, by in cells.items() if len(set(by.values())) > 1]
    shared = [
        {"setting": key, "value": next(iter(by.values()))} for key, by in cells.items() if len(set(by.values())) == 1
    ]
    used = {
        "ubp": __version__,
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    used |= {name: version(name) for name in PACKAGES}
    per_run = results.map(lambda value: f"{value:.4g}" if isinstance(value, float) else plain(value))
    return (
        (f"<p>Where the methods differ:</p>{table_html(differ)}" if differ else "")
        + f"<p>The same for all {len(runs)} runs:</p>{table_html(shared)}"
        + f"<p>Versions:</p>{table_html([{'package': name, 'version': text} for name, text in used.items()])}"
        + f"<details><summary>Every run ({len(results)})</summary>"
        + f'<div class="wide">{table_html(_records(per_run))}</div></details>'
    )


def _flat(about: Description) -> dict[str, str]:
    """Settings of a run by name; its place on this machine is left out."""
    content = {key: value for key, value in about.to_dict().items() if key not in HIDDEN}
    preset, options = content.pop("preset"), content.pop("options")
    preset["ladder"] = [level.name for level in about.preset.ladder]
    flat = {f"preset {key}": value for key, value in preset.items()} | options | content
    return {key.replace("_", " "): plain(value) for key, value in flat.items()}


def about(study: Study, subjects: Sequence[str] | None = None) -> str:
    """The size of a study, or of some of its subjects, and its source, licence and citation."""
    chosen = tuple(subjects or study.subjects)
    shown = {split: {image for name in chosen for image in study.recordings[name].images(split)} for split in SPLITS}
    info = study.info
    rate = "none" if info.sfreq is None else f"{info.sfreq:g} Hz"
    rows = {
        "name": info.name,
        "modality": info.modality,
        "sampling rate": rate,
        "subjects": ", ".join(chosen) + (f" (of {len(study.subjects)})" if subjects else ""),
        "images": ", ".join(f"{len(images)} {split}" for split, images in shown.items()),
    }
    rows |= {key: getattr(info, key) or "not stated" for key in ("description", "source", "licence", "citation")}
    return table_html([{"": key, "study": value} for key, value in rows.items()])
