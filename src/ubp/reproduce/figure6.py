"""Figure 6: accuracy over the radius of the blur, the gallery blurred as the training images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ubp.data.simulated import simulation_of
from ubp.errors import InputError
from ubp.evaluate import larger_k
from ubp.images.blur_options import PUBLISHED_SIZE, PUBLISHED_WIDTH
from ubp.images.gaussian import gaussian_sigma
from ubp.measures import Measure, measure
from ubp.plots.width import width_figure
from ubp.presets import preset
from ubp.reproduce import published_rows
from ubp.reproduce.models import Models
from ubp.reproduce.output import Output, Plan
from ubp.reproduce.setup import Group, Setup, encoder_size, scaled
from ubp.reproduce.wording import described, interval, percent, published_note
from ubp.results import Results, merged
from ubp.sheets import Sheet
from ubp.statistics import grand_mean

TITLE = "Figure 6: accuracy over the width of the blur"
METHOD, CRISP = "blur", "vanilla"


def plan(setup: Setup) -> Plan:
    """The fixed foveated blur at every width, and the crisp images as width 1."""
    usual = setup.widths(setup.vision_encoder)[0]
    widths = sorted(set(setup.choices.widths or in_proportion(setup.scale.widths, usual, setup.scale.base_width)))
    for width in widths:
        preset(METHOD, width)  # refuses a width that cannot be
    if len(widths) < 2:
        raise InputError(f"figure6 has the width {widths[0]} only; expected two widths or more, such as 1 and 51.")
    settings, notes = setup.settings(("intra-subject",))
    groups = []
    for setting in settings:
        for width in widths:
            group = setup.group(
                (CRISP if width == 1 else METHOD,), setting, width=None if width in (1, usual) else width
            )
            usable, left_out = setup.usable(group)
            groups.append(usable)
            notes += left_out
    return Plan(tuple(groups), tuple(dict.fromkeys(notes)))


def make(models: Models, plan: Plan) -> Output:
    """Accuracy of the fixed blur at every width, with the paired gain over the crisp images."""
    setup = models.setup
    k = larger_k(setup.study)
    usual = setup.widths(setup.vision_encoder)[0]
    parts = [(_width(group, usual), models.measured(group)) for group in plan.groups]
    found = {
        each.name: merged(
            measured.results(each).renamed({CRISP: name(width), METHOD: name(width)}) for width, measured in parts
        )
        for each in map(measure, dict.fromkeys(("top1", f"top{k}")))
    }
    settings = list(dict.fromkeys(group.setting for group in plan.groups))
    widths = sorted({width for width, _ in parts})
    table = pd.DataFrame([_row(setup, found, setting, width, k) for setting in settings for width in widths])
    table["seeds"] = " ".join(map(str, setup.seeds))
    notes = (
        described(setup, found["top1"], ", blurred at the width of the row"),
        "Gain: over the crisp images, paired over subjects, seeds and images; empty where they were left out.",
        published_note(setup, "things-eeg2", "crisp and fixed blur at 51 of 224 pixels, RN50"),
        *plan.notes,
    )
    sheets = [_sheet(table[table["setting"] == setting], setting, k, notes) for setting in settings]
    simulation = simulation_of(setup.study.info.source)
    true_width = simulation is not None and simulation.system_gap and setup.choices.width is None
    marked = {usual: "true width" if true_width else "default width"}
    caption = (
        "Top-1 accuracy with the foveated blur at each width (line) with its 95 % bootstrap interval (band); diamonds: "
        "published, dotted: chance. " + " ".join(notes)
    )
    return Output(TITLE, tuple(sheets), table, width_figure(table, marked), caption)


def in_proportion(widths: Sequence[int], usual: int, base: int) -> list[int]:
    """Widths for a usual one, from those that belong to a base; 1 stays 1.

    Examples
    --------
    >>> in_proportion((1, 27, 51, 75), usual=21, base=51)
    [1, 11, 21, 31]
    """
    return [1 if width == 1 else scaled(usual, (width - 1) / (base - 1)) for width in widths]


def name(width: int) -> str:
    """What a width is called among the methods."""
    return f"width {width}"


def _width(group: Group, usual: int) -> int:
    return 1 if group.names == (CRISP,) else group.width or usual


def _row(setup: Setup, found: dict[str, Results], setting: str, width: int, k: int) -> dict[str, Any]:
    row: dict[str, Any] = {"setting": setting, "method": METHOD, "width": width}
    row["sigma_pixels"] = 0.0 if width == 1 else gaussian_sigma(width)
    for each in map(measure, dict.fromkeys(("top1", f"top{k}"))):
        row |= _score(found[each.name], setting, width, each)
    gain = None
    if width != 1 and (setting, name(1)) in found["top1"].hits:
        gain = found["top1"].comparison(setting, name(width), name(1))
    row |= {"difference": gain["difference"] if gain else np.nan}
    row |= {f"difference_{end}": gain[end] if gain else np.nan for end in ("low", "high")}
    share = width / encoder_size(setup.vision_encoder, setup.common.device)
    method = CRISP if width == 1 else METHOD if round(share * PUBLISHED_SIZE) == PUBLISHED_WIDTH else None
    theirs = published_rows.mean("things-eeg2", method, setting) if method else None
    return row | {"published_top1": theirs[0] / 100 if theirs else np.nan}


def _score(results: Results, setting: str, width: int, each: Measure) -> dict[str, float]:
    scores = results.scores(setting, name(width))
    low, high = results.interval(setting, name(width), scores)
    sizes = results.table.drop_duplicates("subject")["gallery_size"].astype(int)
    return {
        each.name: grand_mean(list(scores.values())),
        f"{each.name}_low": low,
        f"{each.name}_high": high,
        f"{each.name}_chance": float(sizes.map(each.by_chance).mean()),
    }


def _sheet(table: pd.DataFrame, setting: str, k: int, notes: tuple[str, ...]) -> Sheet:
    rows = tuple(
        (
            f"{row['width']:.0f}",
            f"{row['sigma_pixels']:.1f}" if row["width"] > 1 else "crisp",
            percent(row["top1"]),
            interval(row["top1_low"], row["top1_high"]),
            percent(row[f"top{k}"]),
            percent(row["difference"], sign=True),
            interval(row["difference_low"], row["difference_high"], sign=True),
            percent(row["published_top1"]),
        )
        for row in table.to_dict("records")
    )
    header = ("width", "σ", "top-1 %", "95 % interval", f"top-{k} %", "gain", "95 % interval", "published")
    return Sheet(f"{TITLE} (pixels), {setting}", header, rows, notes=notes)
