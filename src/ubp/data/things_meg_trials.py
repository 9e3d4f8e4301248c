"""Which epochs of THINGS-MEG become trials: events, attributes and image numbers, checked against each other."""

from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from ubp.data.facts import DatasetFacts
from ubp.data.tables import SPLITS, read_table
from ubp.data.things_meg_options import ThingsMEGOptions
from ubp.errors import InputError

CATCH = 999999  # event of a trial that asks for a button press
SPLIT_OF_TYPE = {"exp": "train", "test": "test", "catch": ""}
COLUMNS = ("trial_type", "things_image_nr", "image_path", "session_nr", "run_nr")


def read_attributes(path: Path, facts: DatasetFacts) -> pd.DataFrame:
    """One row per epoch from a sample_attributes file.

    Returns
    -------
    DataFrame
        Columns split ("" for catch trials), image_number (0 for catch trials), stem, session and run.

    Raises
    ------
    InputError
        When a column is missing or a cell is not what it should be.
    """
    table = read_table(path, COLUMNS, text=("trial_type", "image_path"))
    shown = (table["trial_type"] != "catch").to_numpy()
    numbers = {
        name: pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)
        for name in ("things_image_nr", "session_nr", "run_nr")
    }
    wrong = {
        "trial_type": ~table["trial_type"].isin(SPLIT_OF_TYPE).to_numpy(),
        "things_image_nr": shown & ~_whole(numbers["things_image_nr"], 1, CATCH - 1),
        "session_nr": ~_whole(numbers["session_nr"], 1, len(facts.sessions)),
        "run_nr": ~_whole(numbers["run_nr"], 1, CATCH),
    }
    for name, bad in wrong.items():
        if bad.any():
            row = int(bad.argmax())
            expected = {"trial_type": "exp, test or catch", "session_nr": f"1 to {len(facts.sessions)}"}
            raise InputError(
                f"{path}, row {row}: the {name} is {str(table[name].iloc[row])!r}; "
                f"expected {expected.get(name, 'a number from 1')}."
            )
    return pd.DataFrame(
        {
            "split": table["trial_type"].map(SPLIT_OF_TYPE),
            "image_number": np.where(shown, numbers["things_image_nr"], 0).astype(np.int64),
            "stem": [PurePosixPath(image.replace("\\", "/")).stem.lower() for image in table["image_path"]],
            "session": np.array(facts.sessions)[numbers["session_nr"].astype(np.int64) - 1],
            "run": numbers["run_nr"].astype(np.int64),
        }
    )


def _whole(values: np.ndarray, low: int, high: int) -> np.ndarray:
    return (values >= low) & (values <= high) & (values == np.floor(values))


def check_events(codes: np.ndarray, path: Path, attributes: pd.DataFrame, where: Path, images: pd.DataFrame) -> None:
    """Check that row i of the attributes describes epoch i.

    Parameters
    ----------
    codes : int array of shape (n_epochs,)
        Events of the epochs in `path`.
    attributes : DataFrame
        From `read_attributes(where)`.
    images : DataFrame
        From `read_image_numbers`.

    Raises
    ------
    InputError
        Names both files and the first row that differs.
    """
    unknown = (codes < 1) | (codes > len(images)) & (codes != CATCH)
    if unknown.any():
        row = int(unknown.argmax())
        raise InputError(
            f"{path} has the event {codes[row]} in epoch {row}; expected image numbers 1 to {len(images)}, and {CATCH} "
            "for catch trials."
        )
    if len(codes) != len(attributes):
        raise InputError(f"{where} has {len(attributes)} rows and {path} has {len(codes)} epochs; expected as many.")
    told = attributes["image_number"].where(attributes["split"] != "", CATCH).to_numpy()
    if (told != codes).any():
        row = int((told != codes).argmax())
        raise InputError(
            f"{where}, row {row}: the image number is {told[row]} and the event of the epoch in {path} is {codes[row]} "
            f"({CATCH} is a catch trial); expected both in one order."
        )
    shown = np.flatnonzero(codes != CATCH)
    stems = np.array([PurePosixPath(image).stem.lower() for image in images["image"]])[codes[shown] - 1]
    named = attributes["stem"].to_numpy()[shown]
    if (stems != named).any():
        row = int((stems != named).argmax())
        raise InputError(
            f"{where}, row {shown[row]}: image number {codes[shown[row]]} is {named[row]} and {stems[row]} in the "
            "image paths; expected the list that belongs to the recordings."
        )


def choose_trials(
    attributes: pd.DataFrame, images: pd.DataFrame, options: ThingsMEGOptions, facts: DatasetFacts, path: Path
) -> tuple[pd.DataFrame, int]:
    """Trials in the order of the study: train, then test; by image number; each image's in the order of sessions.

    Parameters
    ----------
    path : Path
        Of the attributes, for messages.

    Returns
    -------
    trials : DataFrame
        Columns image, concept, split, repetition, session, run, image_number, and epoch (from 0, in the recording).
    missing : int
        Presentations fewer than published.

    Raises
    ------
    InputError
        When concepts or images are not as many as published, or an image is in both splits.
    """
    table = attributes[attributes["split"] != ""]
    table = table.assign(epoch=table.index, train_first=table["split"] != "train")
    for column in ("image", "concept"):
        table[column] = images[column].to_numpy()[table["image_number"] - 1]
    table = table.sort_values(["train_first", "image_number", "session", "epoch"], ignore_index=True)
    by_split = {split: table[table["split"] == split] for split in SPLITS}
    train, test = by_split["train"], by_split["test"]
    both = set(train["image"]) & set(test["image"])
    if both:
        raise InputError(f"{path} shows {sorted(both)[0]} both in exp and in test trials; expected one of them.")
    facts.check("test concepts", test["concept"].nunique(), facts.test.concepts, path)
    facts.check("test images", test["image"].nunique(), facts.test.count, path)
    shared = train["concept"].isin(set(test["concept"]))
    facts.check("concepts in exp trials only", train["concept"][~shared].nunique(), facts.train.concepts, path)
    if options.zero_shot:
        train = train[~shared]
    per_concept = train.groupby("concept")["image"].nunique()
    if (per_concept > facts.train.images_per_concept).any():
        raise InputError(
            f"{path} has {per_concept.max()} images of {per_concept.idxmax()!r} in exp trials; "
            f"{facts.title} has {facts.train.images_per_concept}."
        )
    trials, missing = [], 0
    for split, part, n_images in (
        ("train", train, len(per_concept) * facts.train.images_per_concept),
        ("test", test, facts.test.count),
    ):
        limit = getattr(options, f"{split}_repetitions")
        part = part.assign(repetition=part.groupby("image_number").cumcount())
        part = part[part["repetition"] < limit]
        # what an image has too many does not make up for what another lacks
        wanted = min(limit, facts.conditions(split).repetitions)
        missing += n_images * wanted - int((part["repetition"] < wanted).sum())
        trials.append(part)
    columns = ["image", "concept", "split", "repetition", "session", "run", "image_number", "epoch"]
    return pd.concat(trials, ignore_index=True)[columns], missing
