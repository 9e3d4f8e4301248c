"""A frozen network of torch as an image encoder: its output or any of its blocks, pooled, in a chosen precision."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ubp.errors import InputError
from ubp.files import digest
from ubp.images.layers import find_layer, forward
from ubp.images.pools import attention_pool, places, pooled, prefix_tokens
from ubp.images.spec import Reading
from ubp.images.weights import hash_weights

CODE_VERSION = "1"
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Outlet:
    """Where a vector comes out of a tower: a module's path (empty: the end), a pool (or ``"none"``), a length."""

    layer: str
    pool: str
    dim: int


def plan(sketch: nn.Module, reading: Reading, size: int, model: str) -> list[Outlet]:
    """Find the layers of a `Reading` in a tower, before its weights are there.

    Parameters
    ----------
    sketch : Module
        The tower, best on the meta device: what is wrong with a layer is found without memory, time or weights.
    reading : Reading
    size : int
        Height and width of the images in pixels.
    model : str
        For the message of an error.

    Raises
    ------
    InputError
        When a layer does not exist, takes no part in a forward pass, is given twice, or does not fit the pool.
    """
    device = next(sketch.parameters()).device
    images = torch.zeros(1, 3, size, size, device=device)
    names = [find_layer(sketch, asked, model) for asked in reading.layers]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{model} was asked for the layer {name} twice; expected each layer once.")
    with torch.inference_mode():
        found = forward(sketch, images, {name: partial(_outlet, sketch, name, reading.pool, model) for name in names})
    idle = next((name for name in names if name not in found), None)
    if idle:
        raise InputError(f"The layer {idle} of {model} takes no part in encoding an image; expected another.")
    if not names:
        return [Outlet("", "none", int(found["output"].shape[-1]))]
    return [found[name] for name in names]


class TowerEncoder:
    """A tower of torch behind the `ubp.images.encoders.ImageEncoder` interface.

    Parameters
    ----------
    tower : Module
        Gives (n, dim) for normalised images (n, 3, size, size).
    outlets : sequence of Outlet
        From `plan`.
    name : str
        Library, model and checkpoint, for people; layer, pool and precision are added.
    architecture : str
        Library and model, for the fingerprint: the same weights may mean something else in another model.
    size : int
        Height and width of the images in pixels.
    mean, std : sequence of 3 floats
        Of the pixels, in 0..1.
    interpolation : str
        How images are brought to `size`.
    precision : {"fp32", "bf16", "fp16"}
        What autocast uses on the device; fp16 is for cuda and mps.
    device : str
        Where the tower runs.

    Attributes
    ----------
    fingerprint : str
        Digest of the weights in float32, architecture, preprocessing, layers, pools and precision; not of where the
        weights came from, nor of the device.
    outlets : tuple of Outlet
    device : torch.device

    Raises
    ------
    InputError
        When the device cannot compute in that precision.

    Notes
    -----
    Deterministic on the cpu. Convolutions and matrix products may round differently for another batch size, about
    1e-6 relative in fp32. On CUDA, TF32 is off and cuDNN's deterministic algorithms are used.
    """

    def __init__(
        self,
        tower: nn.Module,
        outlets: Sequence[Outlet],
        *,
        name: str,
        architecture: str,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        interpolation: str,
        precision: str = "fp32",
        device: str = "cpu",
    ):
        self.device = torch.device(device)
        if precision == "fp16" and self.device.type == "cpu":
            raise InputError(
                f"The image encoder {name} has precision=fp16 on the cpu, which computes it slowly or not at all; "
                "expected precision=bf16 or fp32, or a cuda or mps device."
            )
        self.outlets, self.precision = tuple(outlets), precision
        self.name = name + _described(self.outlets, precision)
        self.size, self.interpolation = size, interpolation
        self.dim = sum(outlet.dim for outlet in self.outlets)
        tower = tower.requires_grad_(False).eval()
        preprocessing = (size, [float(x) for x in mean], [float(x) for x in std], interpolation)
        read = [(outlet.layer, outlet.pool) for outlet in self.outlets]
        about = json.dumps([architecture, preprocessing, read, precision])
        self.fingerprint = digest("tower", CODE_VERSION, about, hash_weights(tower.state_dict()))
        # a third more images per second for a ResNet on the cpu, nothing lost for a transformer
        self._tower = tower.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean = torch.tensor(mean, device=self.device)[:, None, None]
        self._std = torch.tensor(std, device=self.device)[:, None, None]

    def __call__(self, pixels: Tensor) -> Tensor:
        """Encode images.

        Parameters
        ----------
        pixels : Tensor of shape (n, 3, size, size), float32 in 0..1

        Returns
        -------
        Tensor of shape (n, dim), float32, on the cpu
            Of one layer as it is; several layers are brought to length 1 each and put side by side, so that each has
            the same weight in a cosine.
        """
        vectors = list(self.layers(pixels).values())
        if len(vectors) == 1:
            return vectors[0]
        return torch.cat([functional.normalize(vector, dim=1) for vector in vectors], 1)

    def layers(self, pixels: Tensor) -> dict[str, Tensor]:
        """Encode images once and give every layer by itself.

        Parameters
        ----------
        pixels : Tensor of shape (n, 3, size, size), float32 in 0..1

        Returns
        -------
        dict of str to Tensor of shape (n, layer's dim), float32, on the cpu, not normalised
            Under the layers' paths, in the order they were asked for; ``"output"`` for the tower's own output.
        """
        readers = {
            outlet.layer: partial(pooled, self._tower, kind=outlet.pool) for outlet in self.outlets if outlet.layer
        }
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
            self._autocast(),
        ):
            found = forward(self._tower, (pixels.to(self.device) - self._mean) / self._std, readers)
        return {name: vector.to("cpu", torch.float32, copy=True) for name, vector in found.items()}

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, _DTYPES[self.precision])


def _outlet(sketch: nn.Module, name: str, kind: str, model: str, output: Any) -> Outlet:
    """What comes out at a layer, by one image; or one sentence on why nothing can."""
    if not isinstance(output, Tensor) or not 2 <= output.ndim <= 4:
        found = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise InputError(f"The layer {name} of {model} gives {found}; expected a layer that gives a map or tokens.")
    shape = tuple(output.shape[1:])
    if output.ndim == 2:
        if kind != "auto":
            raise InputError(f"The layer {name} of {model} gives one vector per image already; leave out pool={kind}.")
        return Outlet(name, "none", shape[0])
    class_token, _ = places(output, prefix_tokens(sketch))
    if kind == "auto":
        kind = "mean" if class_token is None else "cls"
    if kind == "cls" and class_token is None:
        raise InputError(f"The layer {name} of {model} has no class token; expected pool=mean or gem.")
    if kind == "attention" and attention_pool(sketch) is None:
        raise InputError(f"{model} has no attention pooling of its own; expected pool=cls, mean or gem.")
    try:
        return Outlet(name, kind, int(pooled(sketch, output, kind).shape[1]))
    except (RuntimeError, AssertionError, ValueError) as error:
        if kind.startswith("grid"):
            raise InputError(f"The pool {kind} does not fit the layer {name} of {model}: {error}") from error
        raise InputError(
            f"The attention pooling of {model} does not fit the layer {name}, which gives an array of shape {shape}; "
            "expected the last block, layer=-1, or another pool."
        ) from error


def _described(outlets: Sequence[Outlet], precision: str) -> str:
    layers = "+".join(outlet.layer for outlet in outlets)
    pools = "+".join(dict.fromkeys(outlet.pool for outlet in outlets if outlet.pool != "none"))
    described = f",layer={layers}" if layers else ""
    described += f",pool={pools}" if pools else ""
    return described + (f",precision={precision}" if precision != "fp32" else "")
