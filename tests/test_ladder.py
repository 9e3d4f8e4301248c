"""Ladders of any spacing, names read back, and vectors between stored levels."""

import numpy as np
import pytest

from sentences import one_sentence
from test_features import Projection, write_images
from ubp.errors import InputError
from ubp.images.blur import CURVES, Blur
from ubp.images.features import FeatureStore
from ubp.images.ladder import SPACINGS, blur_of_name, ladder, neighbours


def widths(*arguments):
    return [level.width for level in ladder(*arguments)]


def test_spacings():
    assert widths(1, 51, 6) == [1, 11, 21, 31, 41, 51]
    assert widths(1, 51, 5, "log") == [1, 3, 7, 19, 51]
    assert widths(5, 5, 1) == [5]
    assert ladder(3, 9, 2, "log", Blur(1, "linear", strength=0.5)) == (
        Blur(3, "linear", strength=0.5),
        Blur(9, "linear", strength=0.5),
    )


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(("start", "stop"), [(1, 9), (1, 101), (45, 57), (3, 255)])
def test_every_length_gives_rising_odd_widths_from_start_to_stop(spacing, start, stop):
    most = (stop - start) // 2 + 1
    for n in range(2, most + 1):
        found = widths(start, stop, n, spacing)
        assert (len(found), found[0], found[-1]) == (n, start, stop)
        assert all(width % 2 for width in found)
        assert (np.diff(found) > 0).all()
        exact = [SPACINGS[spacing](start, stop, i / (n - 1)) for i in range(n)]
        if np.diff(exact).min() >= 2:
            assert np.abs(np.subtract(found, exact)).max() <= 1 + 1e-9
    with pytest.raises(ValueError, match=f"no {most + 1} different odd widths"):
        ladder(start, stop, most + 1, spacing)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, 9, 2), "width is 2"),
        ((1, 10, 2), "width is 10"),
        ((1, 9, 0), "no 0 different"),
        ((1, 9, 1), "no 1 different"),
        ((9, 1, 3), "no 3 different"),
        ((1, 9, 3, "cubic"), "use one of linear, log"),
    ],
)
def test_impossible_ladders(arguments, message):
    with pytest.raises(ValueError, match=message):
        ladder(*arguments)


def test_names_are_read_back():
    for curve in CURVES:
        for fields in (
            {},
            {"decay": 1e-7},
            {"decay": 1e16, "strength": 0.25},
            {"sigma": 1e-5},
            {"fixation": (-1.5, 1e22)},
            {"strength": 0.0, "sigma": 12.5, "fixation": (3, 4)},
        ):
            blur = Blur(27, curve, **fields)
            found = blur_of_name(blur.name)
            assert found is not None
            assert found.name == blur.name
    assert blur_of_name("crisp") == Blur(1)


@pytest.mark.parametrize(
    "name", ["", "w1-exponential3", "w4-uniform", "w5", "w5-cubic", "flip0.5", "mosaic8", "w5-uniform2"]
)
def test_names_of_other_levels_are_no_blur(name):
    assert blur_of_name(name) is None


# FeatureStore.at


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return build(folder, tmp_path_factory.mktemp("cache"), [Blur(1), Blur(5), Blur(9)])


def build(folder, root, levels):
    return FeatureStore.build(folder, write_images(folder), Projection(), levels, root)


@pytest.mark.parametrize("width", [1, 5, 9, 5.0])
def test_at_a_stored_level_it_is_that_level(store, width):
    np.testing.assert_array_equal(store.at(width), store.vectors(Blur(int(width))))


@pytest.mark.parametrize(
    ("width", "low", "high", "weight"), [(2, 1, 5, 0.25), (7.5, 5, 9, 0.625), (8.999, 5, 9, 0.99975)]
)
def test_between_levels_it_is_the_normalised_mixture(store, width, low, high, weight):
    asked = [store.images[7], store.images[0]]
    found = store.at(width, images=asked)
    assert found.dtype == np.float32
    for vector, image in zip(found, asked, strict=True):
        first, second = (store.vectors(Blur(w), [image])[0].astype(float) for w in (low, high))
        mixed = (1 - weight) * first + weight * second
        np.testing.assert_allclose(vector, mixed / np.sqrt((mixed**2).sum()), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_without_the_levels_around_the_next_ones_are_taken(store):
    low, high, weight = neighbours(["crisp", "w9-exponential3"], 5, None, "here")
    assert (low, high, weight) == (Blur(1), Blur(9), 0.5)


@pytest.mark.parametrize("width", [0.5, 9.01, -3, float("nan"), float("inf")])
def test_outside_the_ladder_is_refused(store, width):
    with pytest.raises(InputError, match="cannot be interpolated") as error:
        store.at(width)
    one_sentence(error, "1, 5, 9", store.folder)


def test_opposite_vectors_have_nothing_between_them(tmp_path):
    store = build(tmp_path / "images", tmp_path / "cache", [Blur(1), Blur(5)])
    np.save(store.folder / f"{Blur(5).name}.npy", -store.vectors(Blur(1)))
    with pytest.raises(InputError, match="cancel at width 3") as error:
        store.at(3)
    one_sentence(error, store.folder)
    np.testing.assert_allclose(store.at(2), store.vectors(Blur(1)), atol=1e-6)


def test_families_are_not_mixed(tmp_path):
    levels = [Blur(1), Blur(5), Blur(9), Blur(7, "uniform"), Blur(11, "uniform")]
    store = build(tmp_path / "images", tmp_path / "cache", levels)
    with pytest.raises(InputError, match="2 families") as error:
        store.at(6)
    one_sentence(error, "exponential3", "uniform")
    # what a curve does not use is no difference
    uniform = store.at(9, like=Blur(3, "uniform", decay=7.0))
    mixed = store.vectors(Blur(7, "uniform")) + store.vectors(Blur(11, "uniform"))
    np.testing.assert_allclose(uniform, mixed / np.linalg.norm(mixed, axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_array_equal(store.at(9, like=Blur(3)), store.vectors(Blur(9)))
    with pytest.raises(InputError, match="1, 5, 9 of that family"):
        store.at(11, like=Blur(3))
    with pytest.raises(InputError, match="holds the widths 1 of that family"):
        store.at(7, like=Blur(5, decay=2.0))


def test_store_without_any_blur(tmp_path):
    with pytest.raises(InputError, match="holds no such blur"):
        neighbours(["flip0.5"], 3, None, "the store")
