import json
import math
from dataclasses import replace

import pytest
import torch

from test_cli import refused, run
from ubp.errors import InputError
from ubp.images.blur import Blur, fovea_weight
from ubp.images.blur_options import BlurOptions, Foveation, default_widths
from ubp.images.gabor import GaborEncoder
from ubp.images.gaussian import gaussian_sigma
from ubp.images.levels import stored_levels
from ubp.images.visual_angle import blur_in_degrees, image_degrees
from ubp.presets import PRESETS, Preset, preset


@pytest.mark.parametrize(("extent", "distance", "degrees"), [(2, 1, 90), (2 * math.sqrt(3), 1, 120), (1, 57.29, 1.0)])
def test_an_extent_at_a_distance_is_an_angle(extent, distance, degrees):
    assert image_degrees(extent, distance) == pytest.approx(degrees, rel=1e-4)
    assert image_degrees(10 * extent, 10 * distance) == pytest.approx(degrees, rel=1e-4)


def test_the_defaults_are_the_papers_blur_for_images_of_7_degrees():
    level = blur_in_degrees(224)
    assert (level.width, level.curve, level.strength, level.fixation) == (51, "exponential", 1.0, None)
    assert level.sigma == pytest.approx(8.0)
    assert level.sigma == pytest.approx(gaussian_sigma(51))
    assert level.decay == pytest.approx(3.0, abs=0.01)


@pytest.mark.parametrize("fixation", [(0.0, 0.0), (-2.0, 1.5), (3.0, 3.0)])
@pytest.mark.parametrize(("size", "degrees", "decay"), [(224, 7.0, 0.609), (96, 7.0, 0.3), (181, 20.0, 0.1)])
def test_the_weight_falls_exponentially_with_eccentricity(size, degrees, decay, fixation):
    level = blur_in_degrees(size, 0.25, decay, degrees, fixation)
    weight = fovea_weight(size, size, level.curve, level.decay, level.strength, level.fixation)
    middle = (size - 1) / 2
    for row, column in ((0, 0), (0, size - 1), (size // 2, size // 3), (size - 1, 5)):
        down, right = ((place - middle) * degrees / size for place in (row, column))
        eccentricity = math.hypot(down - fixation[0], right - fixation[1])
        assert float(weight[row, column]) == pytest.approx(math.exp(-decay * eccentricity), abs=2e-4)


def test_pixels_scale_with_the_image_and_the_kernel_reaches_over_its_sigma():
    for sigma in (0.05, 0.1, 0.25, 0.5, 1.0):
        small, large = blur_in_degrees(112, sigma), blur_in_degrees(448, sigma)
        assert large.sigma == pytest.approx(4 * small.sigma)
        assert small.sigma == pytest.approx(16 * sigma)
        for level in (small, large):
            assert level.width >= 3
            assert level.width == 3 or abs(gaussian_sigma(level.width) - level.sigma) <= 0.15 + 1e-9


def test_half_of_the_weight_is_left_at_ln_2_over_the_decay():
    level = blur_in_degrees(701, decay=math.log(2) / 1.5)
    weight = fovea_weight(701, 701, decay=level.decay)
    assert float(weight[350, 350 + 150]) == pytest.approx(0.5, abs=1e-3)
    assert torch.equal(weight, weight.T)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: image_degrees(0, 60), "side of the image is 0"),
        (lambda: image_degrees(10, -1), "screen distance is -1"),
        (lambda: blur_in_degrees(224, sigma=0), "sigma is 0"),
        (lambda: blur_in_degrees(224, sigma=1e-9), "must be at least 0.0001"),
        (lambda: blur_in_degrees(224, decay=math.inf), "decay per degree is inf"),
        (lambda: blur_in_degrees(224, degrees=math.nan), "visual angle is nan"),
        (lambda: blur_in_degrees(1), "image size is 1"),
        (lambda: blur_in_degrees(224, fixation=(4, 0)), "4 and 0 degrees down and right from the centre, lies outside"),
    ],
)
def test_what_is_out_of_range_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_default_widths_keep_the_published_proportion():
    assert default_widths(224) == (51, 6)
    assert default_widths(448) == (101, 12)
    assert default_widths(96) == (21, 2)
    for size in range(1, 400):
        width, step = default_widths(size)
        assert width % 2 == 1
        assert step % 2 == 0
        assert Blur(width - step).width >= 1


def test_options_make_a_ladder_in_pixels_or_in_degrees():
    assert BlurOptions().levels(224) == (Blur(45), Blur(51), Blur(57))
    linear = BlurOptions(width=13, step=4, foveation=Foveation("linear"))
    assert linear.levels(96) == tuple(Blur(w, "linear") for w in (9, 13, 17))
    assert BlurOptions(widths=(9, 1, 5, 9), foveation=Foveation(fixation=(3, 4))).levels(96) == tuple(
        Blur(w, fixation=(3, 4)) for w in (1, 5, 9)
    )
    assert BlurOptions(width=3, step=4).levels(96) == (Blur(3), Blur(7))
    in_degrees = Foveation(sigma_degrees=(0.5, 0.25), screen=(7, 60), decay_per_degree=1, fixation_degrees=(1, 0))
    degrees = image_degrees(7, 60)
    assert BlurOptions(foveation=in_degrees).levels(224) == tuple(
        blur_in_degrees(224, s, 1, degrees, (1, 0)) for s in (0.25, 0.5)
    )
    assert [level.width for level in BlurOptions(foveation=Foveation(image_degrees=7)).levels(224)] == [45, 51, 57]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (BlurOptions(widths=(5,), width=7), "both widths and a width"),
        (BlurOptions(step=3), "step is 3"),
        (BlurOptions(width=8), "blur width is 8"),
        (BlurOptions(foveation=Foveation("cubic")), "blur curve 'cubic' is unknown"),
        (BlurOptions(width=7, foveation=Foveation(sigma_degrees=(0.5,))), "in degrees and in pixels"),
        (BlurOptions(foveation=Foveation(decay=2, sigma_degrees=(0.5,))), "in degrees and in pixels"),
        (BlurOptions(foveation=Foveation("linear", image_degrees=7)), "'linear' has no form in degrees"),
        (BlurOptions(foveation=Foveation(image_degrees=7, screen=(7, 60))), "both screen and image_degrees"),
        (BlurOptions(foveation=Foveation(image_degrees=-7)), "visual angle is -7"),
        (BlurOptions(foveation=Foveation(image_degrees=0)), "visual angle is 0"),
        (BlurOptions(foveation=Foveation(sigma_degrees=(0,))), "sigma is 0"),
    ],
)
def test_options_that_make_no_ladder_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        options.levels(96)


# Presets and training

IN_DEGREES = Foveation(sigma_degrees=(0.2, 0.4, 0.3), screen=(7, 57), fixation_degrees=(1, -0.5))


def test_presets_without_options_are_what_they_were():
    """The description of a model, and so its identity, and the names in a store."""
    fields = {"curve": "exponential", "decay": 3.0, "strength": 1.0, "sigma": None, "fixation": None, "kind": "blur"}
    ladder = [{"width": width, **fields} for width in (45, 51, 57)]
    assert preset("ubp").to_dict()["ladder"] == preset("ubp", 51, 6, Foveation(), 224).to_dict()["ladder"] == ladder
    assert preset("blur").to_dict()["ladder"] == ladder[1:2]
    assert preset("uniform-blur").to_dict()["ladder"] == [ladder[1] | {"curve": "uniform"}]
    half = [level | {"strength": 0.5} for level in ladder]
    assert preset("official").to_dict()["ladder"] == [half[0], half[0], half[1]]
    assert preset("blur", 3, 6).base == Blur(3)


@pytest.mark.parametrize("name", PRESETS)
def test_foveation_reaches_every_foveated_blur_of_a_preset(name):
    foveation = Foveation("logarithmic", 5.0, (10, 20))
    plain, made = preset(name, 13, 4), preset(name, 13, 4, foveation)
    for before, after in zip(stored_levels(plain.ladder), stored_levels(made.ladder), strict=True):
        if isinstance(before, Blur) and before.width > 1 and before.curve != "uniform":
            assert after == replace(before, curve="logarithmic", decay=5.0, fixation=(10, 20))
        else:
            assert after == before
    assert Preset.from_dict(json.loads(json.dumps(made.to_dict()))) == made


@pytest.mark.parametrize("size", [96, 224])
def test_presets_in_degrees(size):
    less, base, more = (
        blur_in_degrees(size, sigma, degrees=image_degrees(7, 57), fixation=(1, -0.5)) for sigma in (0.2, 0.3, 0.4)
    )
    made = {name: preset(name, foveation=IN_DEGREES, size=size) for name in PRESETS}
    assert made["ubp"].ladder == (less, base, more)
    assert made["blur"].ladder == (base,)
    assert made["official"].ladder == tuple(replace(blur, strength=0.5) for blur in (less, less, base))
    assert made["uniform-blur"].base == Blur(base.width, "uniform", sigma=base.sigma)
    assert made["low-resolution"].base == preset("low-resolution", base.width).base
    assert made["vanilla"].base == Blur(1)
    alone = replace(IN_DEGREES, sigma_degrees=(0.3,))
    assert preset("blur", foveation=alone, size=size).base == base


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ubp", {"width": 13, "foveation": IN_DEGREES, "size": 96}, "in degrees and in pixels"),
        ("ubp", {"foveation": replace(IN_DEGREES, sigma_degrees=(0.3,)), "size": 96}, "one sigma in degrees"),
        ("blur", {"foveation": replace(IN_DEGREES, sigma_degrees=(0.3, 0.4)), "size": 96}, "There are 2 sigmas"),
        ("blur", {"foveation": IN_DEGREES}, "give the size"),
        ("blur", {"foveation": replace(IN_DEGREES, fixation_degrees=(9, 0)), "size": 96}, "lies outside the image"),
        ("blur", {"width": 13, "foveation": Foveation("cubic")}, "'cubic' is unknown"),
    ],
)
def test_presets_that_make_no_ladder_are_refused(name, options, message):
    with pytest.raises(InputError, match=message):
        preset(name, **options)


def test_training_with_another_curve_is_another_model_of_the_same_store(tiny_folder, tmp_path, capsys):
    common = ("--store", tmp_path / "store", "--quiet")
    fitted = ("--preset", "ubp", "--subject", "sub-01", "--epochs", 1, "--batch-size", 20, *common)
    variants = {
        "plain": ("--width", 13),
        "curve": ("--width", 13, "--curve", "linear", "--fixation", 20, 70),
        "degrees": ("--screen", 7, 57, "--sigma-degrees", 0.1, 0.2, 0.15, "--fixation-degrees", -1, 1),
    }
    described = {}
    for name, options in variants.items():
        assert run("train", tiny_folder, "--out", tmp_path / name, *fitted, *options) == 0
        file = tmp_path / name / "intra-subject/sub-01/ubp/seed-0/model.json"
        described[name] = Preset.from_dict(json.loads(file.read_text())["preset"])
    assert described["plain"] == preset("ubp", 13)
    assert described["curve"] == preset("ubp", 13, foveation=Foveation("linear", fixation=(20, 70)))
    degrees = Foveation(screen=(7, 57), sigma_degrees=(0.1, 0.15, 0.2), fixation_degrees=(-1, 1))
    assert described["degrees"] == preset("ubp", foveation=degrees, size=GaborEncoder().size)
    (store,) = (tmp_path / "store").iterdir()
    assert {file.stem for file in store.glob("*.npy")} == {
        level.name for made in described.values() for level in made.ladder
    }
    # run again, nothing is done; another curve in the same place is refused; the gallery follows the model
    assert run("train", tiny_folder, "--out", tmp_path / "curve", *fitted, *variants["curve"]) == 0
    message = refused(capsys, "train", tiny_folder, "--out", tmp_path / "curve", *fitted, *variants["plain"])
    assert "of other options" in message
    assert run("evaluate", tmp_path / "curve", "--no-ridge", *common) == 0
    assert "w13-linear-at20x70" in (tmp_path / "curve/results.csv").read_text()
    # `ubp features` finds the same levels
    capsys.readouterr()
    assert run("features", tiny_folder, "--preset", "ubp", *common, *variants["degrees"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    further = ("--widths", 5, "--ladder", 1, 9, 3, "--preset", "vanilla", "--curve", "quadratic")
    assert run("features", tiny_folder, *further, *common) == 0
    added = {file.stem for file in store.glob("*quadratic.npy")}
    assert added == {Blur(width, "quadratic").name for width in (5, 9)}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--curve", "cubic"), "blur curve 'cubic' is unknown"),
        (("--decay", 0), "decay is 0.0, but must be above 0"),
        (("--width", 13, "--fixation", 200, 5), "(200.0, 5.0) lies outside the image of 96 x 96"),
        (("--width", 13, "--sigma-degrees", 0.2), "in degrees and in pixels"),
        (("--sigma-degrees", 0.2, 0.3), "There are 2 sigmas in degrees"),
        (("--screen", 7, 0), "screen distance is 0"),
        (("--curve", "linear", "--image-degrees", 7), "'linear' has no form in degrees"),
    ],
)
@pytest.mark.parametrize("command", ["train", "features"])
def test_bad_options_are_one_sentence_and_leave_nothing(command, arguments, sentence, tiny_folder, tmp_path, capsys):
    places = ("--store", tmp_path / "store", *(("--out", tmp_path / "runs") if command == "train" else ()))
    message = refused(capsys, command, tiny_folder, "--preset", "blur", *places, *arguments, "--quiet")
    assert sentence in message
    assert not list(tmp_path.iterdir())


def test_a_width_cannot_be_added_to_levels_in_degrees(tiny_folder, tmp_path, capsys):
    arguments = ("--image-degrees", 7, "--store", tmp_path / "store", "--quiet")
    for further in (("--widths", 5), ("--ladder", 1, 9, 3)):
        assert "in degrees and in pixels" in refused(capsys, "features", tiny_folder, *further, *arguments)
