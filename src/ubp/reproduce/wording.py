"""Sentences and cells that all tables share."""

import re
from collections.abc import Iterable

import pandas as pd

from ubp.data.facts import DATASETS
from ubp.progress import counted
from ubp.reproduce.setup import Setup
from ubp.results import Results

SOURCE = "Wu et al., CVPR 2025"


def described(setup: Setup, results: Results, gallery: str = "", query: str = "") -> str:
    """Study, subjects, seeds, encoder, gallery, chance and protocol of our numbers."""
    table = results.table
    first = table.iloc[0]
    seeds = sorted(set(table.loc[table["method"] != "ridge", "seed"].astype(int)))
    channels = sorted(set(table["channels"].astype(str)))
    encoders = ", ".join(dict.fromkeys(table["vision_encoder"]))
    chances = chance_text(table)
    averaged = (
        "single trials" if set(table["query"]) == {"single trial"} else f"{repetitions(table)} repetitions averaged"
    )
    return (
        f"Ours: study {setup.study.info.name!r}, {counted(table['subject'].nunique(), 'subject')}, "
        f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}, image encoder {encoders}, "
        f"{'/'.join(channels)} channels; gallery of {each_of(table['gallery_size'])} test images"
        f"{gallery or ', each at the blur of its method'}; {query or averaged}; {first['protocol']}; chance {chances}; "
        "per cent, 95 % bootstrap intervals over subjects, seeds and images."
    )


def each_of(values: pd.Series) -> str:
    """Different values, joined."""
    return "/".join(sorted(set(map(str, values))))


def chance_text(table: pd.DataFrame) -> str:
    """Chance of top-1 and of the larger top-k, in per cent."""
    sizes = table["gallery_size"].astype(int)
    k = next(
        (int(name[3:-7]) for name in map(str, table) if re.fullmatch(r"top\d+_chance", name) and name != "top1_chance"),
        1,
    )
    levels = {k: f"{100 * float((k / sizes).mean()):.3g} %" for k in sorted({1, k})}
    return " and ".join(f"{text} (top-{k})" for k, text in levels.items())


def repetitions(table: pd.DataFrame) -> str:
    """How many test trials were averaged: fewest to most."""
    values = table["repetitions"].astype(float)
    low, high = values.min(), values.max()
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def same_study(setup: Setup, dataset: str) -> bool:
    """Whether a study is the public one that the published figures are of."""
    return setup.study.info.name == DATASETS[dataset].name


def published_note(setup: Setup, dataset: str, what: str) -> str:
    """Where published figures are from, and what they can be compared with."""
    facts = DATASETS[dataset]
    text = f"Published: {SOURCE}, {what}, on {facts.title}, gallery of 200"
    if same_study(setup, dataset):
        return f"{text}; the same recordings, so levels can be compared where encoder, channels and subjects agree."
    return f"{text}: another study, so levels cannot be compared, only signs and order."


def percent(value: float, sign: bool = False) -> str:
    """A share in per cent; empty for NaN."""
    return "" if pd.isna(value) else f"{100 * value:{'+' if sign else ''}.1f}"


def one_digit(value: float) -> str:
    """A figure in per cent with one digit, halves away from zero in spite of binary rounding."""
    return f"{value + 1e-9:.1f}"


def interval(low: float, high: float, sign: bool = False) -> str:
    """An interval in per cent; empty for NaN."""
    return "" if pd.isna(low) else f"{percent(low, sign)} to {percent(high, sign)}"


def listed(names: Iterable[str]) -> str:
    """Names joined by commas and a last `and`."""
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
