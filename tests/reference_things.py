"""The published preprocessing of raw THINGS-EEG2, step by step with mne and scikit-learn: slow and large."""

import mne
import numpy as np
import scipy.linalg
from sklearn.covariance import ledoit_wolf
from sklearn.preprocessing import StandardScaler
from sklearn.utils import shuffle

SEED = 20200220
FILES = {"train": "raw_eeg_training.npy", "test": "raw_eeg_test.npy"}
MAX_REPETITIONS = {"train": 2, "test": 20}


def session_epochs(path, split, channels, sfreq=250, tmin=-0.2, tmax=1.0, n_last=250):
    """Dictionary of condition to epochs (n_repetitions, n_channels, n_times) of one recording."""
    content = np.load(path, allow_pickle=True).item()
    info = mne.create_info(content["ch_names"], content["sfreq"], content["ch_types"], verbose="ERROR")
    raw = mne.io.RawArray(content["raw_eeg_data"], info, verbose="ERROR")
    del content
    events = mne.find_events(raw, stim_channel="stim", verbose="ERROR")
    raw.pick(list(channels), verbose="ERROR").reorder_channels(list(channels))
    events = events[events[:, 2] != 99999]
    epochs = mne.Epochs(raw, events, tmin=tmin, tmax=tmax, baseline=(None, 0), preload=True, verbose="ERROR")
    del raw
    if sfreq < 1000:
        epochs.resample(sfreq, verbose="ERROR")
    data, codes = epochs.get_data(copy=False), epochs.events[:, 2]
    chosen = {}
    for code in np.unique(codes):
        where = np.flatnonzero(codes == code)
        # fewer than published are all kept
        count = min(MAX_REPETITIONS[split], len(where))
        chosen[int(code)] = data[shuffle(where, random_state=SEED, n_samples=count)][:, :, -n_last:]
    return chosen


def shrunk_covariance(epoch):
    """Ledoit-Wolf covariance over samples of standardised channels, scaled back, as in scikit-learn's LDA."""
    scaler = StandardScaler()
    covariance = ledoit_wolf(scaler.fit_transform(epoch.T))[0]
    return scaler.scale_[:, None] * covariance * scaler.scale_[None]


def session_matrix(train):
    """Inverse square root of the covariance, averaged over repetitions, and then over conditions."""
    per_condition = [np.mean([shrunk_covariance(epoch) for epoch in epochs], axis=0) for epochs in train.values()]
    return scipy.linalg.fractional_matrix_power(np.mean(per_condition, axis=0), -0.5)


def whiten(matrix, epochs):
    return (epochs.swapaxes(1, 2) @ matrix).swapaxes(1, 2)


def prepare(folder, facts, **options):
    """Signals (float64), and the condition and session of every trial, for train and test."""
    sessions = {split: [] for split in FILES}
    for session in facts.sessions:
        epochs = {
            split: session_epochs(folder / session / file, split, facts.channels, **options)
            for split, file in FILES.items()
        }
        matrix = session_matrix(epochs["train"])
        for split in FILES:
            sessions[split].append({code: whiten(matrix, x) for code, x in epochs[split].items()})
    merged = {}
    for split, parts in sessions.items():
        rows, codes, names = [], [], []
        for code in range(1, facts.conditions(split).count + 1):
            for session, part in zip(facts.sessions, parts, strict=True):
                for epoch in part.get(code, []):
                    rows.append(epoch)
                    codes.append(code)
                    names.append(session)
        merged[split] = np.stack(rows), codes, names
    return merged
