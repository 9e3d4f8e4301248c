"""Small recordings as mne and BIDS store them, made of the tiny study."""

import json

import mne
import mne_bids
import numpy as np

from ubp.data.forward import POSTERIOR, channel_positions

RATE = 100.0
SPACING = 40  # samples between image onsets of a run
VOLT = 1e-6


def epochs_of(study, subject="sub-01", **changes):
    """Epochs of a subject of the tiny study, on real electrode positions, in volts."""
    recording = study.recording(subject)
    names = list(POSTERIOR[: recording.header.shape[1]])
    info = mne.create_info(names, RATE, "eeg", verbose="error")
    info.set_montage(montage(names))
    metadata = recording.trials.rename(columns={"image": "picture"}).assign(day=recording.trials["session"])
    return mne.EpochsArray(
        recording.signals[:].astype(float) * VOLT, info, tmin=-0.02, metadata=metadata, verbose="error", **changes
    )


def montage(names, places=POSTERIOR):
    """Real electrode positions, those of `places`, for names."""
    positions = channel_positions(places[: len(names)])
    fiducials = {"nasion": (0, 0.1, 0), "lpa": (-0.1, 0, 0), "rpa": (0.1, 0, 0)}
    return mne.channels.make_dig_montage(dict(zip(names, positions, strict=True)), coord_frame="head", **fiducials)


def sample_info(study):
    """Channels as in mne's sample recording: two magnetometers, two gradiometers, two electrodes, eye and trigger."""
    names = ["MEG 0111", "MEG 0121", "MEG 0112", "MEG 0113", "EEG 001", "EEG 002", "EOG 061", "STI 014"]
    info = mne.create_info(names, RATE, ["mag", "mag", "grad", "grad", "eeg", "eeg", "eog", "stim"], verbose="error")
    info["line_freq"] = 50
    info.set_montage(montage(names[4:6]))
    for number, channel in enumerate(info["chs"][:4]):
        channel["loc"][:3] = 0.1, 0.01 * number, 0.05
    return info


def continuous(study, subject, rows):
    """A run with the trials of these rows around onsets, quiet elsewhere; and its onsets (s).

    The trial is preceded by zeros, which are its baseline.
    """
    signals = study.recording(subject).signals
    n_times = signals.shape[2]
    data = np.zeros((8, SPACING * (len(rows) + 2)))
    onsets = SPACING * (1 + np.arange(len(rows)))
    for onset, row in zip(onsets, rows, strict=True):
        data[:6, onset : onset + n_times] = signals[row] * VOLT
    return data, onsets / RATE


def events_table(study, subject, rows, onsets):
    trials = study.recording(subject).trials.iloc[rows]
    return trials.assign(
        onset=onsets, duration=0.1, trial_type="image", stim_file=trials["image"], picture=trials["image"]
    )[["onset", "duration", "trial_type", "stim_file", "split", "concept"]]


def write_events(path, table):
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")


def write_bids(study, root, subjects=None, runs=("01", "02"), sessions=(None,), edit=lambda table: table, first=0):
    """MEG and EEG of the tiny study as a raw BIDS dataset in FIF; trials are dealt to sessions and runs in turn."""
    for subject in subjects or study.subjects:
        n_trials = len(study.recording(subject).trials)
        pieces = np.array_split(np.arange(n_trials), len(runs) * len(sessions))
        for number, rows in enumerate(pieces):
            session, run = sessions[number // len(runs)], runs[number % len(runs)]
            data, onsets = continuous(study, subject, rows)
            raw = mne.io.RawArray(data, sample_info(study), first_samp=first, verbose="error")
            raw.info["bads"] = ["MEG 0121"]
            path = mne_bids.BIDSPath(
                subject=subject[4:], session=session, task="look", run=run, datatype="meg", root=root
            )
            mne_bids.write_raw_bids(raw, path, format="FIF", allow_preload=True, overwrite=True, verbose="error")
            events = path.copy().update(suffix="events", extension=".tsv").fpath
            write_events(events, edit(events_table(study, subject, rows, onsets)))
    mne_bids.make_dataset_description(
        path=root, name="Tiny sights", authors=["A. Nobody", "B. Someone"], data_license="CC0",
        doi="doi:10.18112/openneuro.ds000000", overwrite=True, verbose="error",
    )  # fmt: skip
    stimuli(study, root)
    return root


def stimuli(study, root):
    for image in study.images():
        place = root / "stimuli" / image
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(study.image_path(image).read_bytes())


def write_brainvision(path, data, names, rate):
    """A recording in BrainVision format, in microvolts, as its description asks for."""
    channels = "\n".join(f"Ch{number}={name},,1,µV" for number, name in enumerate(names, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.stem}.eeg\nMarkerFile={path.stem}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels={len(names)}\nSamplingInterval={1e6 / rate:g}\n\n[Binary Infos]\n"
        f"BinaryFormat=IEEE_FLOAT_32\n\n[Channel Infos]\n{channels}\n",
        encoding="utf-8",
    )
    path.with_suffix(".vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.stem}.eeg\n\n[Marker Infos]\n"
    )
    path.with_suffix(".eeg").write_bytes((data.T * 1e6).astype("<f4").tobytes())


def description(root, **content):
    (root / "dataset_description.json").write_text(
        json.dumps({"Name": "Tiny", "BIDSVersion": "1.9.0", "DatasetType": "raw"} | content)
    )
