"""Random changes of training signals, which leave the image that was seen the same."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from ubp.config import unknown
from ubp.errors import InputError

WIDEST = 4  # standard deviations of a Gaussian that are more than the padding needs


@dataclass(frozen=True)
class Context:
    """What changes may want to know beside the signals.

    Parameters
    ----------
    sfreq : float, optional
        Sampling rate in Hz.
    other : Tensor of shape (n, n_channels, n_times), optional
        Another repetition of the image of each trial; the same where there is only one.
    """

    sfreq: float | None = None
    other: Tensor | None = None


Change = Callable[[Tensor, Generator, float, Context], Tensor]


def smoothing(signals: Tensor, generator: Generator, strength: float, context: Context) -> Tensor:
    r"""Each trial is smoothed along time by a Gaussian of a random width.

    .. math:: \hat y(f) = e^{-2 \pi^2 \sigma^2 f^2} \hat x(f), \quad \sigma \sim U(0, s)

    Before its first and after its last sample a trial goes on with their values.

    Parameters
    ----------
    signals : Tensor of shape (n, n_channels, n_times), floating point
    generator : torch.Generator
    strength : float
        `s`, in ms.
    context : Context
        With a sampling rate.

    Returns
    -------
    Tensor of the shape and type of `signals`; computed in float32
    """
    n, _, n_times = signals.shape
    most = strength / 1000 * _rate(context)
    width = torch.rand(n, 1, 1, generator=generator, device=signals.device) * most
    pad = math.ceil(WIDEST * most) + 1
    padded = functional.pad(signals.float(), (pad, pad), mode="replicate")
    frequency = torch.fft.rfftfreq(padded.shape[2], device=signals.device)
    spectrum = torch.fft.rfft(padded) * torch.exp(-2 * (math.pi * width * frequency) ** 2)
    smooth = torch.fft.irfft(spectrum, n=padded.shape[2])[:, :, pad : pad + n_times]
    return smooth.to(signals.dtype)


def time_shift(signals: Tensor, generator: Generator, strength: float, context: Context) -> Tensor:
    """Each trial is moved by a random whole number of samples, up to `strength` ms either way; edges are repeated.

    Parameters and result are those of :func:`smoothing`.
    """
    n, n_channels, n_times = signals.shape
    most = int(strength / 1000 * _rate(context) + 1e-6)
    shift = torch.randint(-most, most + 1, (n, 1), generator=generator, device=signals.device)
    place = (torch.arange(n_times, device=signals.device) - shift).clamp(0, n_times - 1)
    return signals.gather(2, place[:, None].expand(n, n_channels, n_times))


def channel_dropout(signals: Tensor, generator: Generator, strength: float, context: Context) -> Tensor:
    """Each channel of each trial is 0 with probability `strength`; what is left keeps its scale.

    Parameters and result are those of :func:`smoothing`.
    """
    chance = torch.rand(*signals.shape[:2], 1, generator=generator, device=signals.device)
    return signals * (chance >= strength)


def noise(signals: Tensor, generator: Generator, strength: float, context: Context) -> Tensor:
    r"""White noise is added.

    .. math:: y = x + s \, \sigma_c \, \epsilon, \quad \epsilon \sim N(0, 1)

    with the standard deviation :math:`\sigma_c` of the channel over trials and samples of the batch. Parameters and
    result are those of :func:`smoothing`; `strength` is `s`.
    """
    drawn = torch.randn(signals.shape, generator=generator, device=signals.device)
    deviation = signals.float().std(dim=(0, 2), correction=0)[:, None]
    return torch.addcmul(signals.float(), drawn, deviation, value=strength).to(signals.dtype)


def mixup(signals: Tensor, generator: Generator, strength: float, context: Context) -> Tensor:
    r"""Each trial is mixed with another repetition of its image.

    .. math:: y = (1 - \lambda) x + \lambda x', \quad \lambda \sim U(0, s)

    Parameters and result are those of :func:`smoothing`; `strength` is `s`, and the context has the other repetition.
    """
    if context.other is None:
        raise InputError("mixup needs another repetition of the image of each trial; expected it in the context.")
    share = torch.rand(len(signals), 1, 1, generator=generator, device=signals.device) * strength
    return torch.lerp(signals.float(), context.other.float(), share).to(signals.dtype)


@dataclass(frozen=True)
class Augmentation:
    """A change of training signals.

    Parameters
    ----------
    change : callable
        Of signals, generator, strength and context.
    strength : float
        By default.
    most : float
        The largest strength.
    unit : str
        Of the strength, to say in an error.
    needs_time : bool
        Whether it needs a sampling rate and more than one sample.
    """

    change: Change
    strength: float
    most: float
    unit: str
    needs_time: bool = False


def read_augmentations(words: Iterable[str]) -> tuple[str, ...]:
    """Check words such as ``noise`` or ``noise=0.2``, and write them alike: NAME=STRENGTH, in the order of the table.

    Raises
    ------
    InputError
        When a name is unknown or there twice, or a strength is not a number or out of range.

    Examples
    --------
    >>> read_augmentations(["noise=0.20", "mixup"])
    ('mixup=0.5', 'noise=0.2')
    """
    if isinstance(words, str) or not isinstance(words, Iterable):
        raise InputError(f"augment is {words!r}; expected a list of names, such as noise or noise=0.2.")
    found: dict[str, float] = {}
    for word in words:
        name, sign, strength = str(word).partition("=")
        if name not in AUGMENTATIONS:
            raise unknown("augmentation", name, AUGMENTATIONS)
        if name in found:
            raise InputError(f"The augmentation {name} is there twice; name it once.")
        found[name] = _strength(name, strength) if sign else AUGMENTATIONS[name].strength
    return tuple(f"{name}={found[name]!r}" for name in AUGMENTATIONS if name in found)


def _strength(name: str, text: str) -> float:
    about = AUGMENTATIONS[name]
    try:
        strength = float(text)
    except ValueError:
        strength = math.nan
    if not 0 < strength <= about.most or math.isinf(strength):
        limit = "" if math.isinf(about.most) else f" and at most {about.most:g}"
        raise InputError(
            f"The strength of the augmentation {name} is {text!r}; expected {about.unit} above 0{limit}, "
            f"as in {name}={about.strength:g}."
        )
    return strength


def check_augmentations(words: Sequence[str], n_times: int, sfreq: float | None) -> None:
    """Refuse augmentations, as :func:`read_augmentations` writes them, that signals cannot have.

    Raises
    ------
    InputError
        When one needs time and there is one sample or no sampling rate, one is longer than the trial, or a shift is
        shorter than a sample.
    """
    for word in words:
        name, _, strength = word.partition("=")
        if not AUGMENTATIONS[name].needs_time:
            continue
        if n_times < 2 or sfreq is None:
            lack = "one sample per trial" if n_times < 2 else "no sampling rate"
            raise InputError(f"The augmentation {name} changes signals along time and these have {lack}; leave it out.")
        length = 1000 * n_times / sfreq
        if float(strength) > length:
            raise InputError(
                f"The augmentation {name} is of up to {float(strength):g} ms, which is longer than a trial of "
                f"{length:g} ms; expected milliseconds above 0 and at most that."
            )
        if name == "time-shift" and int(float(strength) / 1000 * sfreq + 1e-6) < 1:
            raise InputError(
                f"The augmentation time-shift is of up to {float(strength):g} ms, which is less than a sample of "
                f"{1000 / sfreq:g} ms; give at least that, as in time-shift={math.ceil(1000 / sfreq)}."
            )


def augmented(signals: Tensor, words: Sequence[str], generator: Generator, context: Context = Context()) -> Tensor:
    """Apply augmentations, as :func:`read_augmentations` writes them, one after the other."""
    for word in words:
        name, _, strength = word.partition("=")
        signals = AUGMENTATIONS[name].change(signals, generator, float(strength), context)
    return signals


def _rate(context: Context) -> float:
    if context.sfreq is None:
        raise InputError("A change along time needs the sampling rate; expected it in the context.")
    return context.sfreq


AUGMENTATIONS: dict[str, Augmentation] = {
    "mixup": Augmentation(mixup, 0.5, 1.0, "a share"),
    "smoothing": Augmentation(smoothing, 20.0, math.inf, "milliseconds", needs_time=True),
    "time-shift": Augmentation(time_shift, 20.0, math.inf, "milliseconds", needs_time=True),
    "channel-dropout": Augmentation(channel_dropout, 0.1, 1.0, "a probability"),
    "noise": Augmentation(noise, 0.2, 1000.0, "standard deviations"),
}
"""Changes of training signals by name, in the order in which they are made."""
