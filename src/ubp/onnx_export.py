"""A model's brain encoder as one ONNX file, checked against torch before it gets its name."""

import copy
import json
import logging
import math
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ubp.brain.braindecode import PREFIX
from ubp.errors import InputError, UbpError
from ubp.files import atomic_file
from ubp.model import Description, Model
from ubp.sharing.portable import portable_encoder

TOLERANCE = 1e-5
MAX_BYTES = 2**31 - 2**20  # protobuf ends a little later
BATCHES = (1, 2, 7)
UNSEEN = -1
FORMAT = 1
SEED = 0


class RawEncoder(nn.Module):
    """Raw signals to embeddings: ``encoder((x - mean) / deviation)``, and perhaps whose they are.

    Parameters
    ----------
    model : Model
        Copied, in evaluation mode, on the CPU. A table of subjects gets a row of zeros at its end, so that the subject
        -1 is an unseen one.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        encoder = copy.deepcopy(model.encoder).cpu().float().eval()
        for module in encoder.modules():
            if parametrize.is_parametrized(module):
                for name in list(module.parametrizations):  # type: ignore[arg-type]
                    parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        own = getattr(encoder, "own", None)
        if isinstance(own, Tensor):
            encoder.own = nn.Parameter(torch.cat([own.detach(), torch.zeros_like(own[:1])]))
        self.encoder = encoder.requires_grad_(False)
        self.register_buffer("mean", model.scale[0].float())
        self.register_buffer("deviation", model.scale[1].float())

    def forward(self, signals: Tensor, subject: Tensor | None = None) -> Tensor:
        """Embeddings (batch, embed_dim) of signals (batch, n_channels, n_times) in the unit of training."""
        scaled = (signals - self.mean) / self.deviation
        embedding: Tensor = self.encoder(scaled) if subject is None else self.encoder(scaled, subject)
        return embedding


def export_onnx(folder: Path | str, out: Path | str) -> float:
    """Write the brain encoder of a model as ONNX, and the scaling of its channels with it.

    Inputs are ``signals``, float32 (batch, n_channels, n_times) in the unit of training, and for an encoder that knows
    subjects ``subject``, int64 (batch,): the number of each trial's training subject, -1 for an unseen one. The output
    is ``embedding``, float32 (batch, embedding_dim), what :meth:`ubp.model.Model.embed` gives. The metadata
    of the file say what it needs: see :func:`ubp.onnx_encoder.metadata`.

    Parameters
    ----------
    folder : path
        Of the model.
    out : path
        The file; an older one is replaced.

    Returns
    -------
    float
        The largest difference from torch, ``max |onnx - torch| / max |torch|``, over random signals in batches of
        several sizes; at most 1e-5.

    Raises
    ------
    InputError
        When the folder holds no whole model, the name does not end in .onnx, or the encoder cannot be exported, or not
        so that ONNX Runtime gives what torch gives; nothing is written then.
    UbpError
        When onnx, onnxscript or onnxruntime is not installed.
    """
    folder, out = Path(folder), Path(out)
    if out.suffix != ".onnx":
        raise InputError(f"The ONNX file is to be {out}; expected a name that ends in .onnx.")
    _need()
    model = Model.load(folder)
    # torch's exporter is known to crash on some of braindecode's models
    data = _elsewhere(folder) if model.description.options.brain_encoder.startswith(PREFIX) else encoder_onnx(model)
    difference = largest_difference(model, data)
    with atomic_file(out) as handle:
        handle.write(data)
    return difference


def encoder_onnx(model: Model) -> bytes:
    """The ONNX file of a model's brain encoder, not checked yet.

    Raises
    ------
    InputError
        When torch's exporter does not know an operation of the encoder.
    """
    about, encoder = model.description, RawEncoder(model)
    if sum(part.numel() * part.element_size() for part in encoder.state_dict().values()) > MAX_BYTES:
        raise InputError("The brain encoder has more than 2 GB of weights; expected what one ONNX file can hold.")
    example = [torch.zeros(2, len(about.channels), about.n_times)]
    names, batch = ["signals"], torch.export.Dim("batch")
    if knows_subjects(model):
        example.append(torch.zeros(2, dtype=torch.int64))
        names.append("subject")
    with _hushed(), torch.no_grad():
        try:
            program: Any = torch.onnx.export(
                encoder,
                tuple(example),
                dynamo=True,
                input_names=names,
                output_names=["embedding"],
                dynamic_shapes={name: {0: batch} for name in names},
                verbose=False,
            )
            proto = program.model_proto
        except Exception as error:  # the exporter's own exceptions share no other base
            raise InputError(
                f"The brain encoder {about.options.brain_encoder!r} cannot be written as ONNX by torch "
                f"({type(error).__name__}); choose a model with another one."
            ) from error
    _strip(proto)
    for key, value in metadata(model).items():
        proto.metadata_props.add(key=key, value=value)
    data: bytes = proto.SerializeToString()
    return data


def metadata(model: Model) -> dict[str, str]:
    """What the ONNX file says of itself, all values as text.

    Returns
    -------
    dict of str to str
        `format`, `method`, `study`, `brain_encoder`, `channels` (JSON list, in order), `sfreq` (Hz) and `tmin` (s) or
        nothing, `n_times`, `embedding_dim`, `image_encoder` and `image_encoder_fingerprint` (whose vectors it matches),
        `gallery_level` (blur of the images to compare with), `subjects` (JSON list; `subject` counts from 0 in it),
        `model_identity` (digest of all that decides the weights) and `ubp_version`.
    """
    about = model.description
    return {
        "format": str(FORMAT),
        "method": about.method,
        "study": about.study,
        "brain_encoder": about.options.brain_encoder,
        "channels": json.dumps(about.channels),
        "sfreq": "" if about.sfreq is None else f"{about.sfreq:g}",
        "tmin": "" if about.tmin is None else f"{about.tmin:g}",
        "n_times": str(about.n_times),
        "embedding_dim": str(_embedding_dim(model)),
        "image_encoder": portable_encoder(about.vision_encoder),
        "image_encoder_fingerprint": about.vision_fingerprint,
        "gallery_level": about.preset.base.name,
        "subjects": json.dumps(about.trained_on),
        "model_identity": about.identity(),
        "ubp_version": about.versions.get("ubp", ""),
    }


def knows_subjects(model: Model) -> bool:
    """Whether the encoder has a vector for each training subject."""
    return model.encoder.uses_subject and getattr(model.encoder, "own", None) is not None


def largest_difference(model: Model, data: bytes) -> float:
    """Largest difference of ONNX Runtime from torch, relative to the largest number of torch's embeddings.

    Raises
    ------
    InputError
        When ONNX Runtime cannot run the file, or the difference is above 1e-5.
    """
    import onnxruntime

    about, random = model.description, np.random.default_rng(SEED)
    mean, deviation = (part.numpy() for part in model.scale)
    name, worst = about.options.brain_encoder, 0.0
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4

    def run(given: dict[str, np.ndarray]) -> np.ndarray:
        try:
            return np.asarray(session.run(None, given)[0])
        except Exception as error:  # ONNX Runtime's own exceptions share no other base
            raise unusable from error

    unusable = InputError(
        f"The brain encoder {name!r} cannot be run by ONNX Runtime as torch wrote it; choose a model with another one."
    )
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise unusable from error
    for size in BATCHES:
        noise = random.standard_normal((size, len(about.channels), about.n_times))
        signals = (noise * deviation + mean).astype(np.float32)
        for number in (*range(len(about.trained_on)), UNSEEN) if knows_subjects(model) else (None,):
            who = about.subject if number is None else _name(about, number)
            given: dict[str, np.ndarray] = {"signals": signals}
            if number is not None:
                given["subject"] = np.full(size, number, np.int64)
            found, expected = run(given), model.embed(signals, who)
            if found.shape != expected.shape:
                raise InputError(
                    f"The brain encoder {name!r} as ONNX gives embeddings of shape {found.shape}, expected "
                    f"{expected.shape}; choose a model with another one."
                )
            difference = float(np.abs(found - expected).max() / np.abs(expected).max())
            worst = max(worst, difference if math.isfinite(difference) else math.inf)
    if not worst <= TOLERANCE:
        raise InputError(
            f"The brain encoder {name!r} as ONNX differs from torch by {worst:.1e} of the largest number, expected at "
            f"most {TOLERANCE:g}, so nothing is written; choose a model with another one."
        )
    return worst


def _name(about: Description, number: int) -> str:
    """A subject's name by number; one that no training subject has, for the unseen one."""
    return about.trained_on[number] if number != UNSEEN else "".join(about.trained_on) + "-unseen"


def _embedding_dim(model: Model) -> int:
    about = model.description
    return model.embed(np.zeros((1, len(about.channels), about.n_times), np.float32)).shape[1]


def _elsewhere(folder: Path) -> bytes:
    """The same in a process of its own, whose death is told in a sentence."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            return pool.submit(_of_folder, folder).result()
        except BrokenProcessPool as error:
            name = Model.load(folder).description.options.brain_encoder
            raise InputError(
                f"The brain encoder {name!r} cannot be written as ONNX: torch's exporter ended without an answer; choose a "
                "model with another one."
            ) from error


def _of_folder(folder: Path) -> bytes:
    return encoder_onnx(Model.load(folder))


def _strip(proto: Any) -> None:
    """Take out what the exporter notes of the program: lines of source files and where these lie."""
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for part in (
        proto.graph,
        *proto.graph.value_info,
        *proto.graph.input,
        *proto.graph.output,
        *proto.graph.initializer,
    ):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    for function in proto.functions:
        del function.metadata_props[:]
        for node in function.node:
            del node.metadata_props[:]
            node.ClearField("doc_string")
    del proto.metadata_props[:]


def _need() -> None:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UbpError(
            f"To write ONNX, {error.name} is needed, which is not installed; install it with: pip install 'ubp[onnx]'."
        ) from error


@contextmanager
def _hushed() -> Iterator[None]:
    """No notes of the exporter, which are for its developers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
