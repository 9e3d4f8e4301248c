"""The choices in preparing THINGS-MEG."""

from dataclasses import dataclass

from ubp.config import unknown
from ubp.data.facts import THINGS_MEG
from ubp.data.tables import SIGNAL_DTYPES
from ubp.data.things_meg_scaling import SCALINGS
from ubp.errors import InputError


@dataclass(frozen=True)
class ThingsMEGOptions:
    """How THINGS-MEG is prepared.

    Parameters
    ----------
    channels : tuple of str
        Names, or "all" 271.
    window : tuple of float
        Seconds that are kept, both included.
    baseline : tuple of float
        Seconds whose mean is subtracted from each channel of each trial. By default none: the released signals are
        less their mean before onset already, and divided by their standard deviation there.
    scaling : str
        off; or, fitted on the training trials of each session, zscore (mean 0 and standard deviation 1 for each
        channel) or whitening (multivariate noise normalisation).
    zero_shot : bool
        Take the concepts of the test images out of the training images; else concepts are shared, and the commands
        that use the study need --allow-shared-concepts.
    train_repetitions : int
        Presentations of a training image that are used at most, the first ones.
    test_repetitions : int
        Presentations of a test image that are used at most, the first ones.
    dtype : str
        float32 or float16.

    Raises
    ------
    InputError
        When a value is none of these.
    """

    channels: tuple[str, ...] = ("all",)
    window: tuple[float, float] = (0.0, 1.0)
    baseline: tuple[float, float] | None = None
    scaling: str = "off"
    zero_shot: bool = True
    train_repetitions: int = THINGS_MEG.train.repetitions
    test_repetitions: int = THINGS_MEG.test.repetitions
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if isinstance(self.channels, str):
            object.__setattr__(self, "channels", (self.channels,))
        if not self.channels or len(set(self.channels)) < len(self.channels):
            raise InputError(f"The channels are {', '.join(self.channels) or 'none'}; expected names, or all, once.")
        if "all" in self.channels and len(self.channels) > 1:
            raise InputError("The channels are all and some by name; expected one or the other.")
        for name in ("window", "baseline"):
            span = getattr(self, name)
            if span is not None and not span[0] <= span[1]:
                raise InputError(f"The {name} {span} ends before it starts.")
        if self.scaling not in SCALINGS:
            raise unknown("scaling", self.scaling, SCALINGS)
        if self.dtype not in SIGNAL_DTYPES:
            raise unknown("type", self.dtype, SIGNAL_DTYPES)
        for split in ("train", "test"):
            if getattr(self, f"{split}_repetitions") < 1:
                raise InputError(f"The number of {split}_repetitions is below 1; expected 1 or more.")
