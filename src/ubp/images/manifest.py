"""What a feature store holds, as JSON, and the key that follows from it."""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ubp.errors import InputError
from ubp.files import digest, read_json
from ubp.images.encoders import ImageEncoder
from ubp.images.load import read_image_bytes

MANIFEST = "manifest.json"

# Code version of load, of blur and the other transformations, and of normalise. Raise it when their
# results change, so that no older vector is found again.
TRANSFORM_VERSION = 1

_READERS = 8
_CHUNK = 1024
_KEYS = {"key": str, "transform": int, "encoder": dict, "dim": int, "dtype": str, "images": dict}
_ENCODER_KEYS = {"name": str, "fingerprint": str, "size": int, "interpolation": str}


def make_manifest(images: Mapping[str, str], encoder: ImageEncoder, dtype: str = "float32") -> dict[str, Any]:
    """Manifest of a store: `images` (name to SHA-256 of the file), encoder, transform version, dim, dtype, key."""
    content: dict[str, Any] = {
        "transform": TRANSFORM_VERSION,
        "encoder": {name: getattr(encoder, name) for name in _ENCODER_KEYS},
        "dim": encoder.dim,
        "dtype": dtype,
        "images": dict(images),
    }
    return {"key": content_key(content)} | content


def content_key(manifest: Mapping[str, Any]) -> str:
    """Digest of all that changes the vectors, 32 hex digits.

    The encoder's name is left out: the same weights under another file name are the same encoder.
    """
    encoder, images = manifest["encoder"], manifest["images"]
    recipe = [
        *(manifest[name] for name in ("transform", "dim", "dtype")),
        *(encoder[name] for name in _ENCODER_KEYS if name != "name"),
    ]
    pairs = [part for name in sorted(images) for part in (name, images[name])]
    return digest(*map(str, recipe), *map(str, pairs))[:32]


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest and check it against its own key.

    Raises
    ------
    InputError
        When it is absent, lacks a value, is of another version, or does not belong to its key.
    """
    manifest = read_json(path, "the manifest of a feature store")
    repair = "delete the folder and build the store again"
    version = manifest.get("transform")
    if isinstance(version, int) and (version != TRANSFORM_VERSION or "dtype" not in manifest):
        raise InputError(
            f"{path} was written by another version of ubp (transform {version}, expected {TRANSFORM_VERSION} and a "
            f"dtype); {repair}."
        )
    for content, keys in ((manifest, _KEYS), (manifest.get("encoder"), _ENCODER_KEYS)):
        for key, kind in keys.items():
            if not isinstance(content, dict) or not isinstance(content.get(key), kind):
                raise InputError(f"{path} has no valid {key!r}; expected the manifest of a feature store, {repair}.")
    if manifest["key"] != content_key(manifest):
        raise InputError(f"{path} does not describe the content that its key stands for; {repair}.")
    return manifest


def hash_images(folder: Path, images: Sequence[str]) -> list[str]:
    """Hex SHA-256 of the bytes of every file.

    Raises
    ------
    InputError
        When a file is missing, empty, or beyond the bound of `ubp.images.load`.
    """

    def hashed(image: str) -> str:
        return hashlib.sha256(read_image_bytes(folder / image)).hexdigest()

    found: list[str] = []
    with ThreadPoolExecutor(_READERS) as pool:
        for first in range(0, len(images), _CHUNK):  # a million waiting calls would take a gigabyte
            found += pool.map(hashed, images[first : first + _CHUNK])
    return found


DTYPES: dict[str, np.dtype] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}
