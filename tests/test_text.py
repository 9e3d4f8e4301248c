"""Text features from files: what is read, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from ubp.errors import InputError
from ubp.text import TextFeatures

CONCEPTS = ["zebra", "apple", "NA"]
FEATURES = np.arange(6, dtype=np.float64).reshape(3, 2)


def npz(folder, concepts=CONCEPTS, features=FEATURES):
    np.savez(folder / "text.npz", concepts=np.array(concepts), features=features)
    return folder / "text.npz"


def npy(folder, concepts=CONCEPTS, features=FEATURES, column="concept"):
    np.save(folder / "text.npy", features)
    pd.DataFrame({column: concepts}).to_csv(folder / "text.csv", index=False)
    return folder / "text.npy"


@pytest.mark.parametrize("write", [npz, npy])
def test_features_are_read_and_selected_by_concept(tmp_path, write):
    text = TextFeatures.read(write(tmp_path))
    assert text.concepts == tuple(CONCEPTS)
    assert text.features.dtype == np.float32
    assert text.select(["NA", "zebra", "NA"]).tolist() == [[4, 5], [0, 1], [4, 5]]


def test_the_fingerprint_is_of_the_content_in_any_order(tmp_path):
    one = TextFeatures.read(npz(tmp_path)).fingerprint
    assert TextFeatures.read(npy(tmp_path, CONCEPTS[::-1], FEATURES[::-1])).fingerprint == one
    assert TextFeatures.read(npy(tmp_path, CONCEPTS[::-1])).fingerprint != one
    assert TextFeatures.read(npy(tmp_path, ["zebra", "apple", "pear"])).fingerprint != one


def test_a_missing_concept_is_named(tmp_path):
    with pytest.raises(InputError, match=r"text\.npz has no text features of the concept 'fig' and 1 others"):
        TextFeatures.read(npz(tmp_path)).select(["pear", "apple", "fig"])


@pytest.mark.parametrize("write", [npz, npy])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"concepts": ["zebra", "apple"]}, "3 rows of text features for 2 concepts"),
        ({"concepts": ["zebra", "apple", "zebra"]}, "'zebra' comes twice"),
        ({"features": np.full((3, 2), np.nan)}, "not finite"),
        ({"features": np.ones(3)}, r"float64 of shape \(3,\)"),
        ({"features": np.ones((3, 2), int)}, "int64 of shape"),
    ],
)
def test_content_that_is_no_text_features_is_refused(tmp_path, write, change, message):
    with pytest.raises(InputError, match=message):
        TextFeatures.read(write(tmp_path, **change))


def bad_archive(folder):
    (folder / "text.npz").write_bytes(b"no archive")
    return folder / "text.npz"


def other_arrays(folder):
    np.savez(folder / "text.npz", words=np.ones(3))
    return folder / "text.npz"


def numbers_for_names(folder):
    return npz(folder, concepts=[1, 2, 3])


def pickled(folder):
    np.savez(folder / "text.npz", concepts=np.array(CONCEPTS, object), features=FEATURES)
    return folder / "text.npz"


def cut_short(folder):
    path = npy(folder)
    path.write_bytes(path.read_bytes()[:-5])
    return path


def no_column(folder):
    return npy(folder, column="name")


def no_table(folder):
    path = npy(folder)
    (folder / "text.csv").unlink()
    return path


@pytest.mark.parametrize(
    "write", [bad_archive, other_arrays, numbers_for_names, pickled, cut_short, no_column, no_table]
)
def test_damaged_files_are_named_with_what_was_expected(tmp_path, write):
    with pytest.raises(InputError, match=r"text\.(npz|npy|csv) (cannot be read|are missing); expected an \.npz file"):
        TextFeatures.read(write(tmp_path))


@pytest.mark.parametrize("name", ["text.txt", "text"])
def test_files_of_another_kind_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="of an unknown kind"):
        TextFeatures.read(tmp_path / name)
