"""Named tensors in safetensors files, with JSON content beside them."""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from ubp.errors import InputError
from ubp.files import atomic_file


def write_tensors(path: Path, tensors: dict[str, Tensor], content: Any = None) -> None:
    """Write named tensors, and JSON content beside them, in one safetensors file, atomically."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    data = safetensors.torch.save(plain, metadata={"content": json.dumps(content)})
    with atomic_file(path) as handle:
        handle.write(data)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Read what :func:`write_tensors` wrote.

    Raises
    ------
    InputError
        When the file is absent, cut short, or not a safetensors file.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, json.loads((file.metadata() or {}).get("content", "null"))
    except (safetensors.SafetensorError, OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not a complete safetensors file ({str(error).rstrip('.')}); remove it and run training again."
        ) from error
