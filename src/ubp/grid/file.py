"""An experiment declared in a TOML file, in the words of the command line."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ubp.config import unknown
from ubp.errors import InputError

LISTS = {
    "method": "methods",
    "preset": "presets",
    "brain_encoder": "brain_encoders",
    "encoder": "vision_encoders",
    "subject": "subjects",
    "setting": "settings",
    "seed": "seeds",
}
KEYS = {
    **LISTS,
    "width": "width",
    "step": "step",
    "text": "text",
    "ridge": "ridge",
    "options": "options",
    "vary": "vary",
}
KINDS: dict[str, type] = {"width": int, "step": int, "ridge": bool, "options": dict, "vary": dict, "seeds": int}


def read_file(path: Path) -> dict[str, Any]:
    """What a file declares, as arguments of :class:`ubp.grid.Experiment`.

    Its keys are method, preset, brain_encoder, encoder, subject, setting, seed (one value or a list each), width, step,
    text, ridge, and the tables ``[options]`` and ``[vary]``.

    Raises
    ------
    InputError
        When the file cannot be read, or has an unknown key or a value of the wrong kind.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; expected a TOML file that declares a grid.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as TOML ({error}).") from error
    found = {}
    for key, value in content.items():
        if key not in KEYS:
            raise unknown(f"key in {path}", key, KEYS)
        name = KEYS[key]
        values = value if key in LISTS and isinstance(value, list) else [value]
        kind = KINDS.get(name, str)
        for one in values:
            if not isinstance(one, kind) or (kind is int and isinstance(one, bool)):
                raise InputError(f"{key} in {path} is {one!r}; expected {_EXPECTED[kind]}.")
        found[name] = tuple(values) if key in LISTS else value
    return found


def merged(declared: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a file, with those given on the command line over them; None was not given."""
    result = dict(declared)
    for name, value in given.items():
        if name in ("options", "vary"):
            result[name] = {**declared.get(name, {}), **value}
        elif value is not None:
            result[name] = value
    # one value takes the place of many, and many of one
    for one, many in (("options", "vary"), ("vary", "options")):
        for name in given.get(one, {}):
            result.get(many, {}).pop(name, None) if name not in given.get(many, {}) else None
    return result


_EXPECTED = {int: "a whole number", bool: "true or false", dict: "a table", str: "a name"}
