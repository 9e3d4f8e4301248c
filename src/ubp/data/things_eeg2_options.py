"""The choices in preparing THINGS-EEG2; the defaults are the published values."""

import dataclasses
from dataclasses import dataclass

from ubp.data.facts import THINGS_EEG2
from ubp.data.things_eeg2_epochs import WHITENING
from ubp.errors import InputError

CHANNEL_SETS = {"all63": THINGS_EEG2.channels, "posterior17": THINGS_EEG2.channels[-17:]}
DTYPES = ("float16", "float32")
ANY_SOURCE = ("channels", "window", "dtype")


@dataclass(frozen=True)
class ThingsEEG2Options:
    """How THINGS-EEG2 is prepared. Preprocessed releases leave only channels, window and dtype to choose.

    Parameters
    ----------
    channels : tuple of str
        Names, or "all63" or "posterior17", or "all" that the source has (63 from raw, in the published order).
    sfreq : float
        Samples per second, Hz.
    epoch : tuple of float
        First and last second that is cut out around image onset, before resampling.
    baseline : tuple of float
        Seconds whose mean is subtracted; None subtracts nothing.
    window : tuple of float
        Seconds that are kept, both included; by default from onset on for raw, everything otherwise.
    whitening : str
        Fitted on training trials for each session or subject; or off, which gives microvolts.
    train_repetitions : int
        Presentations of a training image per session that are used at most.
    test_repetitions : int
        Presentations of a test image per session that are used at most.
    seed : int
        Of the choice of presentations.
    dtype : str
        float16 or float32; by default float16, and float32 from the authors' preprocessed files.

    Raises
    ------
    InputError
        When a value is none of these.
    """

    channels: tuple[str, ...] = ("all",)
    sfreq: float = 250.0
    epoch: tuple[float, float] = (-0.2, 1.0)
    baseline: tuple[float, float] | None = (-0.2, 0.0)
    window: tuple[float, float] | None = None
    whitening: str = "session"
    train_repetitions: int = THINGS_EEG2.train.session_repetitions
    test_repetitions: int = THINGS_EEG2.test.session_repetitions
    seed: int = 20200220
    dtype: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.channels, str):
            object.__setattr__(self, "channels", (self.channels,))
        if self.whitening not in WHITENING:
            raise InputError(f"The whitening {self.whitening!r} is unknown; expected one of {', '.join(WHITENING)}.")
        if self.dtype not in (None, *DTYPES):
            raise InputError(f"The type {self.dtype!r} is unknown; expected float16 or float32.")
        for split in ("train", "test"):
            if getattr(self, f"{split}_repetitions") < 1:
                raise InputError(f"The number of {split}_repetitions is below 1; expected 1 or more.")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"The seed {self.seed} is not between 0 and {2**32 - 1}.")
        if self.window is not None and self.window[0] > self.window[1]:
            raise InputError(f"The window {self.window} ends before it starts.")
        names = self.channel_names(THINGS_EEG2.channels)
        wrong = [name for name in names if name not in THINGS_EEG2.channels or names.count(name) > 1]
        if wrong or not names:
            raise InputError(
                f"The channel {(wrong or ['(none)'])[0]!r} is unknown or named twice; expected names such as Oz, "
                f"or one of all, {', '.join(CHANNEL_SETS)}."
            )

    def channel_names(self, available: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the channels chosen, in order."""
        names: list[str] = []
        for name in self.channels:
            names += available if name == "all" else CHANNEL_SETS.get(name, (name,))
        return tuple(names)

    def check_source(self, source: str) -> None:
        """Check that a preprocessed release is not asked for what only raw recordings allow.

        Raises
        ------
        InputError
            Names the option.
        """
        for field in dataclasses.fields(self):
            if source != "raw" and field.name not in ANY_SOURCE and getattr(self, field.name) != field.default:
                raise InputError(
                    f"The option {field.name} cannot be chosen from {source}, which is preprocessed already; "
                    "prepare from raw, or leave it out."
                )
