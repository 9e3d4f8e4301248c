"""From image files to level files: encode what is missing, and never lose a finished block."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from ubp.images.encoders import ImageEncoder
from ubp.images.levels import Level
from ubp.images.partial_rows import PartialRows
from ubp.images.pipeline import Sources, encoded_blocks
from ubp.progress import progress

log = logging.getLogger(__name__)

Compute = Callable[[Path, Mapping[str, Level], Sources, ImageEncoder, int, np.dtype, bool, float], None]
"""Writes ``<level name>.npy`` into a folder: `encode_levels`, or something that does it elsewhere."""


def encode_levels(
    folder: Path,
    levels: Mapping[str, Level],
    sources: Sources,
    encoder: ImageEncoder,
    batch_size: int,
    dtype: np.dtype,
    quiet: bool,
    checkpoint_seconds: float,
) -> None:
    """Write ``<level name>.npy`` into `folder` for every level, through ``folder/work``, continuing what is there.

    Parameters
    ----------
    folder : Path
        Exists, and nobody else writes there.
    levels : mapping of name to Level
    sources : Sources
        Rows of the result are in this order.
    dtype : dtype
        Of the files: float32 or float16.

    Raises
    ------
    InputError
        See `ubp.images.pipeline.encoded_blocks`.
    """
    with growing_levels(folder, levels, sources, encoder, dtype, quiet) as (rows, completed):
        saved = time.monotonic()
        for block in encoded_blocks(sources, levels, encoder, batch_size, dict(rows.done)):
            for name, vectors in block.vectors.items():
                rows.write(name, block.first, vectors)
            rows.reached(block.last)
            completed(block.last)
            if time.monotonic() - saved >= checkpoint_seconds:
                rows.checkpoint()
                saved = time.monotonic()


@contextlib.contextmanager
def growing_levels(
    folder: Path,
    levels: Mapping[str, Level],
    sources: Sources,
    encoder: ImageEncoder,
    dtype: np.dtype,
    quiet: bool,
) -> Iterator[tuple[PartialRows, Callable[[int], None]]]:
    """Level files to fill, and a function that shows how many images are done; a stop keeps the rows reached.

    When the block ends well, the files get their names.
    """
    with contextlib.ExitStack() as stack:
        rows = PartialRows(folder, list(levels), (len(sources), encoder.dim), dtype, stack)
        start = min(rows.done.values())
        if start:
            log.info("Continuing %s after %d of %d images.", folder, start, len(sources))
        bar = stack.enter_context(progress(quiet))
        task = bar.add_task(f"{encoder.name}, {len(levels)} levels", total=len(sources), completed=start)
        try:
            yield rows, lambda images: bar.update(task, completed=images)
            rows.checkpoint()
        except BaseException:
            with contextlib.suppress(OSError):
                rows.checkpoint()
            raise
    rows.publish()
