"""Which channels of a recording can be drawn on a head, and where they sit."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import mne

KINDS = ("eeg", "mag", "grad")
FEWEST = 4  # fewer points carry no map
STANDARD = ("colin27_1005", "standard_1005")  # the same montage in newer and older mne


@dataclass(frozen=True, eq=False)
class Sensors:
    """Channels of one kind with positions.

    Parameters
    ----------
    picks : int array
        Their places among the channels.
    info : mne.Info
        Of these channels alone; its sampling rate has no meaning.
    source : str
        Where the positions come from, as a sentence.
    """

    picks: np.ndarray
    info: "mne.Info"
    source: str


def find_sensors(channels: pd.DataFrame) -> Sensors | str:
    """Channels to draw topographies of: the first kind of EEG, magnetometers, gradiometers with enough positions.

    Positions are x, y, z of channels.csv (metres, head coordinates); without these, EEG channels are placed by their
    names in mne's standard 10-05 montage.

    Parameters
    ----------
    channels : DataFrame
        Columns name, type, and perhaps x, y, z.

    Returns
    -------
    Sensors or str
        The reason why there are none.
    """
    import mne

    types = channels["type"].astype(str).to_numpy()
    if not np.isin(types, KINDS).any():
        found = ", ".join(dict.fromkeys(types))
        return f"channels of type {found} have no place on a head (topographies are drawn for {', '.join(KINDS)})"
    given = {"x", "y", "z"} <= set(channels)
    reason = "channels.csv has no finite x, y, z" if given else "channels.csv has no columns x, y, z"
    for kind in KINDS:
        picks = np.flatnonzero(types == kind)
        if given:
            places = channels[["x", "y", "z"]].apply(pd.to_numeric, errors="coerce").to_numpy(float)
            picks = picks[np.isfinite(places[picks]).all(axis=1) & (places[picks] != 0).any(axis=1)]
        elif kind == "eeg":
            built_in = mne.channels.get_builtin_montages()
            montage = mne.channels.make_standard_montage(next(name for name in STANDARD if name in built_in))
            # "FP1" is an electrode, "c1" may be any channel's name
            known = {spelling for name in montage.ch_names for spelling in (name, name.upper())}
            picks = np.array([pick for pick in picks if channels["name"].iloc[pick] in known], int)
            reason += f", and fewer than {FEWEST} names are electrodes of the 10-05 system"
        else:
            continue
        if len(picks) < FEWEST:
            continue
        info = mne.create_info(channels["name"].iloc[picks].tolist(), 1.0, kind, verbose="error")
        if given:
            if len(np.unique(places[picks].round(5), axis=0)) < len(picks):
                reason = f"channels of type {kind} share positions in channels.csv"
                continue
            for channel, place in zip(info["chs"], places[picks], strict=True):
                channel["loc"][:3] = place
            return Sensors(picks, info, "Positions: channels.csv.")
        info.set_montage(montage, match_case=False, on_missing="ignore", verbose="error")
        return Sensors(picks, info, "Positions: by channel name, of the 10-05 system.")
    return reason
