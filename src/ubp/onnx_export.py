"""Write a model's brain encoder as ONNX, once ONNX Runtime was seen to give what torch gives."""

import math
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np

from ubp.brain.braindecode import PREFIX
from ubp.description import Description
from ubp.errors import InputError, UbpError
from ubp.files import atomic_file, write_text
from ubp.model import Model
from ubp.onnx_encoder import encoder_onnx, knows_subjects

TOLERANCE = 1e-5
BATCHES = (1, 2, 7)
UNSEEN = -1
SEED = 0
REFUSAL = ".refusal"
CHILD = """
import pathlib, sys
from ubp.onnx_export import write_answer
write_answer(*map(pathlib.Path, sys.argv[1:]))
"""


def export_onnx(folder: Path | str, out: Path | str) -> float:
    """Write the brain encoder of a model as ONNX, and the alignment and the scaling of its signals with it.

    Inputs are ``signals``, float32 (batch, n_channels, n_times) in the unit of training, and for an encoder any part of
    which knows subjects ``subject``, int64 (batch,): the number of each trial's training subject, -1 for an unseen one.
    The output is ``embedding``, float32 (batch, embedding_dim), what :meth:`ubp.model.Model.embed` gives. The metadata
    of the file say what it needs: see :func:`ubp.onnx_encoder.metadata`.

    A model that aligns signals does so in the graph: signals of a training subject as that subject's where there is an
    input ``subject``, all others as those of the subject that the model is for. To align signals of somebody whom the
    model does not know by themselves, use :meth:`ubp.retrieve.Retriever.retrieve`.

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
    data = _elsewhere(folder) if PREFIX in model.description.options.brain_encoder.lower() else encoder_onnx(model)
    difference = largest_difference(model, data)
    with atomic_file(out) as handle:
        handle.write(data)
    return difference


def largest_difference(model: Model, data: bytes) -> float:
    """Largest difference of ONNX Runtime from torch, relative to the largest number of torch's embeddings.

    Raises
    ------
    InputError
        When ONNX Runtime cannot run the file, or the difference is above 1e-5.
    """
    import onnxruntime

    about, random = model.description, np.random.default_rng(SEED)
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
        for number in (*range(len(about.trained_on)), UNSEEN) if knows_subjects(model) else (None,):
            who = about.subject if number is None else _name(about, number)
            aligned_as = about.subject if number in (None, UNSEEN) else who
            signals = _raw(model, noise, aligned_as)
            given: dict[str, np.ndarray] = {"signals": signals}
            if number is not None:
                given["subject"] = np.full(size, number, np.int64)
            found, expected = run(given), model.embed(model.align(signals, aligned_as), who, aligned=True)
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


def _raw(model: Model, noise: np.ndarray, subject: str) -> np.ndarray:
    """Signals of a subject that the model would align and scale to this noise, float32."""
    mean, deviation = (part.numpy() for part in model.scale)
    signals = noise * deviation + mean
    if model.alignment:
        alignment = model.alignment[subject]
        signals = np.linalg.solve(alignment.matrix.double().numpy(), signals) + alignment.centre.numpy()
    return np.asarray(signals, np.float32)


def _name(about: Description, number: int) -> str:
    """A subject's name by number; one that no training subject has, for the unseen one."""
    return about.trained_on[number] if number != UNSEEN else "".join(about.trained_on) + "-unseen"


def _elsewhere(folder: Path) -> bytes:
    """The same in a process of its own, whose death is told in a sentence."""
    with tempfile.TemporaryDirectory(prefix="ubp-export-") as scratch:
        answer = Path(scratch) / "encoder"
        subprocess.run(
            [sys.executable, "-P", "-c", CHILD, str(folder), str(answer)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        refusal = answer.with_suffix(REFUSAL)
        if refusal.is_file():
            raise InputError(refusal.read_text(encoding="utf-8"))
        if not answer.is_file():
            name = Description.read(folder).options.brain_encoder
            raise InputError(
                f"The brain encoder {name!r} cannot be written as ONNX: torch's exporter ended without an answer; "
                "choose a model with another one."
            )
        return answer.read_bytes()


def write_answer(folder: Path, answer: Path) -> None:
    """Write the encoder of a model that is not checked yet, or a file beside it with the sentence that says why not."""
    try:
        data = encoder_onnx(Model.load(folder))
    except InputError as error:
        write_text(answer.with_suffix(REFUSAL), str(error))
        return
    with atomic_file(answer) as handle:
        handle.write(data)


def _need() -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            import_module(name)
        except ImportError as error:
            raise UbpError(f"To write ONNX {name} is needed; install it with: pip install 'ubp[onnx]'.") from error
