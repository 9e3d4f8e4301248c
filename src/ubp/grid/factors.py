"""What a grid can vary beyond methods, encoders, subjects, settings and seeds: names, kinds and texts of the values."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from ubp.augment import read_augmentations
from ubp.config import TrainOptions, unknown
from ubp.errors import InputError

ALL, SINGLE, NONE = "all", "single", "none"

CORE = ("setting", "subject", "method", "brain_encoder", "vision_encoder", "seed")
OPTIONS = tuple(field.name for field in dataclasses.fields(TrainOptions) if field.name != "brain_encoder")


def read_values(name: str, values: Any) -> tuple[Any, ...]:
    """The values of a factor, from texts or plain values; one value may stand alone.

    Raises
    ------
    InputError
        When the factor is unknown, a value is not of its kind, or a value is there twice, or there is none.
    """
    if name not in FACTORS:
        named = {"brain_encoder": "--brain-encoder", "vision_encoder": "--encoder", "method": "--method or --preset"}
        if name in CORE:
            raise InputError(f"{name} is not varied like this; give it with {named.get(name, '--' + name)}.")
        raise unknown("factor", name, FACTORS)
    listed = list(values) if isinstance(values, Sequence) and not isinstance(values, str) else [values]
    read = tuple(FACTORS[name](name, value) for value in listed)
    check_distinct(name, read)
    return read


def check_distinct(name: str, values: Sequence[Any]) -> None:
    """Refuse a factor without values, or with one value twice."""
    if not values:
        raise InputError(f"The grid is empty, because {name} has no value; give one or more.")
    for value in values:
        if values.count(value) > 1:
            raise InputError(f"The value {text(value)!r} of {name} is there {values.count(value)} times; name it once.")


def from_text(words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Factors from words such as ``epochs=10,20``.

    Raises
    ------
    InputError
        When a word is not of this form, or a factor is there twice.
    """
    found: dict[str, tuple[str, ...]] = {}
    for word in words:
        name, sign, values = word.partition("=")
        name = name.replace("-", "_")
        if not sign or not name:
            raise InputError(f"{word!r} is not understood; expected NAME=VALUE,VALUE such as epochs=10,20.")
        if name in found:
            raise InputError(f"{name} is varied twice; give all its values at once, as in {name}=VALUE,VALUE.")
        found[name] = tuple(value for value in values.split(",") if value)
    return found


def text(value: Any) -> str:
    """A value as it is written in tables and on the command line."""
    if value is None:
        return ALL
    if value == ():
        return NONE
    if isinstance(value, tuple):
        return "{:g} to {:g} s".format(*value) if isinstance(value[0], float) else "+".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def protocol_folder(average: str) -> Path:
    """Where tables of a way to evaluate lie, below the grid's folder."""
    if average == ALL:
        return Path()
    return Path("single-trials" if average == SINGLE else f"average-{average}")


def _wrong(name: str, value: Any, expected: str) -> InputError:
    return InputError(f"{name} is {value!r}; expected {expected}.")


def _bool(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value not in ("true", "false"):
        raise _wrong(name, value, "true or false")
    return bool(value == "true")


def _int(name: str, value: Any) -> int:
    try:
        if isinstance(value, bool) or (not isinstance(value, str) and value != int(value)):
            raise ValueError
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise _wrong(name, value, "a whole number") from error


def _float(name: str, value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError) as error:
        raise _wrong(name, value, "a number") from error


def _str(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, value, "a name")
    return value


def _channels(name: str, value: Any) -> tuple[str, ...] | None:
    if value is None or value == ALL:
        return None
    names = tuple(value.split("+")) if isinstance(value, str) else tuple(value) if isinstance(value, Sequence) else ()
    if not names or not all(isinstance(one, str) and one for one in names):
        raise _wrong(name, value, f"{ALL} or channel names, as in Oz+O1+O2")
    return names


def _names(name: str, value: Any) -> tuple[str, ...]:
    if value == NONE:
        return ()
    names = tuple(value.split("+")) if isinstance(value, str) else tuple(value) if isinstance(value, Sequence) else ()
    if (not names and value != () and value != []) or not all(isinstance(one, str) and one for one in names):
        raise _wrong(name, value, f"{NONE} or names, as in noise=0.2+mixup")
    return read_augmentations(names)


def _window(name: str, value: Any) -> tuple[float, float] | None:
    if value is None or value == ALL:
        return None
    parts = value.split(":") if isinstance(value, str) else value
    if not isinstance(parts, Sequence) or len(parts) != 2:
        raise _wrong(name, value, f"{ALL} or first and last second, as in 0:0.5")
    first, last = (_float(name, part) for part in parts)
    return first, last


def _average(name: str, value: Any) -> str:
    if value in (ALL, SINGLE):
        return str(value)
    number = _int(name, value) if str(value).isdigit() else 0
    if number < 1:
        raise _wrong(name, value, f"{ALL}, {SINGLE} or a number of test repetitions, 1 or more")
    return str(number)


_KINDS: Mapping[Any, Callable[[str, Any], Any]] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    tuple[str, ...]: _names,
}

FACTORS: dict[str, Callable[[str, Any], Any]] = {
    "width": _int,
    "step": _int,
    "channels": _channels,
    "window": _window,
    "average": _average,
    **{name: _KINDS[get_type_hints(TrainOptions)[name]] for name in OPTIONS},
}
"""How a value of each factor is read. `average`: test repetitions averaged in a query, all or a number, or single."""

NAMES = (*CORE, "text", *FACTORS)
"""All factors, in the order of the table's columns."""
