"""Blur presets: what the images are transformed with, and whether the blur adapts to each pair."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ubp.config import from_mapping, unknown
from ubp.errors import InputError
from ubp.images.blur import Blur
from ubp.images.blur_options import PUBLISHED_STEP, PUBLISHED_WIDTH, Foveation, ThreeBlurs
from ubp.images.levels import Bank, Composed, Level
from ubp.images.transforms import KINDS, TRANSFORMATIONS

THREE_STEP = "three-step"

RULE_NAMES = (THREE_STEP, "smooth", "smooth-pooled", "posterior", "learned")


def level_to_dict(level: Level) -> dict[str, Any]:
    """Plain content of a level, for JSON: its kind, a key of `KINDS`, and its fields."""
    kind = next(name for name, one in KINDS.items() if type(level) is one)
    if isinstance(level, Composed):
        return {"kind": kind, "levels": [level_to_dict(part) for part in level.levels]}
    return {"kind": kind, **dataclasses.asdict(level)}  # type: ignore[call-overload]


def level_from_dict(content: Mapping[str, Any], where: str) -> Level:
    """Read what :func:`level_to_dict` gave; without a kind it is a blur."""
    if not isinstance(content, Mapping):
        raise InputError(f"{where} is {content!r}; expected a JSON object.")
    fields = dict(content)
    kind = fields.pop("kind", "blur")
    if not isinstance(kind, str) or kind not in KINDS:
        raise unknown(f"kind in {where}", str(kind), KINDS)
    if issubclass(KINDS[kind], Composed):
        if not isinstance(fields.get("levels"), list | tuple):
            raise InputError(f"{where} is a {kind} without levels; expected a list of levels.")
        fields["levels"] = tuple(level_from_dict(part, where) for part in fields["levels"])
    level: Level = from_mapping(KINDS[kind], fields, where)
    return level


@dataclass(frozen=True)
class Preset:
    """What the images are transformed with, and whether the blur adapts to each pair.

    Parameters
    ----------
    name : str
    ladder : tuple of Level
        One level (the same for all pairs) or three (less, base, more) with increasing blur; for rules other than
        three-step any odd number of at least 3. Banks are mixed with no other level, and have one size.
    compare : {"smoothed", "raw"}
        See :class:`ubp.prior.BlurPrior`.
    confidence, weight : float
        See :class:`ubp.prior.BlurPrior`.
    rule : str
        How a pair's place on the ladder follows from its fit, a key of `ubp.priors.PRIORS`.
    """

    name: str
    ladder: tuple[Level, ...]
    compare: str = "smoothed"
    confidence: float = 0.95
    weight: float = 0.3
    rule: str = THREE_STEP

    def __post_init__(self) -> None:
        if self.rule not in RULE_NAMES:
            raise unknown("rule", self.rule, RULE_NAMES)
        if self.rule == THREE_STEP and len(self.ladder) not in (1, 3):
            raise InputError(f"The ladder of preset {self.name!r} has {len(self.ladder)} levels; expected 1 or 3.")
        if self.rule != THREE_STEP and (len(self.ladder) < 3 or len(self.ladder) % 2 == 0):
            raise InputError(
                f"The ladder of preset {self.name!r} has {len(self.ladder)} levels; its rule {self.rule} expects an "
                "odd number of at least 3."
            )
        widths = [level.width for level in self.ladder if isinstance(level, Blur)]
        if widths != sorted(widths):
            raise InputError(f"The ladder of preset {self.name!r} has widths {widths}; expected increasing blur.")
        counts = [_n_vectors(level) for level in self.ladder]
        if len(set(counts)) > 1:
            raise InputError(
                f"The levels of preset {self.name!r} have {', '.join(map(str, counts))} vectors of an image; expected "
                "as many at each, so make all of them banks of one size or none."
            )

    @property
    def base(self) -> Level:
        """The middle level; the gallery is transformed with it too, as in the released program."""
        return self.ladder[len(self.ladder) // 2]

    @property
    def n_vectors(self) -> int:
        """Vectors that a pair has of its image at once: those of a bank, else 1."""
        return _n_vectors(self.base)

    @property
    def dynamic(self) -> bool:
        """Whether the level adapts to each pair."""
        return len(self.ladder) > 1

    @property
    def steps(self) -> bool:
        """Whether a pair is at one of three levels, on either side of an interval or inside it."""
        return self.dynamic and self.rule == THREE_STEP

    def to_dict(self) -> dict[str, Any]:
        """Plain content, for JSON; without the rule where it is three-step, as before there were others."""
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.rule == THREE_STEP:
            del content["rule"]
        return {**content, "ladder": [level_to_dict(level) for level in self.ladder]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], where: str = "preset") -> "Preset":
        """Read what :meth:`to_dict` gave."""
        if not isinstance(content.get("ladder"), list | tuple):
            raise InputError(f"{where} has no ladder; expected a list of levels.")
        ladder = tuple(level_from_dict(level, f"{where} ladder") for level in content["ladder"])
        return from_mapping(cls, {**content, "ladder": ladder}, where)


def _n_vectors(level: Level) -> int:
    return len(level.levels) if isinstance(level, Bank) else 1


def preset(
    name: str,
    width: int = PUBLISHED_WIDTH,
    step: int = PUBLISHED_STEP,
    foveation: Foveation = Foveation(),
    size: int | None = None,
) -> Preset:
    """A preset of the method by name.

    Parameters
    ----------
    name : str
        `vanilla`: crisp images. `blur`: fixed foveated blur of `width`. `ubp`: blur of `width`, `step` less for
        pairs that fit very well and `step` more for pairs that fit badly. `official`: the released program's
        behaviour, with its kernels (45, 45, 51 for 51 and 6), its half-strength fovea and its comparison of raw
        similarities. `ubp-smooth`, `ubp-posterior`, `ubp-learned`: the levels of `ubp` and every place between them,
        by another rule, see `ubp.priors.PRIORS`. `bank`: crisp, weakly blurred and the levels of `ubp` at once, mixed
        by `TrainOptions.mixture`. The other keys of `TRANSFORMATIONS`: one fixed transformation, which
        is drawn once for each image where it is random.
    width, step : int
        Kernel width in pixels of the encoder's input (odd) and its change (even). Other sizes in pixels follow it.
    foveation : Foveation
        Curve and fixation point of the foveated blurs; or the blurs in degrees, instead of width and step.
    size : int, optional
        Of the encoder's input in pixels; needed with options in degrees.

    Raises
    ------
    InputError
        When the name is unknown or the options make no ladder.
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    try:
        return PRESETS[name](ThreeBlurs(width, step, foveation, size))
    except ValueError as error:
        given = "options in degrees" if foveation.in_degrees else f"width {width} and step {step}"
        raise InputError(f"Preset {name!r} with {given} makes no ladder: {error}") from error


def _fixed(name: str) -> Callable[[ThreeBlurs], Preset]:
    return lambda blurs: Preset(name, (TRANSFORMATIONS[name](blurs.base),))


def _bank(blurs: ThreeBlurs) -> Preset:
    width = max(1, 2 * round(0.2 * blurs.base.width) + 1)
    weak = dataclasses.replace(blurs.base, width=width) if blurs.base.sigma is None else None
    levels = [TRANSFORMATIONS["vanilla"](blurs.base), weak, blurs.less, blurs.base, blurs.more]
    return Preset("bank", (Bank(tuple({level.name: level for level in levels if level}.values())),))


def _ubp(name: str, rule: str = THREE_STEP) -> Callable[[ThreeBlurs], Preset]:
    return lambda blurs: Preset(name, (blurs.less, blurs.base, blurs.more), rule=rule)


def _official(blurs: ThreeBlurs) -> Preset:
    low, base = (dataclasses.replace(blur, strength=0.5) for blur in (blurs.less, blurs.base))
    return Preset("official", (low, low, base), compare="raw")


PRESETS: dict[str, Callable[[ThreeBlurs], Preset]] = {
    **{name: _fixed(name) for name in TRANSFORMATIONS},
    "ubp": _ubp("ubp"),
    "ubp-smooth": _ubp("ubp-smooth", "smooth"),
    "ubp-posterior": _ubp("ubp-posterior", "posterior"),
    "ubp-learned": _ubp("ubp-learned", "learned"),
    "official": _official,
    "bank": _bank,
}
