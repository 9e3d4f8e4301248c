"""What the values of a model's description may be, for a file that anyone may have written."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from ubp.config import SETTINGS, TrainOptions
from ubp.errors import InputError

MOST = 1 << 20


def check_values(content: Mapping[str, Any], where: str) -> None:
    """Check the plain values of a `model.json`; those that are absent are left to :class:`ubp.description.Description`.

    Raises
    ------
    InputError
        Names the first value that is impossible, and what was expected.
    """
    for name, (fits, expected) in RULES.items():
        if name in content and not fits(content[name]):
            raise InputError(f"{where} says {name} = {repr(content[name])[:80]}; expected {expected}.")
    name = content.get("preset", {}).get("name")
    if not name or not _is_name(name):
        raise InputError(
            f"{where} says that its preset is named {repr(name)[:80]}; expected a name that leads out of no folder."
        )
    for option in dataclasses.fields(TrainOptions):
        value = content.get("options", {}).get(option.name, option.default)
        if not _is_like(value, option.default):
            raise InputError(
                f"{where} says {option.name} = {repr(value)[:80]}; expected a value like {option.default!r}."
            )


def _is_like(value: Any, default: Any) -> bool:
    """Whether a value is of the kind of an option's default."""
    if isinstance(default, float):
        return _is_number(value)
    if isinstance(default, tuple):
        return isinstance(value, list | tuple) and all(isinstance(part, str) for part in value)
    return type(value) is type(default)


def _is_name(value: Any) -> bool:
    """Whether a text may name a folder below another, as runs and stores do, and cannot lead out of that."""
    if not isinstance(value, str) or len(value) > 255 or set(value) & set("\\\0"):
        return False
    path = PurePosixPath(value)
    return not path.is_absolute() and ".." not in path.parts and value != "."


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_size(value: Any) -> bool:
    return _is_whole(value) and 1 <= value <= MOST


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(name, str) for name in value)


def _is_window(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(_is_number(second) for second in value)


def _is_versions(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(version, str) for version in value.values())


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


_TEXT = (_is_text, "text")
_COUNT = (_is_whole, "a whole number, 0 or more")
_SIZE = (_is_size, f"a whole number, 1 to {MOST}")
_NUMBER = (_or_none(_is_number), "a finite number or null")
_NAMES = (_is_names, "a list of names")
_OBJECT = (lambda value: isinstance(value, dict), "an object")

RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("vision_encoder", "vision_fingerprint", "study", "study_fingerprint"), _TEXT),
    "store_key": (_is_name, "a name that leads out of no folder"),
    "subject": (lambda value: value != "" and _is_name(value), "a name that leads out of no folder"),
    **dict.fromkeys(("preset", "options"), _OBJECT),
    **dict.fromkeys(("study_path", "text", "text_fingerprint"), (_or_none(_is_text), "text or null")),
    "setting": (lambda value: value in SETTINGS, f"one of {', '.join(SETTINGS)}"),
    **dict.fromkeys(("seed", "n_pairs", "n_images", "text_dim"), _COUNT),
    **dict.fromkeys(("n_times", "embed_dim"), _SIZE),
    **dict.fromkeys(("sfreq", "tmin"), _NUMBER),
    **dict.fromkeys(("channels", "trained_on"), _NAMES),
    "aligned": (lambda value: value in ([], ()) or _is_names(value), "a list of names"),
    "window": (_or_none(_is_window), "two numbers of seconds or null"),
    "versions": (_is_versions, "an object of texts"),
}
