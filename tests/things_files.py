"""Writes THINGS-EEG2 files of the published structure, at any size, filled with noise that is shaped like EEG."""

import dataclasses
import io
import pickle

import numpy as np
import torch
from PIL import Image
from scipy.signal import lfilter

from ubp.data.facts import THINGS_EEG2

TARGET = 99999
PER_SEQUENCE = 20  # images that follow each other, 200 ms apart


def small_facts(train_concepts=6, images_per_concept=2, test_concepts=3, **changes):
    """THINGS-EEG2 with fewer images."""
    return dataclasses.replace(
        THINGS_EEG2,
        train=dataclasses.replace(THINGS_EEG2.train, concepts=train_concepts, images_per_concept=images_per_concept),
        test=dataclasses.replace(THINGS_EEG2.test, concepts=test_concepts),
        **changes,
    )


def image_names(split, facts):
    """Folder and file of every condition, such as 00001_aardvark and aardvark_01b.jpg."""
    wanted = facts.conditions(split)
    word = {"train": "thing", "test": "object"}[split]
    names = [f"{word}{number:04d}" for number in range(1, wanted.concepts + 1)]
    return [
        (f"{i:05d}_{name}", f"{name}_{k:02d}{'bs'[k > 1]}.jpg")
        for i, name in enumerate(names, start=1)
        for k in range(1, wanted.images_per_concept + 1)
    ]


def write_images(folder, facts, train="training_images", suffix=None):
    """All images, each of the same few pixels."""
    buffer = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(buffer, "jpeg")
    for split, parent in (("train", train), ("test", "test_images")):
        for concept, file in image_names(split, facts):
            path = folder / parent / concept / file
            path.parent.mkdir(parents=True, exist_ok=True)
            (path if suffix is None else path.with_suffix(suffix)).write_bytes(buffer.getvalue())


def write_metadata(folder, facts):
    """image_metadata.npy."""
    content = {}
    for split in ("train", "test"):
        concepts, files = zip(*image_names(split, facts), strict=True)
        content |= {f"{split}_img_concepts": list(concepts), f"{split}_img_files": list(files)}
        content |= {f"{split}_img_concepts_THINGS": list(concepts), f"{split}_img_files_THINGS": list(files)}
    np.save(folder / "image_metadata.npy", content)


def session_conditions(facts, rng):
    """Training conditions of each session: two sessions share out all of them, and so do the other two."""
    halves = []
    for _ in range(len(facts.sessions) // 2):
        halves += np.array_split(rng.permutation(facts.train.count) + 1, 2)
    return halves


def events(conditions, repetitions, rng, gap, targets=0.05, surplus=0, missing=0):
    """Samples and codes of a recording at 1000 Hz, and its length.

    `surplus` conditions come once more and `missing` ones once less; a target precedes some of the images; the first
    and the last event lie too close to the ends for a whole epoch.
    """
    codes = np.repeat(conditions, repetitions)
    codes = np.concatenate([codes, conditions[:surplus]])
    if missing:
        left_out = [int(np.flatnonzero(codes == code)[0]) for code in conditions[-missing:]]
        codes = np.delete(codes, left_out)
    rng.shuffle(codes)
    where = np.flatnonzero(rng.random(len(codes)) < targets)
    codes = np.insert(codes, where, TARGET)
    samples = 500 + 200 * np.arange(len(codes)) + round(1000 * gap) * (np.arange(len(codes)) // PER_SEQUENCE)
    n_samples = int(samples[-1]) + 1600
    samples = np.concatenate([[100], samples, [n_samples - 700]])
    codes = np.concatenate([[codes[-1]], codes, [codes[0]]])
    return samples, codes, n_samples


def eeg(n_channels, n_samples, rng, chunk=300_000):
    """Volts: channels share sources, most power is slow, and every channel has an offset. Repeats after `chunk`."""
    n = min(chunk, n_samples)
    noise = rng.standard_normal((n_channels, n))
    slow = lfilter([1.0], [1.0, -0.98], noise, axis=1)
    mixing = rng.standard_normal((n_channels, n_channels)) / np.sqrt(n_channels) + 0.5 * np.eye(n_channels)
    out = np.empty((n_channels + 1, n_samples))
    signals = 1e-6 * (mixing @ slow + 2 * noise) * rng.uniform(0.5, 2, (n_channels, 1))
    signals += 1e-4 * rng.standard_normal((n_channels, 1))
    for first in range(0, n_samples, n):
        out[:-1, first : first + n] = signals[:, : n_samples - first]
    return out


def write_recording(path, facts, conditions, repetitions, seed, gap=0.4, channels=None, **changes):
    """raw_eeg_training.npy or raw_eeg_test.npy of one session."""
    rng = np.random.default_rng(seed)
    channels = list(channels or facts.channels)
    samples, codes, n_samples = events(conditions, repetitions, rng, gap, **changes)
    signals = eeg(len(channels), n_samples, rng)
    signals[-1] = 0
    signals[-1, samples] = codes
    # a response after each image, different for odd and even conditions
    response = 2e-6 * np.sin(np.arange(300) / 40) * np.hanning(300)
    for sample, code in zip(samples[:200], codes[:200], strict=False):
        stop = min(n_samples, sample + 400)
        signals[: 10 if code % 2 else 20, sample + 100 : stop] += response[: max(0, stop - sample - 100)]
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "raw_eeg_data": signals,
        "ch_names": [*channels, "stim"],
        "ch_types": ["eeg"] * len(channels) + ["stim"],
        "sfreq": 1000,
        "highpass": 0.01,
        "lowpass": 100,
    }
    np.save(path, content)
    return content


def write_raw(folder, facts, subject="sub-01", seed=0, gap=0.4, changes=None):
    """Four sessions of one subject; `changes` maps (session, split) to arguments of `write_recording`."""
    rng = np.random.default_rng(seed)
    halves = session_conditions(facts, rng)
    for number, session in enumerate(facts.sessions):
        for split, file, conditions in (
            ("train", "raw_eeg_training.npy", halves[number]),
            ("test", "raw_eeg_test.npy", np.arange(1, facts.test.count + 1)),
        ):
            more = (changes or {}).get((session, split), {})
            repetitions = facts.conditions(split).session_repetitions
            write_recording(
                folder / subject / session / file,
                facts,
                conditions,
                repetitions,
                [seed, number, len(split)],
                gap,
                **more,
            )


def write_preprocessed(folder, facts, subject="sub-01", seed=0):
    """The authors' files: bare pickles, in spite of their names, of 17 channels at 100 Hz."""
    rng = np.random.default_rng(seed)
    (folder / subject).mkdir(parents=True)
    arrays = {}
    for split, name in (("train", "training"), ("test", "test")):
        wanted = facts.conditions(split)
        arrays[split] = rng.standard_normal((wanted.count, wanted.repetitions, 17, 100))
        content = {
            "preprocessed_eeg_data": arrays[split],
            "ch_names": list(facts.channels[-17:]),
            "times": -0.2 + np.arange(100) / 100,
        }
        with (folder / subject / f"preprocessed_eeg_{name}.npy").open("wb") as handle:
            pickle.dump(content, handle, protocol=4)
    return arrays


def ubp_content(split, facts, seed=0, train_folder="train_images"):
    """The dictionary in the UBP authors' train.pt or test.pt."""
    rng = np.random.default_rng([seed, len(split)])
    wanted = facts.conditions(split)
    shape = (wanted.count, wanted.repetitions)
    block = rng.standard_normal((min(wanted.count, 500), wanted.repetitions, 63, 250), np.float32).astype(np.float16)
    signals = np.empty((*shape, 63, 250), np.float16)
    for first in range(0, wanted.count, len(block)):
        signals[first : first + len(block)] = block[: wanted.count - first]
    signals[:, 0, 0, 0] = np.arange(wanted.count) % 2048
    names = image_names(split, facts)
    parent = train_folder if split == "train" else "test_images"
    sessions = np.zeros(shape)
    sessions[:] = (
        np.repeat(np.arange(4), 20) if split == "test" else np.repeat(rng.integers(0, 4, (len(signals), 2)), 2, 1)
    )
    return {
        "eeg": signals,
        "label": np.tile(np.arange(wanted.count)[:, None] // wanted.images_per_concept, (1, shape[1])),
        "img": np.tile(np.array([f"{parent}/{a}/{b}" for a, b in names])[:, None], (1, shape[1])),
        "text": np.tile(np.array([b.rsplit("_", 1)[0] for _, b in names])[:, None], (1, shape[1])),
        "session": sessions,
        "ch_names": list(facts.channels),
        "times": -0.2 + np.arange(301) / 250,
    }


def write_ubp(folder, facts, subject="sub-01", seed=0):
    """The UBP authors' files of one subject; returns what is in them."""
    (folder / subject).mkdir(parents=True)
    contents = {}
    for split in ("train", "test"):
        contents[split] = ubp_content(split, facts, seed)
        torch.save(contents[split], folder / subject / f"{split}.pt", pickle_protocol=5)
    return contents
