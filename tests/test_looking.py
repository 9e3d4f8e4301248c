"""`ubp blur` and `ubp transforms`: the pixels and numbers that the figures show, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from test_cli import refused, run
from test_plots import texts
from ubp.cli import app
from ubp.commands.looking import MOST_IMAGES, blur, cosines_to_crisp, table3_levels, transforms
from ubp.errors import InputError
from ubp.images.blur import Blur
from ubp.images.blur_options import BlurOptions
from ubp.images.gabor import GaborEncoder
from ubp.images.levels import apply_levels
from ubp.images.load import load_image
from ubp.images.manifest import hash_images
from ubp.images.transforms import TRANSFORMATIONS, Flip, Mosaic, Noise
from ubp.plots import ladder_figure, transforms_figure

PHOTOGRAPHS = Path(__file__).parents[2] / "shared/data/v4/images/210225"


@pytest.fixture
def files(tmp_path):
    random = np.random.default_rng(0)
    paths = [tmp_path / "one.png", tmp_path / "another image with a long name.jpg"]
    for path in paths:
        coarse = random.integers(0, 256, (7, 9, 3), np.uint8)
        Image.fromarray(coarse).resize((90, 70), Image.Resampling.BICUBIC).save(path)
    return paths


def tiles(figure):
    """What each axes with an image shows, by its caption."""
    shown = [(axes.get_title(loc="left"), axes.images[0].get_array()) for axes in figure.axes if axes.images]
    return [(caption, np.asarray(pixels)) for caption, pixels in shown if pixels.ndim == 3]


def test_transforms_shows_what_a_store_of_the_files_would_encode(files, tmp_path):
    figure = transforms(files, tmp_path / "t.png", size=64)
    assert Image.open(tmp_path / "t.png").width > 1000
    levels = table3_levels(15, 2)
    pixels = torch.stack([load_image(path, 64) for path in files])
    expected = apply_levels(pixels, [level for _, level in levels], hash_images(tmp_path, files)).clamp(0, 1)
    shown = tiles(figure)
    assert len(shown) == len(levels) * 2 == (len(TRANSFORMATIONS) + 1) * 2
    for i in range(2):
        for place, (title, _) in enumerate(levels):
            caption, found = shown[i * len(levels) + place]
            np.testing.assert_allclose(found, expected[place, i].permute(1, 2, 0), atol=1e-6)
            assert title in caption
    assert "one.png\nvanilla" in texts(figure)
    assert "another image with …\nvanilla" in texts(figure)


def test_transforms_says_where_chance_left_an_image():
    pixels = torch.zeros(2, 3, 24, 24, dtype=torch.uint8)
    pixels[:, :, :, :12] = 255
    keys = [next(str(i) for i in range(50) if flips(str(i)) is wanted) for wanted in (True, False)]
    figure = transforms_figure(pixels, [("vanilla", Blur(1)), ("flip", Flip())], keys)
    captions = [caption for caption, _ in tiles(figure) if caption.startswith("flip")]
    assert captions == ["flip\nprobability 0.5", "flip\nprobability 0.5\n(unchanged here)"]


def flips(key):
    image = torch.zeros(1, 3, 2, 2)
    image[..., 0] = 1
    return not torch.equal(Flip().apply(image, [key]), image)


def test_blur_shows_every_level_and_what_gabor_loses(files, tmp_path, capsys):
    figure = blur(files, tmp_path / "b.png", options=BlurOptions(widths=(5, 9, 21, 41)))
    assert Image.open(tmp_path / "b.png").width > 1000
    ladder = [Blur(w) for w in (5, 9, 21, 41)]
    pixels = torch.stack([load_image(path, 96) for path in files])
    encoder = GaborEncoder()
    crisp = encoder(pixels / 255).numpy().astype(float)
    shown = tiles(figure)
    assert len(shown) == 10
    lines = figure.axes[10].lines
    for i in range(2):
        for place, level in enumerate(ladder):
            image = level.apply(pixels[i : i + 1] / 255)
            caption, found = shown[5 * i + 1 + place]
            np.testing.assert_allclose(found, image[0].clamp(0, 1).permute(1, 2, 0), atol=1e-5)
            vector = encoder(image)[0].numpy().astype(float)
            cosine = vector @ crisp[i] / np.linalg.norm(vector) / np.linalg.norm(crisp[i])
            assert caption == (
                f"width {level.width} px\nσ {0.15 * (level.width - 1) + 0.5:.1f} px, exponential 3\ncosine {cosine:.3f}"
            )
            assert lines[i].get_xydata()[place] == pytest.approx((level.width, cosine), abs=1e-5)
    assert "weight of the crisp image\nexponential 3" in texts(figure)
    assert "w41-exponential3: cosine to the crisp vector 0." in capsys.readouterr().out


def test_the_crisp_level_loses_nothing_and_more_blur_loses_more(files):
    pixels = torch.stack([load_image(path, 96) for path in files])
    cosines = cosines_to_crisp(pixels, [Blur(w) for w in (1, 3, 7, 13, 25)], ["", ""], GaborEncoder())
    np.testing.assert_allclose(cosines[:, 0], 1, atol=1e-12)
    assert (np.diff(cosines, axis=1) < 0).all()


def test_ladder_of_other_transformations_has_no_weight_map():
    image = torch.randint(0, 256, (1, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    figure = ladder_figure(image, [Mosaic(4)], ["a"])
    assert [text for text in texts(figure) if text] == ["crisp", "mosaic\nblock 4"]
    several = ladder_figure(image, [Noise(), Mosaic(4)], ["a"], np.array([[0.9, 0.8]]), ["file"])
    assert "noise\ndeviation 25\ncosine 0.900" in texts(several)
    assert {"noise25", "mosaic4", "level"} <= set(texts(several))


def test_the_command_lines_give_their_options_on(files, tmp_path, capsys):
    arguments = ("--curve", "linear", "--fixation", 10, 80, "--width", 9, "--step", 4, "--out", tmp_path / "b.svg")
    assert run("blur", *files, *arguments) == 0
    assert "w5-linear-at10x80: cosine" in capsys.readouterr().out
    assert (tmp_path / "b.svg").read_text().startswith("<?xml")
    degrees = ("--screen", 7, 60, "--sigma-degrees", 0.2, 0.4, "--fixation-degrees", 1, -1, "--out", tmp_path / "d.pdf")
    assert run("blur", files[0], *degrees) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert (tmp_path / "d.pdf").read_bytes().startswith(b"%PDF")
    assert run("transforms", files[0], "--size", 48, "--width", 9, "--out", tmp_path / "t.PNG") == 0
    assert {"blur", "transforms"} <= set(app)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("transforms", "text.png"), "text.png is not an image that can be read"),
        (("blur", "text.png"), "text.png is not an image that can be read"),
        (("transforms", "one.png", "absent.png"), "absent.png does not exist"),
        (("transforms", "one.png", "--size", 8), "The size is 8 pixels; expected 16 to 1024"),
        (("transforms", "one.png", "--size", 5000), "The size is 5000 pixels; expected 16 to 1024"),
        (("transforms", "one.png", "--width", 12), "width 12 and step 6 makes no ladder"),
        (("transforms", "one.png", "--out", "figure.docx"), "expected a name that ends in .png, .pdf, .svg"),
        (("transforms", *["one.png"] * (MOST_IMAGES + 1)), f"There are {MOST_IMAGES + 1} images; expected 1 to"),
        (("blur",), "IMAGES requires an argument"),
        (("blur", "one.png", "--width", 8), "blur width is 8, but must be an odd whole number"),
        (("blur", "one.png", "--curve", "cubic"), "blur curve 'cubic' is unknown"),
        (("blur", "one.png", "--fixation", 200, 5), "(200.0, 5.0) lies outside the image of 96 x 96"),
        (("blur", "one.png", "--encoder", "gabour"), "'gabour' is unknown"),
        (("blur", "one.png", "--screen", 0, 60), "side of the image is 0"),
        (("blur", "one.png", "--width", 9, "--image-degrees", 7), "options in degrees and in pixels"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_figure(arguments, sentence, files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("text.png").write_text("no image")
    before = set(tmp_path.iterdir())
    assert sentence in refused(capsys, *arguments)
    assert set(tmp_path.iterdir()) == before


def test_an_encoder_without_a_direction_is_refused():
    class Silent(GaborEncoder):
        def __call__(self, pixels):
            return torch.zeros(len(pixels), 4)

    with pytest.raises(InputError, match="gives no direction for one of the images"):
        cosines_to_crisp(torch.zeros(1, 3, 96, 96, dtype=torch.uint8), [Blur(3)], [""], Silent())


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="the V4 photographs are not there")
def test_real_photographs(tmp_path):
    paths = [PHOTOGRAPHS / f"{number:04d}.jpg" for number in (3, 400, 901)]
    figure = blur(paths, tmp_path / "b.png")
    captions = [caption for caption, _ in tiles(figure) if "cosine" in caption]
    cosines = np.array([float(caption.rsplit(" ", 1)[1]) for caption in captions]).reshape(3, 3)
    assert (np.diff(cosines, axis=1) < 0).all()
    assert ((cosines > 0.5) & (cosines < 1)).all()
    assert len(tiles(transforms(paths, tmp_path / "t.png"))) == 36
