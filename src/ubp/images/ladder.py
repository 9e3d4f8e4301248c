"""Ladders of blur: widths of any number and spacing, and what lies between two stored ones."""

import math
import re
from collections.abc import Iterable
from dataclasses import replace

from ubp.errors import InputError
from ubp.images.blur import Blur

_PAPER = Blur()
_NAME = re.compile(
    r"w(?P<width>\d+)-(?P<curve>[a-z]+)(?P<decay>[\d.e+-]*?)"
    r"(?:-strength(?P<strength>[\d.e+-]+?))?(?:-sigma(?P<sigma>[\d.e+-]+?))?"
    r"(?:-at(?P<row>[\d.e+-]+)x(?P<column>[\d.e+-]+))?"
)


def ladder(start: int, stop: int, n: int, spacing: str = "linear", like: Blur = _PAPER) -> tuple[Blur, ...]:
    """Levels whose widths rise from `start` to `stop` in `n` steps of equal difference or equal ratio.

    Each width is the nearest odd number, moved up or down where that would give one width twice.

    Parameters
    ----------
    start, stop : int
        First and last kernel width in pixels, odd.
    n : int
        Number of levels.
    spacing : {"linear", "log"}
        A key of `SPACINGS`.
    like : Blur
        The other fields of every level.

    Raises
    ------
    ValueError
        When a width is even or below 1, the spacing is unknown, or there are not `n` odd widths from start to stop.

    Examples
    --------
    >>> [level.width for level in ladder(1, 51, 5, "log")]
    [1, 3, 7, 19, 51]
    """
    if spacing not in SPACINGS:
        raise ValueError(f"The spacing {spacing!r} is unknown; use one of {', '.join(SPACINGS)}.")
    first, last = replace(like, width=start), replace(like, width=stop)
    if n < 1 or n > (stop - start) // 2 + 1 or (n == 1 and start != stop):
        raise ValueError(f"There are no {n} different odd widths that rise from {start} to {stop}.")
    if n == 1:
        return (first,)
    widths = [2 * math.floor(SPACINGS[spacing](start, stop, i / (n - 1)) / 2) + 1 for i in range(n)]
    widths[0], widths[-1] = start, stop
    for i in range(1, n):
        widths[i] = max(widths[i], widths[i - 1] + 2)
    widths[-1] = stop
    for i in range(n - 2, -1, -1):
        widths[i] = min(widths[i], widths[i + 1] - 2)
    return (first, *(replace(like, width=width) for width in widths[1:-1]), last)


def blur_of_name(name: str) -> Blur | None:
    """The blur that has this name, or None when it is another kind of level."""
    if name == "crisp":
        return Blur(1)
    match = _NAME.fullmatch(name)
    if not match:
        return None
    found = {key: value for key, value in match.groupdict().items() if value}
    fixation = (float(found.pop("row")), float(found.pop("column"))) if "row" in found else None
    try:
        numbers = {key: float(found[key]) for key in ("decay", "strength", "sigma") if key in found}
        blur = Blur(int(found["width"]), found["curve"], fixation=fixation, **numbers)
    except ValueError:
        return None
    return blur if blur.name == name else None


def neighbours(names: Iterable[str], width: float, like: Blur | None, where: str) -> tuple[Blur, Blur, float]:
    """The stored levels around a real-valued width, and the weight of the upper one.

    Parameters
    ----------
    names : iterable of str
        Of the stored levels; those that are no blur are left aside.
    width : float
        Kernel width in pixels.
    like : Blur, optional
        Any blur of the wanted family (blurs that differ in width only); by default the only one there is.
    where : str
        For the messages: what holds the levels.

    Returns
    -------
    low, high : Blur
    weight : float
        In 0..1; 0 where `width` is that of `low`.

    Raises
    ------
    InputError
        When several families are there and none is named, or `width` lies outside the family's widths.
    """
    stored = [blur for name in names if (blur := blur_of_name(name)) is not None]
    families = {_family(blur) for blur in stored if blur.width != 1}
    if like is None and len(families) > 1:
        examples = ", ".join(sorted(family.name for family in families))
        raise InputError(
            f"{where} holds blurs of {len(families)} families ({examples}); say which one is meant, with a blur "
            "that differs in width only."
        )
    wanted = families if like is None else {_family(like)}
    levels = {blur.width: blur for blur in stored if blur.width == 1 or _family(blur) in wanted}
    widths = sorted(levels)
    if not widths or not widths[0] <= width <= widths[-1]:
        found = f"holds the widths {', '.join(map(str, widths))} of that family" if widths else "holds no such blur"
        raise InputError(
            f"The width {width:g} cannot be interpolated: {where} {found}; expected a width between stored ones, or "
            "build the store with a longer ladder."
        )
    low = max(w for w in widths if w <= width)
    high = min(w for w in widths if w >= width)
    return levels[low], levels[high], 0.0 if low == high else (width - low) / (high - low)


def _family(blur: Blur) -> Blur:
    """The same blur at a width that all families have; what the curve does not use is left out by the name."""
    same = blur_of_name(replace(blur, width=3).name)
    assert same is not None
    return same


SPACINGS = {
    "linear": lambda start, stop, part: start + part * (stop - start),
    "log": lambda start, stop, part: start * (stop / start) ** part,
}
