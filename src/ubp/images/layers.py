"""Intermediate blocks of a tower: found by name or number, read in one forward pass that ends at the last of them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from ubp.errors import InputError
from ubp.images.spec import near_names


class _Done(Exception):
    """Every layer asked for has been read."""


def forward(
    tower: nn.Module, images: Tensor, readers: Mapping[str, Callable[[Tensor], Any]] | None = None
) -> dict[str, Any]:
    """Run a tower as far as the last layer asked for.

    Parameters
    ----------
    tower : Module
    images : Tensor of shape (n, 3, size, size)
        Normalised.
    readers : mapping of module path to function
        What to do with the output of each module, at once: later modules may write over it. The first tensor of a
        tuple is taken; of a module that runs several times, the first output.

    Returns
    -------
    dict of str to what its reader returned
        In the order of `readers`, without the modules that took no part. Without readers, the tower's own output
        under the name ``"output"``.
    """
    if not readers:
        return {"output": _first_tensor(tower(images))}
    found: dict[str, Any] = {}

    def hook(name: str) -> Callable[..., None]:
        def read(module: nn.Module, inputs: Any, output: Any) -> None:
            if name not in found:
                found[name] = readers[name](_first_tensor(output))
            if len(found) == len(readers):
                raise _Done

        return read

    handles = [tower.get_submodule(name).register_forward_hook(hook(name)) for name in readers]
    try:
        tower(images)
    except _Done:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return {name: found[name] for name in readers if name in found}


def blocks(tower: nn.Module) -> list[str]:
    """Paths of the tower's blocks, first to last: the numbered family of modules that holds the most weights.

    ``transformer.resblocks.0`` and so on in a CLIP transformer, ``layer1`` to ``layer4`` in a ResNet, ``blocks.0`` and
    so on in timm's transformers, ``stages.0`` and so on in ConvNeXt.
    """
    weights: dict[str, int] = {}
    families: dict[str, list[str]] = {}
    for path, module in tower.named_modules():
        family = re.fullmatch(r"(.*?)\d+", path)
        if family and not isinstance(module, nn.ModuleList):  # a list is never called
            families.setdefault(family[1], []).append(path)
            weights[family[1]] = weights.get(family[1], 0) + sum(p.numel() for p in module.parameters())
    return families[max(families, key=lambda family: weights[family])] if families else []


def find_layer(tower: nn.Module, asked: str, model: str) -> str:
    """Path of the module that a user asked for.

    Parameters
    ----------
    tower : Module
    asked : str
        A path inside the tower, with or without ``visual.`` in front; or a number: the one at the end of a block's
        path (6 is ``transformer.resblocks.6``, 3 is ``layer3``), or a negative one, counting blocks from the end.
    model : str
        For the message of an error.

    Raises
    ------
    InputError
        When there is no such module; the message has near names.
    """
    names = blocks(tower)
    known = [name for name, _ in tower.named_modules() if name]
    path = asked.removeprefix("visual.")
    if path in known:
        return path
    span = f"one of {', '.join(names)}" if len(names) <= 4 else f"one of {names[0]} to {names[-1]}"
    if re.fullmatch(r"-?\d+", asked):
        numbered = {int(re.findall(r"\d+", name)[-1]): name for name in names}
        numbered |= {place - len(names): name for place, name in enumerate(names)}
        if int(asked) not in numbered:
            raise InputError(
                f"{model} has no layer {asked}; expected {span}, by name, by number or as -1 to -{len(names)}."
            )
        return numbered[int(asked)]
    near = near_names(path, known) or [span]
    raise InputError(f"{model} has no layer {asked!r}; expected {' or '.join(near)}.")


def _first_tensor(output: Any) -> Tensor:
    while isinstance(output, tuple | list) and output:
        output = output[0]
    return output
