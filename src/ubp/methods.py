"""Published methods by name: blur of the images, settings of training, and the published row to compare with."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ubp.config import BRAVL, TrainOptions, unknown
from ubp.images.spec import has_layer
from ubp.presets import Preset, preset
from ubp.published import published, published_tables

INTER_SUBJECT = "inter-subject"
SONG = 'Song et al. 2024, "Decoding natural images from EEG for object recognition", ICLR, arXiv 2308.13234'
LI = (
    'Li et al. 2024, "Visual decoding and reconstruction via EEG embeddings with guided diffusion", NeurIPS, '
    "arXiv 2403.07721"
)
DU = (
    'Du et al. 2023, "Decoding visual neural representations by multimodal learning of brain-visual-linguistic '
    'features", IEEE TPAMI, arXiv 2210.06756'
)
WU = 'Wu et al. 2025, "Bridging the vision-brain gap with an uncertainty-aware blur prior", CVPR, arXiv 2503.04207'
SELECTION = (
    "No epoch is chosen on the test trials: the last is kept, or the best on validation concepts taken out of train."
)


@dataclass(frozen=True)
class Method:
    """A published method in this harness.

    Parameters
    ----------
    preset : str
        What the images are blurred with, see :func:`ubp.presets.preset`.
    citation : str
    vision_encoder : str
        Image encoder of the published figures; a comparison of methods gives all of them the same one.
    options : dict
        Published options of training where they are not the defaults of :class:`ubp.config.TrainOptions`.
    inter_subject : dict
        Further ones when training on other subjects.
    intermediate_layer : dict
        Further ones where images are embedded by an intermediate layer of the image encoder.
    row : (str, str), optional
        Table of :func:`ubp.published.published` and the method's name there.
    differs : tuple of str
        What is done differently from the published program, one sentence each.
    """

    preset: str
    citation: str
    vision_encoder: str
    options: Mapping[str, Any] = field(default_factory=dict)
    inter_subject: Mapping[str, Any] = field(default_factory=dict)
    intermediate_layer: Mapping[str, Any] = field(default_factory=dict)
    row: tuple[str, str] | None = None
    differs: tuple[str, ...] = ()

    def train_options(self, setting: str = "intra-subject", encoder: str = "", **changes: Any) -> TrainOptions:
        """The method's options of training in a setting, with an image encoder; `changes` go before them."""
        chosen = dict(self.options)
        if setting == INTER_SUBJECT:
            chosen |= self.inter_subject
        if has_layer(encoder):
            chosen |= self.intermediate_layer
        return TrainOptions(**(chosen | changes))

    def published_accuracy(self, setting: str = "intra-subject") -> tuple[float, float] | None:
        """Published top-1 and top-5 in per cent on THINGS-EEG2, mean over subjects; None where there are none."""
        if self.row is None or self.row[0] not in published_tables():
            return None
        table, column = published(self.row[0]), setting.removesuffix("-subject")
        if "method" in table:
            part = table[(table["method"] == self.row[1]) & (table["setting"] == column)]
            return float(part["top1"].mean()), float(part["top5"].mean())
        part = table[table["transformation"] == self.row[1]]
        return float(part[f"{column}_top1"].iloc[0]), float(part[f"{column}_top5"].iloc[0])


def method(name: str) -> Method:
    """A method by name.

    Raises
    ------
    InputError
        When the name is unknown.
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]


def method_label(name: str, options: TrainOptions, with_text: bool) -> str:
    """Name of a preset or method in tables of results, marked where it learns from text and was given none.

    Examples
    --------
    >>> method_label("bravl", METHODS["bravl"].train_options(), with_text=False)
    'bravl (brain and image)'
    """
    return f"{name} (brain and image)" if options.kind == BRAVL and not with_text else name


def method_preset(name: str, *blurs: Any, **options: Any) -> Preset:
    """The preset of a method, under the method's name, which its runs then carry.

    Parameters
    ----------
    name : str
    *blurs, **options
        Which blurs it has, as in :func:`ubp.presets.preset`.

    Raises
    ------
    InputError
        When the name is unknown or the options make no ladder.
    """
    return dataclasses.replace(preset(method(name).preset, *blurs, **options), name=name)


def _blur_prior(name: str, row: tuple[str, str] | None, *differs: str) -> Method:
    return Method(
        name,
        WU,
        "open_clip:RN50/openai",
        inter_subject={"learning_rate": 1e-5},
        row=row,
        differs=(
            *differs,
            "Inter-subject, the released program stops when the loss on the test images no longer falls.",
            SELECTION,
        ),
    )


_NICE_OPTIONS = {
    "loss": "clip",
    "epochs": 200,
    "batch_size": 1000,
    "learning_rate": 2e-4,
    "beta1": 0.5,
    "weight_decay": 0.0,
    "validation_concepts": 74,
}
_NICE_DIFFERS = (
    "The gallery holds the test images themselves; the released program ranks the mean embedding of other images of "
    "each test concept.",
    "Channels are standardised, as for every method here.",
    "The epoch is chosen by the mean reciprocal rank of 74 validation concepts; the released program takes 740 random "
    "training images, whose concepts stay in training, and their loss.",
    "Weights start as torch draws them; the released program draws them with a standard deviation of 0.02.",
    "The scale of the loss is learned; the released program leaves it at 14.3.",
    "A 1 x 1 convolution between two linear maps, which adds no function, is left out.",
)


def _nice(brain_encoder: str, row: str, *differs: str) -> Method:
    return Method(
        "vanilla",
        SONG,
        "open_clip:ViT-L-14/openai",
        options={"brain_encoder": brain_encoder, **_NICE_OPTIONS},
        row=("things_eeg_retrieval", row),
        differs=(*differs, *_NICE_DIFFERS, SELECTION),
    )


PLUS = {"loss": "clip", "members": 3}
"""Parts beyond the paper that proved their worth, whatever the image encoder."""

PLUS_OF_LAYER = {"components": 256, "adapter": "linear", "adapter_dim": 256}
"""Further ones with an intermediate layer, whose features are many and correlated."""

METHODS: dict[str, Method] = {
    "vanilla": _blur_prior("vanilla", ("table3", "vanilla")),
    "blur": _blur_prior("blur", ("table3", "fovea_blur")),
    "ubp": _blur_prior("ubp", ("things_eeg_retrieval", "UBP")),
    "official": _blur_prior("official", None, "Kernels, fovea and comparison are those of the released program."),
    "ubp-plus": Method(
        "ubp",
        "This project, after the loss of CLIP (arXiv 2103.00020) and the intermediate layer with a projector of "
        "Shallow Alignment (arXiv 2601.21948); docs/beyond.md says what each part is worth",
        "open_clip:RN50/openai",
        options=PLUS,
        inter_subject={"learning_rate": 1e-5},
        intermediate_layer=PLUS_OF_LAYER,
        differs=(
            "Both sides of the loss are normalised.",
            "Three encoders are trained side by side and their cosines averaged.",
            "Features of an intermediate layer of the image encoder (--encoder NAME,layer=...) are reduced to 256 "
            "principal components of the training images, and a linear map of them is learned; such a layer, chosen on "
            "validation concepts, is worth more than all else.",
            SELECTION,
        ),
    ),
    "nice": _nice("tsconv", "NICE"),
    "nice-sa": _nice(
        "nice-sa",
        "NICE-SA",
        "Attention takes the weighted sum of the channels; in the released program it multiplies "
        "each channel by the sum of its weights, which is 1.",
    ),
    "nice-ga": _nice(
        "nice-ga",
        "NICE-GA",
        "The graph joins the channels of every trial; in the released program only those of a batch's first trial.",
    ),
    "atm-s": Method(
        "vanilla",
        LI,
        "open_clip:ViT-H-14/laion2b_s32b_b79k",
        options={
            "brain_encoder": "atm-s",
            "loss": "atm-s",
            "epochs": 40,
            "batch_size": 64,
            "learning_rate": 3e-4,
            "weight_decay": 0.01,
        },
        row=("things_eeg_retrieval", "ATM-S"),
        differs=(
            "The loss against text embeddings of the concepts' names, weight 0.01, is left out.",
            "Every channel's token is used and not the subject's; the released program drops the last channel instead.",
            "The position embedding is added; the released program defines one and never adds it.",
            "An unseen subject gets the shared part of the training subjects' tokens; in the released program a token "
            "that was never trained, or that of the test subject's number.",
            "Channels are standardised, as for every method here.",
            "The 1 x 1 convolution between two linear maps, which adds no function, is left out.",
            "The released program looks at the test trials after every epoch and notes the best one.",
            SELECTION,
        ),
    ),
    "bravl": Method(
        "vanilla",
        DU,
        "CORnet-S",
        options={
            "brain_encoder": BRAVL,
            "loss": BRAVL,
            "epochs": 100,
            "batch_size": 1024,
            "learning_rate": 1e-4,
            "weight_decay": 0.0,
        },
        row=("things_eeg_retrieval", "BraVL"),
        differs=(
            "Nothing is learned from the test split; the released program also trains on the test images and texts, "
            "without their brain signals.",
            "The gallery holds the test images themselves, compared by the cosine of posterior means given brain and "
            "image; the published figures are of a classifier of class features, which `ubp evaluate --class-features` "
            "runs, under a protocol of that name.",
            "That classifier sees latents drawn in equal shares given image, text and both for every class, and ranks "
            "the posterior mean given the brain by its decision function; in the released program each class's share "
            "depends on its place in the batch, the brain's latent is drawn too, and probabilities are calibrated.",
            "The class's image features are those of its test images, as in the released program.",
            "Without a file of text features (--text) there are two modalities, and the method's name says so.",
            "Image features are 100 principal components of the vectors of whatever image encoder is given, fitted on "
            "training images; their number is smaller when there are fewer images.",
            "Signals are those of every method here, with channels standardised; the paper takes 17 posterior channels "
            "from 70 to 400 ms (--channels, --window).",
            "Image and text features are centred and scaled to mean square 1; the released program multiplies them by "
            "50 and 2, and signals by 2.",
            "Features have a Laplace likelihood; in the released program it is named in the settings, and a Gaussian "
            "of the same scale is used.",
            "The last batch of an epoch may be smaller; the released program leaves those pairs out.",
            "A shuffled pair is a negative unless it shows the same image, or for text the same concept; the released "
            "program compares means of features.",
            "It is computed in single precision; the released program in double.",
            SELECTION,
        ),
    ),
}
