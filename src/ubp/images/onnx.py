"""An image encoder from an ONNX file, with its preprocessing in a JSON file beside it."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ubp.errors import InputError, UbpError
from ubp.files import digest, read_json
from ubp.images.load import INTERPOLATIONS
from ubp.images.pools import POOLS
from ubp.images.spec import Reading, one_of

WHOLE = Reading()
MAX_BYTES = 2**31  # protobuf, and so a single ONNX file, ends there


@dataclass(frozen=True)
class Preprocessing:
    """How pixels are prepared: squash to `size`, scale to 0..1, subtract `mean`, divide by `std` (one per channel)."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    output_dim: int

    @classmethod
    def read(cls, path: Path) -> "Preprocessing":
        """Read the JSON file; further keys (licence, source) are left alone.

        Raises
        ------
        InputError
            When the file is absent or a value is missing or impossible.
        """
        content = read_json(path, "the preprocessing of the ONNX encoder (size, mean, std, interpolation, output_dim)")
        for name, (fits, expected) in _RULES.items():
            if name not in content:
                raise InputError(f"{path} has no {name!r}; expected {expected}.")
            if not fits(content[name]):
                raise InputError(f"{path} says {name} = {content[name]!r}; expected {expected}.")
        values: dict[str, Any] = {name: content[name] for name in _RULES}
        values |= {name: tuple(map(float, values[name])) for name in ("mean", "std")}
        return cls(**values)


class OnnxEncoder:
    """Image encoder run by ONNX Runtime.

    Parameters
    ----------
    path : Path
        A single ONNX file: one float32 input of shape (batch, 3, size, size), first output (batch, output_dim).
        Beside it, ``<same stem>.json`` with `size`, `mean`, `std`, `interpolation` and `output_dim`.
    reading : Reading
        Layers are names of values in the graph that are maps (batch, channels, side, side), pooled by ``mean``, the
        default, ``gem``, ``grid2`` or ``grid3``; several are brought to length 1 each and put side by side. The network
        runs as far as the last of them.
    device : str
        ``"cuda..."`` uses ONNX Runtime's CUDA provider where it is installed; everything else runs on the cpu.

    Attributes
    ----------
    fingerprint : str
        Digest of the ONNX file's bytes and of the preprocessing.

    Raises
    ------
    InputError
        When a file is missing, is not what it should be, or the two disagree.
    UbpError
        When ONNX Runtime is not installed, or fails.

    Notes
    -----
    Deterministic on the cpu. Kernels may round differently for another batch size, about 1e-6 relative.
    """

    def __init__(self, path: Path, device: str = "cpu", reading: Reading = WHOLE):
        try:
            import onnxruntime
        except ImportError as error:
            raise UbpError("An onnx: encoder needs ONNX Runtime; install it with: pip install 'ubp[onnx]'.") from error
        self.path = path = Path(path)
        if not path.is_file():
            raise InputError(f"{path} does not exist; expected an ONNX file of an image encoder.")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} has more than 2 GB; expected one ONNX file with its weights inside.")
        data = path.read_bytes()
        self.preprocessing = Preprocessing.read(path.with_suffix(".json"))
        self.name = f"onnx:{path.name}"
        parts: list[bytes | str] = [
            "onnx",
            hashlib.sha256(data).digest(),
            json.dumps(asdict(self.preprocessing), sort_keys=True),
        ]
        self.pool = "mean" if reading.pool == "auto" else reading.pool
        self.layers = reading.layers
        if reading.layers:
            if POOLS[self.pool] is None:
                raise InputError(f"The pool {self.pool} is not for {path}; expected pool=mean, gem, grid2 or grid3.")
            self.name += f",layer={'+'.join(reading.layers)},pool={self.pool}"
            parts.append(json.dumps([reading.layers, self.pool]))
            data = cut(data, reading.layers, path)
        self.fingerprint = digest(*parts)
        self.size = self.preprocessing.size
        self.interpolation = self.preprocessing.interpolation
        self.dim = self.preprocessing.output_dim
        self._mean = torch.tensor(self.preprocessing.mean)[:, None, None]
        self._std = torch.tensor(self.preprocessing.std)[:, None, None]

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Weights outside the file would escape the fingerprint: look for them where nothing is.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", f"{path}.none")
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=_providers(onnxruntime, device))
        except Exception as error:  # ONNX Runtime's own exceptions share no other base
            raise InputError(
                f"{path} is not an ONNX model that can be loaded ({_first_line(error)}); "
                "expected one whole ONNX file with its weights inside."
            ) from error
        self._input = self._check_input()
        if self.layers:
            self.dim = self._run(np.zeros((1, 3, self.size, self.size), np.float32)).shape[1]
        else:
            self._check_output()

    def __call__(self, pixels: Tensor) -> Tensor:
        """Encode (n, 3, size, size) float32 pixels in 0..1 to (n, dim) float32 on the cpu, not normalised."""
        normalised = ((pixels.cpu() - self._mean) / self._std).numpy()
        step = self._batch or len(normalised) or 1
        blocks = [self._run(normalised[i : i + step]) for i in range(0, len(normalised), step)]
        return torch.from_numpy(np.concatenate(blocks)) if blocks else torch.zeros(0, self.dim)

    def _run(self, images: np.ndarray) -> np.ndarray:
        n = len(images)
        if self._batch and n < self._batch:
            images = np.concatenate([images, np.zeros((self._batch - n, *images.shape[1:]), np.float32)])
        try:
            outputs = self._session.run(None, {self._input: np.ascontiguousarray(images)})
        except Exception as error:  # as above
            raise UbpError(f"ONNX Runtime failed on {self.path} ({_first_line(error)}).") from error
        return np.asarray(outputs[0])[:n] if not self.layers else self._pooled(outputs)[:n]

    def _pooled(self, outputs: list[np.ndarray]) -> np.ndarray:
        vectors, pool = [], POOLS[self.pool]
        assert pool is not None
        for name, output in zip(self.layers, outputs, strict=True):
            if output.ndim != 4 or output.shape[2] != output.shape[3]:
                raise InputError(
                    f"The layer {name} of {self.path} has the shape {output.shape[1:]} for an image; expected a "
                    "layer that gives a map (channels, side, side)."
                )
            try:
                vectors.append(pool(torch.from_numpy(output).movedim(1, -1).flatten(1, 2).float()))
            except ValueError as error:
                raise InputError(
                    f"The pool {self.pool} does not fit the layer {name} of {self.path}: {error}"
                ) from error
        if len(vectors) > 1:
            vectors = [functional.normalize(vector, dim=1) for vector in vectors]
        return torch.cat(vectors, 1).numpy()

    def _check_input(self) -> str:
        inputs = self._session.get_inputs()
        wanted = f"one float32 input (batch, 3, {self.size}, {self.size})"
        shape = inputs[0].shape if inputs else []
        fits = len(inputs) == 1 and inputs[0].type == "tensor(float)" and len(shape) == 4
        fits = fits and all(
            not isinstance(s, int) or s == w for s, w in zip(shape[1:], (3, self.size, self.size), strict=True)
        )
        if not fits:
            found = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs) or "none"
            raise InputError(f"{self.path} has the input {found}; expected {wanted}, as its JSON file says.")
        self._batch = shape[0] if isinstance(shape[0], int) else None
        return str(inputs[0].name)

    def _check_output(self) -> None:
        output = self._run(np.zeros((1, 3, self.size, self.size), np.float32))
        if output.ndim != 2 or output.shape[1] != self.dim or output.dtype != np.float32:
            raise InputError(
                f"{self.path} gives {output.dtype} of shape {output.shape} for one image; "
                f"expected float32 of shape (1, {self.dim}), as its JSON file says."
            )


def cut(data: bytes, layers: Sequence[str], path: Path) -> bytes:
    """The network of an ONNX file as far as some of its inner values, which become its outputs.

    Raises
    ------
    InputError
        When the file is no ONNX network, or a value is not in it.
    UbpError
        When the package `onnx` is not installed.
    """
    try:
        import onnx
        from onnx.utils import Extractor
    except ImportError as error:
        raise UbpError(
            "Layers of an onnx: encoder need the package onnx; install it with: pip install 'ubp[onnx]'."
        ) from error
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # protobuf's own exceptions
        raise InputError(f"{path} is not an ONNX network that can be read ({_first_line(error)}).") from error
    values = [name for node in model.graph.node for name in node.output]
    for layer in layers:
        if layer not in values:
            raise InputError(f"{path} has no layer {layer!r}; expected {one_of(layer, values)}.")
    for name in layers:
        if name not in {value.name for value in model.graph.value_info}:
            model.graph.value_info.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    inputs = [one.name for one in model.graph.input if one.name not in {w.name for w in model.graph.initializer}]
    extracted: bytes = Extractor(model).extract_model(inputs, list(layers)).SerializeToString()
    return extracted


def _providers(onnxruntime: Any, device: str) -> list[str]:
    wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
    return [*(p for p in wanted if p in onnxruntime.get_available_providers()), "CPUExecutionProvider"]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".").replace(". ", "; ")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65536


def _is_triple(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(v, int | float) for v in value)


_RULES = {
    "size": (lambda v: _is_count(v) and v <= 4096, "a whole number of pixels, 1 to 4096"),
    "mean": (lambda v: _is_triple(v) and all(math.isfinite(x) for x in v), "three finite numbers"),
    "std": (lambda v: _is_triple(v) and all(math.isfinite(x) and x > 0 for x in v), "three positive numbers"),
    "interpolation": (lambda v: isinstance(v, str) and v in INTERPOLATIONS, f"one of {', '.join(INTERPOLATIONS)}"),
    "output_dim": (_is_count, "a whole number, 1 to 65536"),
}
