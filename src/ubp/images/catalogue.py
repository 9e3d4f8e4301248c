"""Which image encoders there are: the paper's towers, and those of the libraries that are installed."""

import contextlib
import fnmatch
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ubp.errors import InputError, UbpError
from ubp.images.clip import TOWERS, image_tower, import_open_clip
from ubp.images.layers import blocks
from ubp.images.spec import Reading, near_names
from ubp.images.timm import import_timm
from ubp.images.tower import Outlet, plan


@dataclass(frozen=True)
class About:
    """A tower, as it is before any weight is loaded.

    Attributes
    ----------
    name : str
        What to write for it in a specification.
    checkpoints : tuple of str
        The default first.
    size, dim : int
        Pixels of an image's side; length of the output.
    weights : int
        How many.
    layers : tuple of Outlet
        Its blocks, first to last, with the pool that is the default there.
    """

    name: str
    checkpoints: tuple[str, ...]
    size: int
    dim: int
    weights: int
    layers: tuple[Outlet, ...]


def paper_towers() -> list[About]:
    """The eight towers that the paper compares."""
    return [about(f"open_clip:{name}", blockwise=False) for name in TOWERS]


def libraries() -> dict[str, list[str]]:
    """Names of all models of the libraries that are installed, under the libraries' names."""
    known: dict[str, list[str]] = {}
    for library, names in _LIBRARIES.items():
        try:
            known[library] = names()
        except UbpError:
            continue
    return known


def find(pattern: str) -> list[str]:
    """Specifications of models whose names contain `pattern` or match it as a shell pattern, in any case.

    Raises
    ------
    InputError
        When there is none; has near names.
    """
    names = [f"{library}:{name}" for library, known in libraries().items() for name in known]
    if pattern in TOWERS:
        return [f"open_clip:{pattern}"]
    exact = [name for name in names if pattern in (name, name.partition(":")[2])]
    wild = pattern.lower() if any(sign in pattern for sign in "*?[") else f"*{pattern.lower()}*"
    found = exact or [
        name for name in names if any(fnmatch.fnmatch(x.lower(), wild) for x in (name, name.partition(":")[2]))
    ]
    if not found:
        words = {word.lower() for name in names for word in re.split("[^A-Za-z0-9]+", name)}
        near = near_names(pattern.lower(), words)[:2] or ["RN50", "dinov2"]
        raise InputError(
            f"No image encoder of the libraries installed here is called {pattern!r}; expected part of a name, such as "
            f"{' or '.join(near)}."
        )
    return found


def about(name: str, blockwise: bool = True) -> About:
    """Describe ``open_clip:MODEL`` or ``timm:MODEL``; without `blockwise` the lengths of its layers are 0."""
    library, _, model = name.partition(":")
    with torch.device("meta"):
        if library == "open_clip":
            open_clip = import_open_clip()
            tower: nn.Module = image_tower(open_clip, model).eval()
            size = int(open_clip.get_model_config(model)["vision_cfg"]["image_size"])
            tags = open_clip.list_pretrained_tags_by_model(model)
            default = TOWERS.get(model, "")
        else:
            timm = import_timm()
            tower = timm.create_model(model, num_classes=0).eval()
            size = int(timm.data.resolve_model_data_config(tower)["input_size"][1])
            tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{model}.*")]
            default = timm.get_pretrained_cfg(model).tag or ""
    (output,) = plan(tower, Reading(), size, name)
    layers = tuple(Outlet(path, "auto", 0) for path in blocks(tower))
    if blockwise and layers:
        with contextlib.suppress(InputError):  # where some block takes no part, or gives no map
            layers = tuple(plan(tower, Reading(tuple(blocks(tower))), size, name))
    checkpoints = tuple(sorted(tags, key=lambda tag: tag != default))
    weights = sum(weight.numel() for weight in tower.parameters())
    return About(name, checkpoints, size, output.dim, weights, layers)


_LIBRARIES: dict[str, Callable[[], list[str]]] = {
    "open_clip": lambda: list(import_open_clip().list_models()),
    "timm": lambda: list(import_timm().list_models()),
}
