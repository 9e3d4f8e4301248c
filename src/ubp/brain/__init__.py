"""Brain encoders: signals of shape (batch, channels, times) to vectors of shape (batch, embed_dim)."""

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from ubp.brain.atms import ATMS
from ubp.brain.base import BrainEncoder
from ubp.brain.braindecode import PREFIX, braindecode_encoder
from ubp.brain.deepnet import DeepNet
from ubp.brain.eegnet import EEGNet
from ubp.brain.eegproject import EEGProject
from ubp.brain.nice_ga import NICEGA
from ubp.brain.nice_sa import NICESA
from ubp.brain.shallownet import ShallowNet
from ubp.brain.tsconv import TSConv
from ubp.errors import InputError

__all__ = ["BRAIN_ENCODERS", "BrainEncoder", "brain_encoder"]


def brain_encoder(
    name: str,
    n_channels: int,
    n_times: int,
    embed_dim: int = 1024,
    *,
    n_subjects: int = 0,
    sfreq: float | None = None,
    **options: Any,
) -> BrainEncoder:
    """Make a brain encoder by name.

    Its weights are drawn from torch's global generator, so seed that (inside ``torch.random.fork_rng``) for the same
    weights again.

    Parameters
    ----------
    name : str
        A name in ``BRAIN_ENCODERS``, or ``braindecode:NAME`` for a model of braindecode; upper and lower case are the
        same.
    n_channels, n_times : int
        Shape of one trial.
    embed_dim : int, default 1024
        Length of the embedding.
    n_subjects : int, default 0
        Subjects that are trained on; heard by encoders with ``uses_subject``.
    sfreq : float, optional
        Sampling rate in Hz; heard by braindecode's models.
    **options
        Further arguments of the encoder, such as ``dropout``.

    Returns
    -------
    BrainEncoder
        Maps (batch, n_channels, n_times) to (batch, embed_dim).

    Raises
    ------
    InputError
        Unknown name or option, a size or dropout out of range, or a window that is too short.
    """
    if name.lower().startswith(PREFIX):
        return braindecode_encoder(name, n_channels, n_times, embed_dim, sfreq, **options)
    encoder: Callable[..., BrainEncoder] | None = BRAIN_ENCODERS.get(name.lower())
    if encoder is None:
        near = get_close_matches(name.lower(), BRAIN_ENCODERS, n=1)
        hint = f"did you mean {near[0]!r}, or " if near else ""
        choice = f"{', '.join(BRAIN_ENCODERS)} or {PREFIX}NAME"
        raise InputError(f"Unknown brain encoder {name!r}; {hint}choose one of {choice}")
    known = [option for option in inspect.signature(encoder).parameters if option not in _SIZES]
    for option in options:
        if option not in known:
            raise InputError(f"Unknown option {option!r} of the brain encoder {name!r}; it takes {', '.join(known)}")
    if BRAIN_ENCODERS[name.lower()].uses_subject:
        options["n_subjects"] = n_subjects
    return encoder(n_channels, n_times, embed_dim, **options)


_SIZES = ("n_channels", "n_times", "embed_dim", "n_subjects")

BRAIN_ENCODERS: dict[str, type[BrainEncoder]] = {
    "eegproject": EEGProject,
    "shallownet": ShallowNet,
    "deepnet": DeepNet,
    "eegnet": EEGNet,
    "tsconv": TSConv,
    "nice-sa": NICESA,
    "nice-ga": NICEGA,
    "atm-s": ATMS,
}
