"""Whether signals have the unit a model was trained in, told from their scale."""

import math

import numpy as np

from ubp.errors import InputError
from ubp.model import Model

SAME_UNIT = 30.0  # times the training deviation, or a part of it, that noise and averaging may make
NORMAL_QUARTILES = 1.349  # of the normal distribution: distance of its quartiles in standard deviations
SAMPLE = 2_000_000  # numbers that the scale is judged by
UNITS = {
    1e6: "they look like microvolts where the model was trained on volts",
    1e-6: "they look like volts where the model was trained on microvolts",
    1e3: "they look like millivolts where the model was trained on volts, or microvolts for millivolts",
    1e-3: "they look like volts where the model was trained on millivolts, or millivolts for microvolts",
    1e15: "they look like femtotesla where the model was trained on tesla",
    1e-15: "they look like tesla where the model was trained on femtotesla",
}


def check_unit(signals: np.ndarray, model: Model, where: str, subject: str | None = None) -> None:
    """Compare the spread of the signals with that of the training signals, channel by channel.

    The spread is the distance of the quartiles, which a few artefacts do not move. A model trained without scaling its
    channels knows no spread, so nothing is compared then; nor are signals that will be aligned by themselves.

    Raises
    ------
    InputError
        When the median channel differs by more than a factor of `SAME_UNIT`, or all channels are constant.
    """
    step = max(1, len(signals) * signals.shape[1] * signals.shape[2] // SAMPLE)
    some = signals[::step].transpose(1, 0, 2).reshape(signals.shape[1], -1).astype(np.float64)
    if some.shape[1] < 2:
        return
    if (np.ptp(some, axis=1) == 0).all():
        raise InputError(f"{where} is constant in every channel that the model uses; expected signals that change.")
    if model.alignment:
        if (subject or model.description.subject) not in model.alignment:
            return
        some = model.align(signals[::step], subject).transpose(1, 0, 2).reshape(len(some), -1).astype(np.float64)
    low, high = np.quantile(some, [0.25, 0.75], axis=1)
    spread = (high - low) / NORMAL_QUARTILES
    trained = model.scale[1][:, 0].numpy().astype(np.float64)
    ratios = (spread / trained)[spread > 0]
    if not model.description.options.standardise or not len(ratios):
        return
    ratio = float(np.median(ratios))
    if 1 / SAME_UNIT <= ratio <= SAME_UNIT:
        return
    power = math.log10(ratio)
    nearest = 3 * round(power / 3)
    factor = 10.0 ** (nearest if nearest and abs(power - nearest) < 1 else round(power))
    looks = UNITS.get(float(f"{factor:g}"), "they are in another unit than the model was trained on")
    raise InputError(
        f"{where} has values about {ratio:.2g} times those of the training signals: {looks}; multiply them by "
        f"{1 / factor:g} (--multiply {1 / factor:g}) if that is so."
    )
