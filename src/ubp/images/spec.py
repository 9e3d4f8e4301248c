"""How an image encoder is written down: ``LIBRARY:MODEL[/PRETRAINED][,OPTION=VALUE...]``."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ubp.errors import InputError
from ubp.images.pools import POOLS

PRECISIONS = ("fp32", "bf16", "fp16")
MAX_SIZE = 4096


@dataclass(frozen=True)
class Reading:
    """What is read out of a tower, and how it is run; the options of a specification.

    Attributes
    ----------
    layers : tuple of str
        Blocks by name or number, see `ubp.images.layers.find_layer`; empty for the tower's own output.
    pool : str
        ``"auto"`` or a key of `ubp.images.pools.POOLS`: how a block's output becomes one vector.
    precision : {"fp32", "bf16", "fp16"}
        Of matrix products and convolutions; weights, sums and results stay in float32.
    size : int, optional
        Height and width of the images in pixels; by default what the tower was trained with.
    """

    layers: tuple[str, ...] = ()
    pool: str = "auto"
    precision: str = "fp32"
    size: int | None = None


def split_spec(spec: str) -> tuple[str, list[tuple[str, str]]]:
    """Take a specification apart into what names the encoder, and the options.

    An option begins at a comma that a word and ``=`` follow, so that a path may hold commas; nothing in the syntax
    means anything to a shell.

    Examples
    --------
    >>> split_spec("open_clip:RN50//data/rn50,v2.pt,layer=layer3,pool=mean")
    ('open_clip:RN50//data/rn50,v2.pt', [('layer', 'layer3'), ('pool', 'mean')])
    """
    address, *options = re.split(r",(?=[A-Za-z_]+=)", spec)
    return address, [(key, value) for key, _, value in (option.partition("=") for option in options)]


def has_layer(spec: str) -> bool:
    """Whether a specification names an intermediate layer, instead of the encoder's own output.

    Examples
    --------
    >>> has_layer("RN50,layer=layer3,pool=grid2"), has_layer("RN50")
    (True, False)
    """
    return any(key == "layer" for key, _ in split_spec(spec)[1])


def read_options(spec: str, options: list[tuple[str, str]], known: Iterable[str]) -> Reading:
    """Make a `Reading` of the options of `spec`.

    Raises
    ------
    InputError
        When an option is unknown to this kind of encoder, is given twice, or has an impossible value.
    """
    known = tuple(known)
    values: dict[str, str] = {}
    for key, value in options:
        if not known:
            raise InputError(
                f"The image encoder {spec!r} has the option {key!r}; expected none, only the towers of open_clip:, "
                "timm: and onnx: have layers to choose from."
            )
        if key not in known:
            raise InputError(
                f"The image encoder {spec!r} has the unknown option {key!r}; expected {one_of(key, known)}."
            )
        if key in values:
            raise InputError(
                f"The image encoder {spec!r} has the option {key!r} twice; expected it once, and several layers "
                "joined by +, as in layer=6+9."
            )
        values[key] = value
    reading = Reading(
        layers=tuple(values["layer"].split("+")) if "layer" in values else (),
        pool=values.get("pool", "auto"),
        precision=values.get("precision", "fp32"),
        size=_size(spec, values["size"]) if "size" in values else None,
    )
    for key, value, names in (("pool", reading.pool, ("auto", *POOLS)), ("precision", reading.precision, PRECISIONS)):
        if value not in names:
            raise InputError(f"The image encoder {spec!r} has {key}={value}; expected {one_of(value, names)}.")
    if not all(reading.layers):
        raise InputError(
            f"The image encoder {spec!r} has a layer without a name; expected layer=NAME, or several joined by +."
        )
    if "pool" in values and not reading.layers:
        raise InputError(
            f"The image encoder {spec!r} has a pool but no layer; expected a layer to pool, such as layer=-1, or no "
            "pool for the tower's own output."
        )
    return reading


def near_names(name: str, known: Iterable[str], n: int = 4) -> list[str]:
    """The known names that look most like a mistaken one; empty if none does."""
    return difflib.get_close_matches(name, list(known), n=n, cutoff=0.5)


def one_of(name: str, known: Iterable[str]) -> str:
    """The names near to a mistaken one, or the first of all, for the message of an error."""
    known = list(known)
    names = near_names(name, known) or known[:12]
    more = f" and {len(known) - 12} more" if names == known[:12] and len(known) > 12 else ""
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}{more}"


def _size(spec: str, value: str) -> int:
    if not value.isdecimal() or not 1 <= int(value) <= MAX_SIZE:
        raise InputError(
            f"The image encoder {spec!r} has size={value}; expected a whole number of pixels, 1 to {MAX_SIZE}."
        )
    return int(value)
