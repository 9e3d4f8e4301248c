import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sentences import one_sentence
from ubp.errors import InputError
from ubp.images.load import load_image


def colours(height=40, width=60, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_squashed_like_pillow(tmp_path, interpolation):
    image = Image.fromarray(colours())
    expected = np.asarray(image.resize((24, 24), getattr(Image.Resampling, interpolation.upper())))
    loaded = load_image(saved(tmp_path / "a.png", image), 24, interpolation)
    assert loaded.dtype == torch.uint8
    assert loaded.is_contiguous()
    np.testing.assert_array_equal(loaded.permute(1, 2, 0).numpy(), expected)


def test_same_size_changes_nothing(tmp_path):
    pixels = colours(32, 32)
    loaded = load_image(saved(tmp_path / "a.png", Image.fromarray(pixels)), 32)
    np.testing.assert_array_equal(loaded.numpy(), pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_shows_the_image_upright(tmp_path, orientation):
    upright = colours(32, 32)
    stored = {  # how a camera stores an upright scene under each orientation tag
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.png", Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    np.testing.assert_array_equal(load_image(path, 32).numpy(), upright.transpose(2, 0, 1))


def test_16_bit_grey_keeps_its_shades(tmp_path):
    grey = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    loaded = load_image(saved(tmp_path / "a.png", Image.fromarray(grey)), 32).numpy()
    expected = np.round(grey / 65535 * 255)
    for channel in loaded:
        np.testing.assert_array_equal(channel, expected)


def test_transparency_is_laid_on_white(tmp_path):
    pixels = np.dstack([colours(16, 16), np.full((16, 16), 51, np.uint8)])
    loaded = load_image(saved(tmp_path / "a.png", Image.fromarray(pixels)), 16).numpy()
    expected = 0.2 * pixels[..., :3].astype(float) + 0.8 * 255
    assert np.abs(loaded.transpose(1, 2, 0) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "YCbCr"])
def test_every_mode_gives_the_same_flat_colour(tmp_path, mode):
    suffix = ".tif" if mode in ("CMYK", "YCbCr") else ".png"
    path = saved(tmp_path / f"a{suffix}", Image.new("RGB", (20, 10), (255, 255, 255)).convert(mode))
    assert (load_image(path, 8) == 255).all()


def test_palette_with_a_transparent_entry(tmp_path):
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(1, (4, 0, 8, 8))
    path = saved(tmp_path / "a.png", image, transparency=0)
    loaded = load_image(path, 8)
    assert (loaded[:, :, :4] == 255).all()
    assert loaded[:, 0, 7].tolist() == [200, 100, 50]


def test_cmyk_jpeg(tmp_path):
    path = saved(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), (0, 255, 255, 0)))
    red, green, blue = load_image(path, 4)[:, 0, 0].tolist()
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_first_frame_of_an_animation(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    path = saved(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(load_image(path, 4)[:, 0, 0], [255, 0, 0], atol=2)


@pytest.mark.parametrize("side", [(1, 1), (1, 3000), (3000, 1)])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_one_pixel_fills_the_square(tmp_path, suffix, side):
    path = saved(tmp_path / f"a.{suffix}", Image.new("RGB", side, (200, 100, 50)))
    loaded = load_image(path, 24).numpy().astype(int)
    assert loaded.shape == (3, 24, 24)
    assert np.abs(loaded - np.array([200, 100, 50])[:, None, None]).max() <= 2


@pytest.mark.parametrize(("kind", "n_channels"), [(2, 3), (4, 2), (6, 4)])
def test_16_bits_in_colour_or_with_transparency(tmp_path, kind, n_channels):
    row = np.full((5, n_channels), 40000, ">u2")
    if kind != 2:
        row[:, -1] = 65535
    path = tmp_path / "a.png"
    path.write_bytes(png_file(5, 4, 16, kind, b"".join(b"\0" + row.tobytes() for _ in range(4))))
    assert (load_image(path, 4) == 40000 >> 8).all()


@pytest.mark.parametrize(("suffix", "part"), [("jpg", 0.5), ("png", 0.5), ("jpg", 0.9), ("webp", 0.5), ("gif", 0.5)])
def test_truncated_file_is_named(tmp_path, suffix, part):
    path = saved(tmp_path / f"cat.{suffix}", Image.fromarray(colours(200, 200)))
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(InputError, match=f"cat.{suffix} (is truncated|cannot be decoded|is not an image)") as error:
        load_image(path, 24)
    one_sentence(error)


def test_truncated_jpeg_is_said_to_be_truncated(tmp_path):
    path = saved(tmp_path / "cat.jpg", Image.fromarray(colours(200, 200)))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"cat\.jpg is truncated"):
        load_image(path, 24)


def png_file(width: int, height: int, depth: int, kind: int, lines: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_001, 60_000])
def test_gigantic_image_is_refused_before_decoding(tmp_path, side):
    path = tmp_path / "huge.png"
    path.write_bytes(png_file(side, side, 8, 2, b""))
    with pytest.raises(InputError, match=r"huge\.png declares .* 100000000") as error:
        load_image(path, 24)
    one_sentence(error)


def test_gigantic_file_is_refused(tmp_path):
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(2**28 + 1)
    with pytest.raises(InputError, match="more than 256 MB"):
        load_image(path, 24)


def test_bound_is_a_parameter(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(colours(10, 10)))
    with pytest.raises(InputError, match="10 x 10 pixels; at most 99"):
        load_image(path, 4, max_pixels=99)
    assert load_image(path, 4, max_pixels=100).shape == (3, 4, 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"hello" * 100, "is not an image"),
        (b"%!PS-Adobe-3.0", "is not an"),
    ],
)
def test_not_an_image(tmp_path, content, message):
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        load_image(path, 24)
    assert str(path) in one_sentence(error)


def test_folder_is_not_an_image(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_image(tmp_path, 24)


def test_floating_point_pixels_are_refused(tmp_path):
    path = saved(tmp_path / "a.tif", Image.fromarray(np.ones((4, 4), np.float32)))
    with pytest.raises(InputError, match="floating-point"):
        load_image(path, 4)


def test_unknown_interpolation(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(colours(10, 10)))
    with pytest.raises(InputError, match="expected one of bilinear, bicubic"):
        load_image(path, 4, "nearest")


@pytest.mark.filterwarnings("ignore")
def test_random_damage_never_gives_another_error(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "a"
    for suffix in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"):
        buffer = io.BytesIO()
        Image.fromarray(colours(30, 30)).save(buffer, suffix)
        for _ in range(60):
            data = np.frombuffer(buffer.getvalue(), np.uint8).copy()
            where = rng.integers(0, min(len(data), 200), 4)
            data[where] = rng.integers(0, 256, 4)
            path.write_bytes(data.tobytes())
            with contextlib.suppress(InputError):
                assert load_image(path, 8).shape == (3, 8, 8)
