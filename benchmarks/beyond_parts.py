"""The parts beyond the paper: what each sets over `ubp`, and what a study must have for it to act."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ubp.config import TrainOptions
from ubp.presets import Preset, preset

UBP, PLUS = "ubp", "ubp-plus"
SHUFFLED = ", shuffled"
LAYER, TIME, SUBJECTS, REPETITIONS = "an intermediate layer", "time", "several subjects", "repetitions"
SHARED = "images that several training subjects saw"


@dataclass(frozen=True)
class Part:
    """One idea that can be switched on alone.

    Parameters
    ----------
    what : str
        In a few words.
    options : dict
        Options of training over those of `ubp`.
    preset : str, optional
        Blur of the images, instead of `ubp`'s.
    needs : str, optional
        What must be there for it to act: an intermediate layer, time (more than one sample in a trial), several
        subjects (training on them together), images that several of these saw, or repetitions (of every training
        image).
    """

    what: str
    options: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    needs: str | None = None


@dataclass(frozen=True)
class Configuration:
    """What is reported: `ubp` with parts, or its control.

    Parameters
    ----------
    name : str
    parts : tuple of str
        Keys of `PARTS`.
    against : str, optional
        Configuration it is compared with.
    shuffled : bool
        Pairs are shuffled.
    """

    name: str
    parts: tuple[str, ...] = ()
    against: str | None = UBP
    shuffled: bool = False

    def blur(self, width: int, step: int) -> Preset:
        """Its preset, under its own name."""
        chosen = [PARTS[part].preset for part in self.parts if PARTS[part].preset]
        return replace(preset(chosen[-1] if chosen else UBP, width, step), name=self.name.removesuffix(SHUFFLED))

    def options(self, base: TrainOptions) -> TrainOptions:
        """Options of training over those of `ubp`; what several parts do to signals is all done."""
        given: dict[str, Any] = {}
        for part in self.parts:
            for key, value in PARTS[part].options.items():
                given[key] = (*given.get(key, ()), *value) if isinstance(value, tuple) else value
        return replace(base, shuffle_pairs=self.shuffled, **given)

    @property
    def folder(self) -> str:
        """Name of the folder of its runs."""
        return self.name.replace(SHUFFLED, "-shuffled")

    @property
    def layer(self) -> bool:
        """Whether its images are embedded by an intermediate layer."""
        return any(PARTS[part].needs == LAYER for part in self.parts)


def configurations(plus: Sequence[str], parts: Sequence[str]) -> list[Configuration]:
    """`ubp`, it with each part, `ubp-plus`, it without each of its parts, and the two with shuffled pairs.

    A map of an intermediate layer's features is no part of a model without that layer, so the two are removed together
    as well.
    """
    removed = [(part,) for part in plus]
    if set(OF_LAYER) <= set(plus):
        removed.insert(0, OF_LAYER)
    return [
        Configuration(UBP, against=None),
        *(Configuration(f"ubp + {part}", (part,)) for part in parts),
        Configuration(PLUS, tuple(plus)),
        *(
            Configuration(f"ubp-plus - {' and '.join(out)}", tuple(part for part in plus if part not in out), PLUS)
            for out in removed
        ),
        Configuration(UBP + SHUFFLED, (), None, True),
        Configuration(PLUS + SHUFFLED, tuple(plus), None, True),
    ]


def trained_as(chosen: Sequence[Configuration]) -> dict[str, str]:
    """Name of each configuration -> that of the first with the same parts, which is trained for both.

    With two parts, `ubp-plus` without one is `ubp` with the other.
    """
    first: dict[tuple[frozenset[str], bool], str] = {}
    return {one.name: first.setdefault((frozenset(one.parts), one.shuffled), one.name) for one in chosen}


def acting(parts: Sequence[str], there: Collection[str]) -> list[str]:
    """The parts that can act where so much is there."""
    return [part for part in parts if PARTS[part].needs is None or PARTS[part].needs in there]


PARTS: dict[str, Part] = {
    "layer": Part(
        "256 principal components of an intermediate layer of the image encoder", {"components": 256}, needs=LAYER
    ),
    "bank": Part("mean over a bank of blurs instead of one of three levels", preset="bank"),
    "learned bank": Part("one learned weight for each level of the bank", {"mixture": "learned"}, "bank"),
    "per-dimension bank": Part("learned weights for each dimension", {"mixture": "per-dimension"}, "bank"),
    "per-image bank": Part("weights predicted from the image", {"mixture": "per-image"}, "bank"),
    "one blur": Part("no prior: one blur for all pairs", preset="blur"),
    "smooth prior": Part("the level is a smooth function of a robust score of the fit", preset="ubp-smooth"),
    "posterior prior": Part("the level is the posterior mean over the ladder", preset="ubp-posterior"),
    "learned prior": Part("the level is the posterior mean with learned noise", preset="ubp-learned"),
    "components": Part("256 principal components of the image features, less their mean", {"components": 256}),
    "adapter": Part(
        "a linear map of 256 principal components of the image features",
        {"components": 256, "adapter": "linear", "adapter_dim": 256},
    ),
    "bottleneck": Part(
        "the same with a bottleneck and dropout", {"components": 256, "adapter": "bottleneck", "adapter_dim": 256}
    ),
    "repetitions": Part(
        "each step takes the mean of a random subset of repetitions", {"repetitions": "subset"}, needs=REPETITIONS
    ),
    "mixup": Part(
        "the same, mixed with another repetition",
        {"repetitions": "subset", "augment": ("mixup",)},
        needs=REPETITIONS,
    ),
    "smoothing": Part("random smoothing along time", {"augment": ("smoothing",)}, needs=TIME),
    "time shift": Part("random shift of up to 10 ms", {"augment": ("time-shift=10",)}, needs=TIME),
    "channel dropout": Part("a tenth of the channels is silenced at random", {"augment": ("channel-dropout",)}),
    "noise": Part("noise of half a standard deviation", {"augment": ("noise=0.5",)}),
    "scale": Part("each subject's channels standardised", {"alignment": "scale"}, needs=SUBJECTS),
    "Euclidean alignment": Part("each subject's covariance whitened", {"alignment": "euclidean"}, needs=SUBJECTS),
    "Riemannian alignment": Part(
        "the same about the geometric mean covariance", {"alignment": "riemannian"}, needs=SUBJECTS
    ),
    "subject layers": Part("a linear map of channels for each subject", {"subject_layers": True}, needs=SUBJECTS),
    "all positives": Part("all signals of an image match it", {"positives": "image"}, needs=SHARED),
    "warm-up": Part(
        "the first epoch matches distributions of embeddings (MMD), not pairs", {"warm_up": 1}, needs=SUBJECTS
    ),
    "cosine loss": Part("both sides normalised, scale learned", {"loss": "clip"}),
    "two temperatures": Part("the same with a temperature for each side", {"loss": "two-temperatures"}),
    "sigmoid loss": Part("every pair judged by itself (SigLIP)", {"loss": "siglip"}),
    "soft targets": Part("a fifth of the target by similarity of images", {"soft_targets": 0.2}),
    "three members": Part("three encoders trained side by side", {"members": 3}),
    "two encoders": Part(
        "EEGProject and TSConv side by side", {"members": 2, "brain_encoder": "eegproject+tsconv"}, needs=TIME
    ),
    "average": Part("moving average of the weights", {"weight_average": 0.98}),
}
"""By name, in the order of the table."""

OF_LAYER = ("layer", "adapter")
"""Parts of `ubp-plus` where images are embedded by an intermediate layer."""

PLUS_PARTS = (*OF_LAYER, "cosine loss", "three members")
"""Those of `ubp-plus`, chosen on held-out training concepts."""


def plus_parts(there: Collection[str], parts: Sequence[str] = PLUS_PARTS) -> list[str]:
    """Parts of `ubp-plus` where so much is there."""
    return acting([part for part in parts if LAYER in there or part not in OF_LAYER], there)
