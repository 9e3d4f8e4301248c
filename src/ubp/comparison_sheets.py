"""A comparison as tables of texts, with what a reader must know below them."""

from collections.abc import Iterable
from itertools import combinations

import numpy as np
import pandas as pd

from ubp.compare import ALPHA, MIN_SUBJECTS, Comparison, is_control
from ubp.sheets import Sheet


def sheets(comparison: Comparison) -> list[Sheet]:
    """The methods of each setting, and their differences where there are any."""
    result = []
    for setting in dict.fromkeys(comparison.methods["setting"]):
        result.append(methods_sheet(comparison, setting))
        if (comparison.differences["setting"] == setting).any():
            result.append(differences_sheet(comparison, setting))
    return result


def methods_sheet(comparison: Comparison, setting: str) -> Sheet:
    """Mean and interval of every method; bold where the corrected test finds it better than every other."""
    measure, part = comparison.measure, _of(comparison.methods, setting)
    rows = tuple(
        (
            row["method"],
            measure.shown(row["score"]),
            f"{measure.shown(row['low'])} to {measure.shown(row['high'])}",
            str(row["subjects"]),
            str(row["seeds"]),
        )
        for row in part.to_dict("records")
    )
    averaged = f"{_each(part['repetitions'])} repetitions averaged"
    if set(part["query"]) == {"single trial"}:
        averaged = "single trials"
    chance = measure.shown(part["chance"].iloc[0]) + (" %" if measure.percent else "")
    notes = (
        "Mean over subjects, seeds and test images; intervals by bootstrap over all three. "
        f"Chance {chance}; gallery of {_each(part['gallery_size'])} images; {averaged}; {_each(part['protocol'])}.",
        bold_note(comparison, setting),
    )
    header = ("method", measure.heading, "95 % interval", "subjects", "seeds")
    bold = frozenset(np.flatnonzero(part["best"]).tolist())
    return Sheet(
        f"{measure.label.capitalize()}, {setting}{_track(part)}", header, rows, bold, tuple(filter(None, notes))
    )


def bold_note(comparison: Comparison, setting: str) -> str:
    """Why a row is in bold, or why none is."""
    best, leaders = comparison.best(setting), comparison.leaders(setting)
    if best is not None:
        return f"Bold: better than every other method, Holm-corrected p at most {ALPHA:g}."
    if len(leaders) < 2:
        return ""
    if comparison.baseline is not None:
        return f"None in bold: each method was compared with {comparison.baseline} only."
    return f"None in bold: the test does not put {leaders[0]} above {_listed(leaders[1:], 'or')}."


def differences_sheet(comparison: Comparison, setting: str) -> Sheet:
    """Every comparison with its interval, p before and after correction, effect size and detectable difference."""
    measure, part = comparison.measure, _of(comparison.differences, setting)
    rows = tuple(
        (
            f"{row['method']} - {row['against']}",
            measure.shown(row["difference"], sign=True),
            f"{measure.shown(row['low'], sign=True)} to {measure.shown(row['high'], sign=True)}",
            p_text(row["p"]),
            p_text(row["p_holm"]),
            f"{row['hedges_g_z']:.2f}" if np.isfinite(row["hedges_g_z"]) else "",
            measure.shown(row["detectable"]) if np.isfinite(row["detectable"]) else "none",
        )
        for row in part.to_dict("records")
    )
    unit = "points" if measure.percent else measure.label
    title = f"Differences in {measure.label}" + (f", {unit}" if measure.percent else "") + f", {setting}{_track(part)}"
    header = ("methods", "difference", "95 % interval", "p", "Holm", "g", "detectable")
    bold = frozenset(np.flatnonzero(part["p_holm"] <= ALPHA).tolist())
    return Sheet(title, header, rows, bold, tuple(_notes(comparison, part, setting)))


def _notes(comparison: Comparison, part: pd.DataFrame, setting: str) -> Iterable[str]:
    count = int(part["comparisons"].iloc[0])
    units = " or ".join(f"{_range(group['units'])} {unit}" for unit, group in part.groupby("unit", sort=False))
    yield (
        f"Paired over subjects, seeds and images. p: sign flips over {units}, two-sided; Holm: corrected for "
        f"{count} comparison{'s' * (count > 1)}, bold where at most {ALPHA:g}."
    )
    yield (
        "g: Hedges' effect size over subjects. Detectable: the smallest true difference that this design finds with "
        f"80 % power at p {ALPHA:g} before correction."
    )
    if (part["unit"] == "images").any():
        yield (
            f"With fewer than {MIN_SUBJECTS} subjects the test is over test images: it speaks of these subjects and "
            "these trained models, not of others."
        )
    least = float((part["smallest_p"] * part["comparisons"]).min())
    if least > ALPHA:
        yield (
            f"The smallest corrected p that this design can give is {min(least, 1):.2g}, so nothing can be found; "
            "compare fewer methods, or more subjects."
        )
    missing = _not_compared(comparison, setting)
    if missing:
        yield f"Not compared, because no subject was tested with both: {_listed(missing)}."


def _not_compared(comparison: Comparison, setting: str) -> list[str]:
    names = [name for name in _of(comparison.methods, setting)["method"] if not is_control(name)]
    done = {frozenset(pair) for pair in _of(comparison.differences, setting)[["method", "against"]].to_numpy()}
    pairs = combinations(names, 2)
    return [
        f"{second} - {first}"
        for first, second in pairs
        if frozenset((first, second)) not in done and comparison.baseline in (None, first, second)
    ]


def p_text(p: float) -> str:
    """A p to three digits."""
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def _track(part: pd.DataFrame) -> str:
    """What a title says of the protocol: nothing of an inductive one."""
    protocol = _each(part["protocol"])
    return f", {protocol}" if protocol.startswith("transductive") else ""


def _of(table: pd.DataFrame, setting: str) -> pd.DataFrame:
    return table[table["setting"] == setting]


def _each(values: pd.Series) -> str:
    return "/".join(dict.fromkeys(map(str, values)))


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return str(low) if low == high else f"{low} to {high}"


def _listed(names: list[str], word: str = "and") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
