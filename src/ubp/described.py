"""A model's description as one flat list of settings, for tables and logs."""

from typing import Any

import numpy as np

from ubp.description import Description

HIDDEN = ("study_path", "text", "format")  # places on this machine, and the format of the file


def settings_of(about: Description) -> dict[str, Any]:
    """Every setting of a model by its name in words; its place on this machine is left out."""
    content = {key: value for key, value in about.to_dict().items() if key not in HIDDEN}
    preset, options, versions = (content.pop(key) for key in ("preset", "options", "versions"))
    preset["ladder"] = [level.name for level in about.preset.ladder]
    flat = {f"preset {key}": value for key, value in preset.items()} | options | content
    flat |= {f"trained with {name}": version for name, version in versions.items()}
    return {key.replace("_", " "): value for key, value in flat.items()}


def plain(value: Any) -> str:
    """A value as short text: numbers to six digits, lists joined by commas."""
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    return "none" if value is None else str(value)
