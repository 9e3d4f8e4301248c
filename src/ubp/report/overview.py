"""What the report is about: the runs, and first of all what differs between them."""

from collections.abc import Sequence
from typing import Any

from ubp.described import plain, settings_of
from ubp.page.html import heading, paragraphs, wide
from ubp.report.runs import EACH_ITS_OWN, Run, Variant

WHAT = (
    "Each model here is a brain encoder trained to match a frozen image encoder, so that the image a person saw is "
    "found among images that it was not trained on. Methods may differ in how the training images are blurred: not "
    "at all (vanilla), all alike (blur), or each pair by how well it fits (ubp), after the Uncertainty-aware Blur "
    "Prior of Wu et al., CVPR 2025."
)
NOTES = {
    "official": "official: the released program's behaviour.",
    "shuffled": "shuffled pairs: a control trained on wrong pairs of signal and image, which should be at chance.",
}


def overview(kinds: Sequence[Variant], methods: Sequence[str]) -> str:
    """What differs, the runs in a table, and what the method is; `methods` are the names in the evaluations."""
    rows = []
    for kind in kinds:
        cells: dict[str, Any] = {"runs": kind.name, "study": _each(run.about.study for run in kind.runs)}
        cells |= {"setting": kind.runs[0].about.setting, "models": len(kind.runs)}
        cells["subjects"] = _each(run.about.subject for run in kind.runs)
        cells["seeds"] = _each(run.about.seed for run in kind.runs)
        cells["training pairs"] = _range([run.about.n_pairs for run in kind.runs])
        cells["epochs asked for"] = kind.runs[0].about.options.epochs
        rows.append(cells)
    differ, _ = settings_by_variant(kinds)
    first = heading("Where the runs differ") + wide(differ, wrapped=True) if differ else ""
    alike = "All runs have the same settings, but for subject and seed." if len(kinds) > 1 and not differ else ""
    notes = " ".join(text for word, text in NOTES.items() if any(word in name for name in methods))
    return first + heading("The runs") + wide(rows) + paragraphs(alike, WHAT, notes)


def settings_by_variant(kinds: Sequence[Variant]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Settings in which the variants differ, one column each, and those that all share."""
    values: dict[str, dict[str, list[str]]] = {}
    for kind in kinds:
        for run in kind.runs:
            for key, value in settings_of(run.about).items():
                if key in EACH_ITS_OWN:
                    continue
                texts = values.setdefault(key, {}).setdefault(kind.name, [])
                if plain(value) not in texts:
                    texts.append(plain(value))
    cells = {key: {kind.name: "; ".join(by.get(kind.name, [])) for kind in kinds} for key, by in values.items()}
    differ = [{"setting": key, **by} for key, by in cells.items() if len(set(by.values())) > 1]
    shared = [
        {"setting": key, "value": next(iter(by.values()))} for key, by in cells.items() if len(set(by.values())) == 1
    ]
    return differ, shared


def every_run(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """What each run has for itself."""
    rows = []
    for run in runs:
        settings = settings_of(run.about)
        own = {key: _short(plain(settings[key])) for key in EACH_ITS_OWN}
        rows.append({"method": run.label, "setting": run.about.setting, **own, "folder": run.name})
    return rows


def _short(text: str) -> str:
    return f"{text[:12]}…" if len(text) == 64 else text  # a digest


def _each(values: Any) -> str:
    return ", ".join(dict.fromkeys(map(str, values)))


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"
