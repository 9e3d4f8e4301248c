"""A model's brain encoder, and what is done to its signals first, as one ONNX graph."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ubp.brain.base import SignalEncoder
from ubp.errors import InputError
from ubp.model import ENCODERS, Model
from ubp.randomness import seeded
from ubp.sharing.portable import portable_encoder

MAX_BYTES = 2**31 - 2**20  # protobuf ends a little later
FORMAT = 1


class RawEncoder(nn.Module):
    r"""Raw signals to embeddings, and perhaps whose they are.

    .. math:: h = f\Bigl(\frac{A_s (x - m_s) - \mu}{\sigma}, s\Bigr)

    Without an alignment :math:`A_s = I` and :math:`m_s = 0`.

    Parameters
    ----------
    model : Model
        Its weights are copied, to the CPU. Every table of subjects gets a row of zeros at its end, so that the subject
        -1 is an unseen one; the alignments are those of the training subjects and, at the end, of the model's subject.
        An encoder without such a table takes all signals for those of the model's subject.
    """

    mean: Tensor
    deviation: Tensor
    centre: Tensor
    matrix: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        # made anew, because a copy would share what parametrizations do to its class
        with seeded("load"):
            encoder = ENCODERS[model.description.options.kind](model.description)
        encoder.load_state_dict(model.encoder.state_dict())
        encoder.eval()
        for module in list(encoder.modules()):
            if parametrize.is_parametrized(module):
                for name in list(module.parametrizations):  # type: ignore[arg-type]
                    parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        tables = subject_tables(encoder)
        for part, own in tables:
            part.own = nn.Parameter(torch.cat([own.detach(), torch.zeros_like(own[:1])]))
        self.encoder = encoder.requires_grad_(False)
        self.aligns = bool(model.alignment)
        if self.aligns:
            about = model.description
            alignments = [model.alignment[who] for who in (*(about.trained_on if tables else ()), about.subject)]
            self.register_buffer("centre", torch.stack([alignment.centre for alignment in alignments]))
            self.register_buffer("matrix", torch.stack([alignment.matrix for alignment in alignments]))
        self.register_buffer("mean", model.scale[0].float())
        self.register_buffer("deviation", model.scale[1].float())

    def forward(self, signals: Tensor, subject: Tensor | None = None) -> Tensor:
        """Embeddings (batch, embed_dim) of signals (batch, n_channels, n_times) in the unit of training."""
        if self.aligns:
            row = 0 if subject is None else subject
            signals = self.matrix[row] @ (signals - self.centre[row])
        scaled = (signals - self.mean) / self.deviation
        embedding: Tensor = self.encoder(scaled) if subject is None else self.encoder(scaled, subject)
        return embedding


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
        `aligned_as` (subject as whose signals are aligned that are of nobody in `subjects`, or all of them where there
        is no input `subject`; nothing where the model does not align), `model_identity` (digest of all that decides
        the weights) and `ubp_version`.
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
        "aligned_as": about.subject if model.alignment else "",
        "model_identity": about.identity(),
        "ubp_version": about.versions.get("ubp", ""),
    }


def knows_subjects(model: Model) -> bool:
    """Whether the encoder, or a part of it, has weights of each training subject."""
    return bool(subject_tables(model.encoder))


def subject_tables(encoder: nn.Module) -> list[tuple[SignalEncoder, Tensor]]:
    """Parts of an encoder that have weights of each training subject, and these, one row a subject."""
    parts = [part for part in encoder.modules() if isinstance(part, SignalEncoder) and part.uses_subject]
    tables = [(part, getattr(part, "own", None)) for part in parts]
    return [(part, own) for part, own in tables if isinstance(own, Tensor)]


def _embedding_dim(model: Model) -> int:
    about = model.description
    return model.embed(np.zeros((1, len(about.channels), about.n_times), np.float32)).shape[1]


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
