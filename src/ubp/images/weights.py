"""Weights of towers: read from a file without running code, fitted to an architecture, and hashed."""

import hashlib
import os
import pickle
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ubp.errors import InputError

RANDOM = "none"  # instead of a checkpoint's name: random weights, the same ones every time
RANDOM_SEED = 0
_COUNTER = "num_batches_tracked"  # some checkpoints lack it; in eval mode it has no part
_WRAPPERS = ("state_dict", "model")


def read_weights(file: Path, part: str = "") -> dict[str, Tensor]:
    """Read a state dict.

    Parameters
    ----------
    file : Path
        ``.safetensors``, or a state dict saved by torch, alone or under ``"state_dict"`` or ``"model"``.
    part : str
        Prefix of the tensors wanted, such as ``"visual."``, where the file has any; it is taken off, and of
        safetensors nothing else is read.

    Raises
    ------
    InputError
        When the file is damaged, would run code, or holds something else.
    """
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as content:
                keys = list(content.keys())
                wanted = [key for key in keys if part and f".{part}" in f".{key}"] or keys
                found: Any = {key: content.get_tensor(key) for key in wanted}
        else:
            # the format before torch 1.6 is no zip file, which alone can be mapped
            found = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, ValueError, EOFError, KeyError) as error:
        raise InputError(
            f"{file} cannot be read as weights alone (it may be cut short, or hold code, as OpenAI's own .pt files "
            "do); expected a .safetensors file or a state dict saved by torch."
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()):
        raise InputError(f"{file} does not hold a state dict; expected names and tensors of an image model.")
    found = {key.removeprefix("module."): value for key, value in found.items()}
    inner = {key.removeprefix(part): value for key, value in found.items() if part and key.startswith(part)}
    return inner or found


def fitted(found: Mapping[str, Tensor], tower: nn.Module, model: str, file: Path) -> dict[str, Tensor]:
    """The tensors of `tower` in float32, or one sentence on why `found` is of another architecture.

    Raises
    ------
    InputError
        When a tensor is missing, unknown or of another shape.
    """
    wanted = {k: v for k, v in tower.state_dict().items() if not k.endswith(_COUNTER)}
    found = {k: v for k, v in found.items() if not k.endswith(_COUNTER)}
    missing = sorted(wanted.keys() - found.keys())
    extra = sorted(found.keys() - wanted.keys())
    shaped = [k for k in sorted(wanted.keys() & found.keys()) if wanted[k].shape != found[k].shape]
    if missing or extra or shaped:
        raise InputError(
            f"{file} holds another architecture than {model}: {len(missing)} tensors of its image tower are missing, "
            f"{len(extra)} are unknown to it and {len(shaped)} have another shape (first: "
            f"{(shaped + missing + extra)[0]}); name the model that the file was saved from."
        )
    weights = {k: found[k].float() if found[k].is_floating_point() else found[k] for k in sorted(wanted)}
    counters = {k: torch.zeros((), dtype=v.dtype) for k, v in tower.state_dict().items() if k.endswith(_COUNTER)}
    return weights | counters


def local_file(pretrained: str) -> Path | None:
    """The file that `pretrained` names, if there is one."""
    try:
        path = Path(pretrained).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return None


def hash_weights(weights: Mapping[str, Tensor]) -> bytes:
    """SHA-256 of names, shapes, types and values; tensors are hashed side by side in threads."""

    def one(name: str) -> bytes:
        value = weights[name].detach().cpu().contiguous()
        total = hashlib.sha256(f"{name} {tuple(value.shape)} {value.dtype};".encode())
        total.update(value.view(-1).view(torch.uint8).numpy().data)
        return total.digest()

    names = sorted(name for name in weights if not name.endswith(_COUNTER))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return hashlib.sha256(b"".join(pool.map(one, names))).digest()
