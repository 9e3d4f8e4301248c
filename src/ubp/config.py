"""Settings: the blur presets of the method and the options of training. Frozen; unknown keys fail."""

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ubp.errors import InputError

LOSS_NAMES = ("ubp", "clip", "atm-s", "siglip", "two-temperatures")

MIXTURE_NAMES = ("mean", "learned", "per-dimension", "per-image")

ADAPTER_NAMES = ("none", "linear", "bottleneck", "residual")

ALIGNMENT_NAMES = ("none", "scale", "euclidean", "riemannian")

REPETITIONS = ("mean", "subset")

POSITIVES = ("pair", "image")

BRAVL = "bravl"

SETTINGS = ("intra-subject", "inter-subject")

PRECISIONS = ("fp32", "bf16")

FEWEST_CALIBRATION = 10

Settings = TypeVar("Settings")


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """Error for a name that is not in a table; it lists the table and the nearest name."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return InputError(f"The {what} {name!r} is unknown; expected one of {', '.join(names)}{hint}")


def from_mapping(kind: type[Settings], content: Mapping[str, Any], where: str) -> Settings:
    """Make a settings dataclass from a mapping; a missing or unknown key is an error that names it."""
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(content, Mapping):
        raise InputError(f"{where} is {content!r}; expected a JSON object.")
    for key in content:
        if key not in fields:
            raise unknown(f"key in {where}", key, fields)
    try:
        return kind(**content)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} cannot be read as {kind.__name__}: {str(error).rstrip('.')}.") from error


@dataclass(frozen=True)
class TrainOptions:
    """Options of training; the defaults are the published ones for THINGS-EEG2, intra-subject.

    Parameters
    ----------
    brain_encoder : str
        eegproject, shallownet, deepnet, eegnet, tsconv, nice-sa, nice-ga, atm-s or braindecode:NAME; bravl with the
        loss bravl.
    epochs : int
        Passes over the training pairs.
    batch_size : int
        Pairs that are contrasted with each other in one step.
    learning_rate : float
        Of AdamW; published are 1e-4 intra-subject and 1e-5 inter-subject.
    weight_decay : float
        Of AdamW.
    precision : {"fp32", "bf16"}
        `bf16` computes matrix products in bfloat16 and keeps weights in float32.
    standardise : bool
        Scale each channel to mean 0 and standard deviation 1, with figures of the training trials.
    validation_concepts : int
        Training concepts held out to choose the epoch; 0 for none, then the last epoch is kept.
    patience : int
        Stop when validation has not improved for so many epochs; 0 to train all epochs and keep the best.
    shuffle_pairs : bool
        Control: break the pairing of trials and images; accuracy must be at chance.
    loss : str
        What the contrastive loss is taken of: ubp (scale softplus, brain side not normalised), clip (both sides
        normalised, scale exp), two-temperatures (clip, with another scale for assigning signals to images) or atm-s
        (scale as it is, brain side not normalised); siglip (clip's similarities, every pair judged by itself); or
        bravl, not contrastive: that model has its own objective and encoders.
    beta1 : float
        Decay of AdamW's mean of gradients.
    calibration_concepts : int
        Training concepts held out for the confidence of `ubp retrieve`, others than those of validation; 0 for none.
        Without validation concepts a third of them fits the temperature. At least 10; 19 for sets of 95 %.
    average_training : bool
        Train on the mean of the trials of an image; False on every single trial.
    mixture : str
        How a bank of levels becomes one image vector: mean, learned (one weight a level), per-dimension or per-image.
        Only with a preset that has a bank.
    adapter : str
        What is learned on the image side: none, linear, bottleneck or residual.
    adapter_dim : int
        Length of the embeddings of an adapter; 0 for that of the image vectors.
    components : int
        Principal components of the training images, their mean subtracted, that embeddings or the adapter are made of;
        0 for the image vectors as they are.
    members : int
        Encoders trained side by side from other weights, whose cosines are averaged. Brain encoders joined by ``+``
        take turns; by default there is one of each.
    weight_average : float
        Decay, each step, of the moving average of the weights that is kept in the end; 0 for the last weights.
    augment : tuple of str
        What is done to training signals at random, each NAME or NAME=STRENGTH: smoothing and time-shift (up to so many
        ms), channel-dropout (probability), noise (in standard deviations of the channel), mixup (up to this share of
        another repetition of the image).
    repetitions : str
        How the trials of an image become a training signal: their mean, or in each step that of a random subset.
    alignment : str
        What is made alike between subjects, from the training signals of each and without their images: none, scale
        (mean and deviation of each channel), euclidean or riemannian (their covariance).
    subject_layers : bool
        Each subject has a linear map of the channels of its own, which is left out for half of the training signals,
        and for subjects that were not trained on.
    positives : str
        What matches in a batch: each signal with the image of its pair, or all signals of an image with it (image).
    soft_targets : float
        Share of a target that is given by the similarity of images; 0 for none.
    soft_temperature : float
        Temperature of those shares; the lower, the closer to the image seen.
    warm_up : int
        First epochs in which the embeddings of signals, each subject's by themselves, are brought to the distribution
        of those of images, whatever belongs to what; what is learned beside the brain encoder, and the blur of pairs,
        rest until they are over, and patience begins then.
    """

    brain_encoder: str = "eegproject"
    epochs: int = 50
    batch_size: int = 1024
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    precision: str = "fp32"
    standardise: bool = True
    validation_concepts: int = 0
    patience: int = 0
    shuffle_pairs: bool = False
    loss: str = "ubp"
    beta1: float = 0.9
    calibration_concepts: int = 0
    average_training: bool = True
    mixture: str = "mean"
    adapter: str = "none"
    adapter_dim: int = 0
    components: int = 0
    members: int = 1
    weight_average: float = 0.0
    augment: tuple[str, ...] = ()
    repetitions: str = "mean"
    alignment: str = "none"
    subject_layers: bool = False
    positives: str = "pair"
    soft_targets: float = 0.0
    soft_temperature: float = 0.05
    warm_up: int = 0

    def __post_init__(self) -> None:
        from ubp.augment import read_augmentations

        object.__setattr__(self, "augment", read_augmentations(self.augment))
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        lowest = {"epochs": 1, "batch_size": 2, "validation_concepts": 0, "patience": 0}
        lowest |= {"adapter_dim": 0, "components": 0, "members": 1, "warm_up": 0}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least {low}.")
        if self.warm_up >= self.epochs:
            raise InputError(
                f"warm_up is {self.warm_up} of {self.epochs} epochs, in which nothing is learned of what belongs to "
                "what; expected fewer than epochs."
            )
        if not 0 < self.learning_rate < math.inf or not 0 <= self.weight_decay < math.inf:
            raise InputError(
                f"learning_rate is {self.learning_rate} and weight_decay {self.weight_decay}; "
                "expected a learning rate above 0 and a weight decay of at least 0."
            )
        if self.loss not in (*LOSS_NAMES, BRAVL):
            raise unknown("loss", self.loss, (*LOSS_NAMES, BRAVL))
        if (self.loss == BRAVL) != (self.brain_encoder == BRAVL):
            raise InputError(
                f"The brain encoder is {self.brain_encoder!r} and the loss {self.loss!r}; the model bravl has its own "
                "encoders and its own objective, so give bravl for both or for neither."
            )
        if self.loss == BRAVL and self.precision != "fp32":
            raise InputError(f"The precision is {self.precision}; bravl is trained in fp32 only.")
        if not 0 <= self.beta1 < 1:
            raise InputError(f"beta1 is {self.beta1}; expected at least 0 and below 1.")
        for name, table in NAMED.items():
            if getattr(self, name) not in table:
                raise unknown(name, getattr(self, name), table)
        if self.adapter_dim and self.adapter == "none":
            raise InputError(f"adapter_dim is {self.adapter_dim} without an adapter; give --adapter as well.")
        if not 0 <= self.weight_average < 1:
            raise InputError(f"weight_average is {self.weight_average}; expected at least 0 and below 1.")
        if self.calibration_concepts and self.calibration_concepts < FEWEST_CALIBRATION:
            raise InputError(
                f"calibration_concepts is {self.calibration_concepts}; expected 0 or at least {FEWEST_CALIBRATION}."
            )
        if not 0 <= self.soft_targets <= 1 or not 0 < self.soft_temperature < math.inf:
            raise InputError(
                f"soft_targets is {self.soft_targets} and soft_temperature {self.soft_temperature}; expected a share "
                "from 0 to 1 and a temperature above 0."
            )
        n_names = len(str(self.brain_encoder).split("+"))
        if 1 < self.members < n_names:
            raise InputError(
                f"members is {self.members} and {n_names} brain encoders are joined, {self.brain_encoder}; give at "
                f"least {n_names}, or leave it out for one of each."
            )
        if self.soft_targets and self.loss == "siglip":
            raise InputError(
                f"soft_targets is {self.soft_targets} with the loss siglip, which judges every pair by itself and has "
                "no shares; choose another loss or leave the soft targets out."
            )
        if self.repetitions == "subset" and not self.average_training:
            raise InputError(
                "repetitions is 'subset' without average_training, which makes every trial a pair of its own; expected "
                "one of the two."
            )
        if self.mixes_repetitions and not self.draws_repetitions:
            raise InputError(
                "augment has mixup, and training on the mean of all repetitions leaves nothing to mix; give "
                "--repetitions subset or --no-average-training as well."
            )
        if self.loss == BRAVL:
            default = {field.name: field.default for field in dataclasses.fields(self)}
            given = [name for name in NOT_OF_BRAVL if getattr(self, name) != default[name]]
            if given:
                raise InputError(
                    f"{given[0]} is {getattr(self, given[0])!r}; bravl is not trained by contrast and has no such "
                    "option, so leave it out."
                )
        if not self.soft_targets and self.soft_temperature != TrainOptions.soft_temperature:
            raise InputError(
                f"soft_temperature is {self.soft_temperature} without soft targets; give --soft-targets as well, or "
                "leave it out."
            )
        if self.patience and not self.validation_concepts:
            raise InputError("patience needs validation concepts; give --validation-concepts as well.")

    @property
    def kind(self) -> str:
        """Kind of model: `contrastive` (a brain encoder fitted to image embeddings) or `bravl`."""
        return BRAVL if self.loss == BRAVL else "contrastive"

    @property
    def mixes_repetitions(self) -> bool:
        """Whether a training signal may be mixed with another repetition of its image."""
        return any(one.partition("=")[0] == "mixup" for one in self.augment)

    @property
    def averages_once(self) -> bool:
        """Whether training signals are the means of all repetitions, made before training."""
        return self.average_training and self.repetitions == "mean"

    @property
    def draws_repetitions(self) -> bool:
        """Whether training signals are made of repetitions in each step."""
        return not self.averages_once and (self.repetitions == "subset" or self.mixes_repetitions)


NAMED: dict[str, tuple[str, ...]] = {
    "mixture": MIXTURE_NAMES,
    "adapter": ADAPTER_NAMES,
    "repetitions": REPETITIONS,
    "alignment": ALIGNMENT_NAMES,
    "positives": POSITIVES,
}

"""Options of training that are a name, and the names."""

NOT_OF_BRAVL = (
    "augment",
    "repetitions",
    "subject_layers",
    "positives",
    "soft_targets",
    "soft_temperature",
    "warm_up",
    "mixture",
    "adapter",
    "adapter_dim",
    "components",
    "members",
    "weight_average",
)

"""Options of contrastive training that the other kind of model does not have."""


@dataclass(frozen=True)
class Common:
    """Options of every command that works on a study.

    Parameters
    ----------
    store : Path, optional
        Folder of all feature stores; by default $UBP_CACHE or the user's cache folder.
    device : str, optional
        cuda, mps or cpu; by default the first there is.
    allow_shared_concepts : bool
        Accept concepts that occur in train and test.
    quiet : bool
        No progress.
    dtype : str
        How a feature store keeps its vectors: float32, or float16 in half the room.
    """

    store: Path | None = None
    device: str | None = None
    allow_shared_concepts: bool = False
    quiet: bool = False
    dtype: str = "float32"
