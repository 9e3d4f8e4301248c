"""Procedural scenes with the statistics of natural images: cluttered background, one object of a concept in front.

The background is a "dead leaves" picture: shapes with power-law sizes that occlude each other, the simplest image model
with the 1/f amplitude spectrum, the edges and the occlusions of photographs (Lee, Mumford and Huang, "Occlusion models
for natural images", IJCV 2001). The object's outline, colours and texture belong to the concept; its place, size,
rotation, lighting and everything behind it to the image.
"""

import colorsys
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

_CONCEPT, _IMAGE = 101, 102  # so that a concept and an image with the same number share no random numbers
_SUPERSAMPLING = 2
_N_LEAVES = 320
_N_OUTLINE = 96


@dataclass(frozen=True)
class _Concept:
    outline: np.ndarray  # (_N_OUTLINE,) radius at equally spaced angles, largest 1
    aspect: float
    colours: np.ndarray  # (2, 3) in 0..1
    texture: str
    frequency: float  # cycles over the object's radius
    slant: float  # of the texture to the object's axis, radians


def _polygon(rng: np.random.Generator, angle: np.ndarray) -> np.ndarray:
    sides = rng.integers(3, 7)
    return np.cos(np.pi / sides) / np.cos((angle % (2 * np.pi / sides)) - np.pi / sides)


def _star(rng: np.random.Generator, angle: np.ndarray) -> np.ndarray:
    points, depth = rng.integers(3, 9), rng.uniform(0.3, 0.7)
    ramp = np.abs((angle * points / np.pi) % 2 - 1)
    return 1 - depth * ramp


def _blob(rng: np.random.Generator, angle: np.ndarray) -> np.ndarray:
    orders = np.arange(1, 7)[:, None]
    size = rng.normal(size=(6, 1)) * 0.5 / orders
    return np.exp((size * np.cos(orders * angle + rng.uniform(0, 2 * np.pi, (6, 1)))).sum(0))


def _petals(rng: np.random.Generator, angle: np.ndarray) -> np.ndarray:
    return 0.3 + np.abs(np.cos(rng.integers(2, 6) * angle / 2 + rng.uniform(0, np.pi))) ** rng.uniform(0.5, 2)


def _box(rng: np.random.Generator, angle: np.ndarray) -> np.ndarray:
    power = rng.uniform(0.6, 6)
    return (np.abs(np.cos(angle)) ** power + np.abs(np.sin(angle)) ** power) ** (-1 / power)


def _concept(seed: int) -> _Concept:
    rng = np.random.default_rng([_CONCEPT, seed])
    angle = np.arange(_N_OUTLINE) * (2 * np.pi / _N_OUTLINE)
    names = sorted(OUTLINES)
    outline = OUTLINES[names[rng.integers(len(names))]](rng, angle)
    hue = rng.uniform(size=2)
    value = rng.permutation([rng.uniform(0.2, 0.5), rng.uniform(0.65, 1.0)])
    colours = [colorsys.hsv_to_rgb(h, rng.uniform(0.3, 0.95), v) for h, v in zip(hue, value, strict=True)]
    textures = sorted(TEXTURES)
    return _Concept(
        outline=outline / outline.max(),
        aspect=float(np.exp(rng.uniform(0, 0.8))),
        colours=np.array(colours),
        texture=textures[rng.integers(len(textures))],
        frequency=float(np.exp(rng.uniform(np.log(0.7), np.log(8.0)))),
        slant=float(rng.uniform(0, np.pi)),
    )


def _leaves(rng: np.random.Generator, size: int) -> np.ndarray:
    """Dead leaves in 0..1: the number of shapes with radius above r falls as r ** -2."""
    full = size * _SUPERSAMPLING
    smallest, largest = full / 80, full / 2.5
    share = (np.arange(_N_LEAVES) + rng.uniform(size=_N_LEAVES)) / _N_LEAVES
    radius = (largest**-2 + share * (smallest**-2 - largest**-2)) ** -0.5
    radius = rng.permutation(radius)
    radius[:16] = np.linspace(largest, largest / 4, 16)  # the far layer leaves no hole
    centre = rng.uniform(-0.1 * full, 1.1 * full, (_N_LEAVES, 2))
    stretch = np.exp(rng.uniform(-0.5, 0.5, _N_LEAVES))
    half = np.stack([radius * stretch, radius / stretch], 1)
    corner = np.concatenate([centre - half, centre + half], 1)
    turn = rng.uniform(0, np.pi, _N_LEAVES)
    square = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * half[:, None]
    spin = np.stack([np.stack([np.cos(turn), -np.sin(turn)], -1), np.stack([np.sin(turn), np.cos(turn)], -1)], -2)
    quad = (centre[:, None] + square @ spin.transpose(0, 2, 1)).reshape(_N_LEAVES, 8)
    grey = rng.uniform(0.05, 0.95, (_N_LEAVES, 1))
    tint = rng.normal(size=(1, 3)) * 0.08 + rng.normal(size=(_N_LEAVES, 3)) * 0.08
    colour = [tuple(row) for row in (np.clip(grey + tint, 0, 1) * 255).astype(int).tolist()]
    canvas = Image.new("RGB", (full, full), colour[0])
    draw = ImageDraw.Draw(canvas)
    is_round = (rng.uniform(size=_N_LEAVES) < 0.5).tolist()
    for round_, box, points, fill in zip(is_round, corner.tolist(), quad.tolist(), colour, strict=True):
        if round_:
            draw.ellipse(box, fill=fill)
        else:
            draw.polygon(points, fill=fill)
    return np.asarray(canvas.reduce(_SUPERSAMPLING), np.float32) / 255


def scene(concept_seed: int, image_seed: int, size: int = 96) -> np.ndarray:
    """Draw one image of one concept.

    Parameters
    ----------
    concept_seed : int
        Non-negative; fixes the object's outline, colours and texture.
    image_seed : int
        Non-negative; with `concept_seed` it fixes place, size, rotation, lighting and background.
    size : int
        Height and width in pixels, at least 16.

    Returns
    -------
    ndarray of shape (size, size, 3), uint8

    Raises
    ------
    ValueError
        When a seed is negative or `size` is below 16.
    """
    if size < 16:
        raise ValueError(f"The size of a scene is {size} pixels; expected at least 16.")
    if concept_seed < 0 or image_seed < 0:
        raise ValueError(f"The seeds of a scene are {concept_seed} and {image_seed}; expected no negative number.")
    concept = _concept(concept_seed)
    rng = np.random.default_rng([_IMAGE, concept_seed, image_seed])
    picture = _leaves(rng, size)

    centre = size / 2 + rng.normal(size=2) * 0.07 * size
    radius = size * rng.uniform(0.28, 0.4)
    turn = rng.normal() * 0.25
    squash = concept.aspect**0.5
    angle = np.arange(_N_OUTLINE) * (2 * np.pi / _N_OUTLINE)
    x, y = concept.outline * np.cos(angle) * squash, concept.outline * np.sin(angle) / squash
    outline = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], 1) * radius + centre
    mask = Image.new("L", (size * _SUPERSAMPLING,) * 2)
    ImageDraw.Draw(mask).polygon((outline * _SUPERSAMPLING).ravel().tolist(), fill=255)
    cover = np.asarray(mask.reduce(_SUPERSAMPLING), np.float32)[..., None] / 255

    axis = np.arange(size, dtype=np.float32) + 0.5
    right, down = (axis - centre[0])[None] / radius, (axis - centre[1])[:, None] / radius
    slant = concept.slant + turn
    along, across = right * np.cos(slant) + down * np.sin(slant), down * np.cos(slant) - right * np.sin(slant)
    wave = np.float32(2 * np.pi * concept.frequency)
    mix = TEXTURES[concept.texture](wave * along, wave * across, rng)[..., None].astype(np.float32)
    paint = concept.colours.astype(np.float32)
    light = rng.uniform(0, 2 * np.pi)
    shade = 1 + 0.3 * np.clip(right * np.cos(light) + down * np.sin(light), -1, 1)[..., None]
    body = (paint[0] + mix * (paint[1] - paint[0])) * shade * np.float32(rng.uniform(0.8, 1.1))
    picture = picture + cover * (body - picture)
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def _stripes(along: np.ndarray, across: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 0.5 + 0.5 * np.clip(3 * np.sin(along + rng.uniform(0, 2 * np.pi)), -1, 1)


def _checks(along: np.ndarray, across: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shift = rng.uniform(0, 2 * np.pi, 2)
    return 0.5 + 0.5 * np.clip(4 * np.sin(along + shift[0]) * np.sin(across + shift[1]), -1, 1)


def _dots(along: np.ndarray, across: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shift = rng.uniform(0, 2 * np.pi, 2)
    return np.clip(2 * (np.cos(along + shift[0]) + np.cos(across + shift[1])) - 1, 0, 1)


def _waves(along: np.ndarray, across: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 0.5 + 0.5 * np.sin(along + 1.5 * np.sin(0.5 * across) + rng.uniform(0, 2 * np.pi))


def _rings(along: np.ndarray, across: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 0.5 + 0.5 * np.clip(3 * np.sin(np.hypot(along, across) + rng.uniform(0, 2 * np.pi)), -1, 1)


def _plain(along: np.ndarray, across: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.full(np.broadcast_shapes(along.shape, across.shape), 0.5)


OUTLINES = {"blob": _blob, "box": _box, "petals": _petals, "polygon": _polygon, "star": _star}
TEXTURES = {
    "checks": _checks,
    "dots": _dots,
    "plain": _plain,
    "rings": _rings,
    "stripes": _stripes,
    "waves": _waves,
}
