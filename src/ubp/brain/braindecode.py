"""Any model of braindecode as a brain encoder: ``braindecode:NAME``."""

import contextlib
import inspect
import io
import warnings
from difflib import get_close_matches
from typing import Any, ClassVar

import torch
from torch import nn

from ubp.brain.base import BrainEncoder
from ubp.errors import InputError

PREFIX = "braindecode:"
REFUSED = {"REVE": "it downloads electrode positions when it is made"}


class Braindecode(BrainEncoder):
    """A classifier of braindecode whose classes are the numbers of an embedding, then layer norm.

    ``y = LayerNorm(model(x))`` with ``n_outputs = embed_dim``. The model's own last layer so becomes the map to the
    embedding, whatever comes before it. The layer norm is that of the other encoders' heads: the losses that do not
    normalise the brain side need embeddings of about the same length.

    Parameters
    ----------
    model : Module
        Maps (batch, n_channels, n_times) to (batch, embed_dim).
    n_channels, n_times, embed_dim : int
    """

    minimum_times: ClassVar[int] = 1

    def __init__(self, model: nn.Module, n_channels: int, n_times: int, embed_dim: int) -> None:
        super().__init__(n_channels, n_times, embed_dim, dropout=0.0)
        self.model = model

    def make_head(self, dropout: float) -> nn.Module:
        """Make the layer norm."""
        return nn.LayerNorm(self.embed_dim)

    def features(self, signals: torch.Tensor) -> torch.Tensor:
        """Map signals to (batch, embed_dim)."""
        return self.model(signals)


def braindecode_encoder(
    name: str, n_channels: int, n_times: int, embed_dim: int, sfreq: float | None, **options: Any
) -> Braindecode:
    """Make a model of braindecode, and try it on one window.

    Parameters
    ----------
    name : str
        ``braindecode:NAME``; upper and lower case are the same.
    n_channels, n_times, embed_dim : int
    sfreq : float or None
        Sampling rate in Hz.
    **options
        Further arguments of the model.

    Raises
    ------
    InputError
        braindecode is absent, or has no such model, or the model cannot serve such windows.
    """
    try:
        with _hushed():
            from braindecode.models.util import models_dict
    except ImportError as error:
        raise InputError(
            f"{name} needs braindecode, which is not installed; run `uv sync --extra braindecode` or "
            "`pip install 'ubp[braindecode]'`"
        ) from error
    known = {model.lower(): model for model in sorted(models_dict) if model not in REFUSED}
    asked = name[len(PREFIX) :]
    refused = {model.lower(): model for model in REFUSED}.get(asked.lower())
    if refused:
        raise InputError(f"{PREFIX}{refused} is not offered, because {REFUSED[refused]}; choose another model")
    if asked.lower() not in known:
        near = get_close_matches(asked.lower(), known, n=1)
        hint = f"did you mean {PREFIX + known[near[0]]!r}, or " if near else ""
        raise InputError(f"braindecode has no model {asked!r}; {hint}choose one of {', '.join(known.values())}")
    kind = models_dict[known[asked.lower()]]
    for option in options:
        if option not in inspect.signature(kind).parameters:
            raise InputError(f"Unknown option {option!r} of {PREFIX}{kind.__name__}; see braindecode's documentation")
    rate = {} if sfreq is None else {"sfreq": sfreq}
    shape = f"{n_channels} channels and {n_times} samples" + ("" if sfreq is None else f" at {sfreq:g} Hz")
    try:
        with _hushed():
            model = kind(n_chans=n_channels, n_times=n_times, n_outputs=embed_dim, **rate, **options)
            encoder = Braindecode(model, n_channels, n_times, embed_dim).eval()
            with torch.no_grad():
                found = tuple(encoder(torch.zeros(2, n_channels, n_times)).shape)
    except Exception as error:  # each model has its own way to say that it cannot
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise InputError(
            f"{PREFIX}{kind.__name__} cannot serve windows of {shape} ({reason}); choose other channels, another "
            "window or another model"
        ) from error
    if found != (2, embed_dim):
        raise InputError(
            f"{PREFIX}{kind.__name__} gives an array of shape {found} for two windows of {shape}; expected "
            f"(2, {embed_dim}), so choose another model"
        )
    return encoder.train()


@contextlib.contextmanager
def _hushed() -> Any:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
