"""Writes THINGS-MEG files of the published structure, at any size."""

import dataclasses
import io
import os

import mne
import numpy as np
import pandas as pd
from PIL import Image

from ubp.data.facts import THINGS_MEG

CATCH = 999999
SPARE = 2  # images of a concept that nobody saw, beside one that only the test of some concepts shows


def small_facts(train_concepts=6, images_per_concept=12, test_concepts=3, n_channels=6, **changes):
    """THINGS-MEG with fewer images and channels."""
    return dataclasses.replace(
        THINGS_MEG,
        n_channels=n_channels,
        train=dataclasses.replace(THINGS_MEG.train, concepts=train_concepts, images_per_concept=images_per_concept),
        test=dataclasses.replace(THINGS_MEG.test, concepts=test_concepts),
        **changes,
    )


def design(facts, seed=0):
    """All images in the order of their numbers (from 1), and whether the exp or the test trials show each."""
    rng = np.random.default_rng(seed)
    n_concepts = facts.train.concepts + facts.test.concepts
    tested = set(rng.permutation(n_concepts)[: facts.test.concepts].tolist())
    rows = []
    for concept in range(n_concepts):
        count = facts.train.images_per_concept + SPARE + 1
        roles = ["exp"] * facts.train.images_per_concept + ["test" if concept in tested else ""] + [""] * SPARE
        # the last word of a name may be a number, as in bat1
        name = f"thing_{concept:04d}"
        for exemplar, role in enumerate(rng.permutation(roles).tolist(), start=1):
            rows.append((name, f"{name}_{exemplar:02d}{'bsn'[exemplar % 3]}.jpg", role, concept + 1))
        assert len(rows) == (concept + 1) * count
    table = pd.DataFrame(rows, columns=["concept", "file", "role", "concept_number"])
    table["number"] = np.arange(1, len(table) + 1)
    return table


def attributes(images, facts, seed=1, catch_per_session=4):
    """sample_attributes of one subject: sessions follow each other, their trials are mixed."""
    rng = np.random.default_rng(seed)
    exp = images[images["role"] == "exp"].copy()
    # each session shows about as many, and of each concept one image as far as they reach
    exp["session"] = exp.groupby("concept_number").cumcount() * 12 // facts.train.images_per_concept
    if facts.train.images_per_concept < 12:
        exp["session"] = rng.permutation(np.arange(len(exp)) % 12)
    test = images[images["role"] == "test"]
    columns = ["number", "concept_number", "concept", "file"]
    sessions = []
    for session in range(12):
        parts = [
            exp[exp["session"] == session][columns].assign(trial_type="exp"),
            test[columns].assign(trial_type="test"),
            pd.DataFrame({"trial_type": ["catch"] * catch_per_session}),
        ]
        table = pd.concat(parts, ignore_index=True).sample(frac=1, random_state=int(rng.integers(2**31)))
        sessions.append(table.assign(session_nr=session + 1, run_nr=np.arange(len(table)) * 10 // len(table) + 1))
    table = pd.concat(sessions, ignore_index=True)
    kind = table["trial_type"]
    where = {
        "exp": "images_meg/" + table["concept"] + "/" + table["file"],
        "test": "images_test_meg/" + table["file"],
        "catch": "images_catch_meg/catch" + table.index.astype(str).str.zfill(3) + ".jpg",
    }
    on = 1.5 * np.arange(len(table))
    return pd.DataFrame(
        {
            "trial_type": kind,
            "image_nr": table["number"],
            "category_nr": table["concept_number"],
            "exemplar_nr": 1.0,
            "test_image_nr": np.where(kind == "test", 1.0, np.nan),
            "things_category_nr": table["concept_number"],
            "things_image_nr": table["number"],
            "things_exemplar_nr": 1.0,
            "image_path": np.select([kind == name for name in where], list(where.values()), ""),
            "image_on": on,
            "image_off": on + 0.5,
            "session_nr": table["session_nr"],
            "run_nr": table["run_nr"],
        }
    )


def channel_names(count):
    """As a CTF-275 system names them."""
    names = [f"M{side}{area}{number}-1609" for side in "LRZ" for area in "CFOPT" for number in range(11, 41)]
    return names[:count]


def pattern(numbers, facts, n_times, rng):
    """Signals in which every image has its own shape, with noise; z scores like those released."""
    own = np.random.default_rng(99).standard_normal((64, facts.n_channels, n_times)).astype(np.float32)
    noise = rng.standard_normal((len(numbers), facts.n_channels, n_times), np.float32)
    return own[numbers % 64] + noise


def write_epochs(
    path, table, facts, seed=2, times=(-0.1, 1.3), split_size=1_400_000, signals=None, metadata=True, **changes
):
    """A preprocessed -epo.fif with the files it continues in; `changes` are of names, codes and sfreq."""
    rng = np.random.default_rng(seed)
    sfreq = changes.get("sfreq", facts.sfreq)
    n_times = round((times[1] - times[0]) * facts.sfreq) + 1
    numbers = table["things_image_nr"].fillna(CATCH).to_numpy(np.int64)
    codes = changes.get("codes", numbers)
    data = pattern(numbers, facts, n_times, rng) if signals is None else signals(numbers, rng)
    names = changes.get("names", channel_names(facts.n_channels))
    info = mne.create_info(names, sfreq, "mag", verbose="error")
    for channel in info["chs"]:
        channel["loc"][:3] = rng.uniform(-0.1, 0.1, 3)
    # of each trial 1.5 s
    events = np.column_stack([1 + 300 * np.arange(len(codes)), np.zeros(len(codes), np.int64), codes])
    epochs = mne.EpochsArray(
        data, info, events, tmin=times[0], metadata=table if metadata else None, baseline=None, verbose="error"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    epochs.save(path, split_size=split_size, split_naming="neuromag", overwrite=True, verbose="error")


def write_pictures(folder, images, picture=None):
    """The images that were shown, and no other, in folders of their concepts."""
    buffer = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(buffer, "jpeg")
    shown = images[images["role"] != ""]
    made = set()
    source = None
    for count, (concept, file, number) in enumerate(shown[["concept", "file", "number"]].itertuples(index=False)):
        if concept not in made:
            (folder / concept).mkdir(parents=True)
            made.add(concept)
        path = folder / concept / file
        if picture is not None:
            path.write_bytes(picture(number))
        elif count % 1000:
            os.link(source, path)
        else:
            path.write_bytes(buffer.getvalue())
            source = path


def write_metadata(folder, images, old=False):
    """image-paths.csv as it is fetched, or the two tables of older releases of THINGS."""
    name = "Metadata/Image-specific/image_paths.csv" if old else "metadata/01_image-level/image-paths.csv"
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"images/{a}/{b}\n" for a, b in images[["concept", "file"]].itertuples(index=False)))
    if old:
        numbers = folder / "Metadata/Concept-specific/image_concept_index.csv"
        numbers.parent.mkdir()
        numbers.write_text("".join(f"{number}\n" for number in images["concept_number"]))


def write(folder, facts, subjects=("P1",), seed=0, picture=None, catch_per_session=4, **epochs):
    """All that `ubp fetch things-meg` writes; returns the images and the attributes of each subject."""
    images = design(facts, seed)
    write_metadata(folder, images)
    write_pictures(folder / "images" / "object_images", images, picture)
    tables = {}
    for number, name in enumerate(subjects):
        tables[name] = attributes(images, facts, [seed, number], catch_per_session)
        (folder / "sourcedata").mkdir(exist_ok=True)
        tables[name].to_csv(folder / "sourcedata" / f"sample_attributes_{name}.csv", index=False)
        write_epochs(fif(folder, name), tables[name], facts, [seed, number], **epochs)
    return images, tables


def fif(folder, name="P1"):
    """First file of a subject's epochs."""
    return folder / "derivatives" / "preprocessed" / f"preprocessed_{name}-epo.fif"
