"""What a signal says of its blur to one who knows the simulation's forward model, sources and noise."""

import numpy as np
import pandas as pd

from ubp.data import forward
from ubp.data.forward import POSTERIOR
from ubp.data.simulated import Simulation
from ubp.data.simulated_trials import image_table, make_brain, make_vectors, signal_power
from ubp.data.study import Study


def ideal_positions(study: Study, simulation: Simulation, images: list[str]) -> np.ndarray:
    r"""Posterior mean of the place of each trial's width among `Simulation.widths`, from its posterior channels.

    .. math:: p(w \mid x) \propto p(w)\,\mathcal{N}(x;\ \mu_w, \Sigma)

    with the signal :math:`\mu_w` of the image at width `w`, the noise covariance of the simulation, and gain 1 and no
    lapse, which it is not told of. Where an image is listed once, the mean over its trials.

    Parameters
    ----------
    study : Study
        Of `simulation`, of which the first subject is read.
    simulation : Simulation
    images : list of str
        The image of each training pair: those of all trials in order, or each once.

    Returns
    -------
    ndarray of shape (n_pairs,)
    """
    table, subject = image_table(simulation), study.subjects[0]
    table = table[table["split"] == "train"].reset_index(drop=True)
    brain = make_brain(simulation, 0)
    responses = make_vectors(table, simulation) @ brain.readout
    true = simulation.widths.index(simulation.true_width)
    scale = np.sqrt(simulation.subject_snr(0) / signal_power(responses[true], brain.evoked))
    truth = pd.read_csv(study.root / subject / "truth.csv")
    truth = truth[(truth["split"] == "train") & truth["image"].isin(set(images))]
    signals = np.load(study.root / subject / "signals.npy", mmap_mode="r")[truth.index.to_numpy()].astype(np.float32)
    channels = [simulation.channels.index(name) for name in POSTERIOR]
    mixing = brain.mixing[channels]
    over_channels = np.linalg.inv(np.linalg.cholesky(mixing @ mixing.T))
    over_times = np.linalg.inv(forward.noise_factor(simulation.n_times, simulation.sfreq)).T
    evoked = brain.evoked.reshape(-1, len(simulation.channels), simulation.n_times)[:, channels]
    whitened = (over_channels @ evoked @ over_times).reshape(len(evoked), -1)
    seen = (over_channels @ signals[:, channels] @ over_times).reshape(len(signals), -1)
    row = pd.Index(table["image"]).get_indexer(truth["image"])
    distance = np.stack([((seen - scale * level[row] @ whitened) ** 2).sum(1) for level in responses], 1)
    change = simulation.width_change / 2
    logits = np.log([change, 1 - 2 * change, change]) - (distance - distance.min(1, keepdims=True)) / 2
    weights = np.exp(logits - logits.max(1, keepdims=True))
    found = pd.Series(weights @ np.arange(len(responses)) / weights.sum(1), index=truth["image"].to_numpy())
    return (found if len(found) == len(images) else found.groupby(level=0).mean().loc[images]).to_numpy()
