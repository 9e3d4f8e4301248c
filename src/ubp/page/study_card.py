"""What a study is: its size, and its source, licence and citation."""

from collections.abc import Sequence

from ubp.data.study import Study
from ubp.data.tables import SPLITS
from ubp.page.html import table_html


def about(study: Study, subjects: Sequence[str] | None = None) -> str:
    """The size of a study, or of some of its subjects, and its source, licence and citation."""
    chosen = tuple(subjects or study.subjects)
    shown = {split: {image for name in chosen for image in study.recordings[name].images(split)} for split in SPLITS}
    info = study.info
    rate = "none" if info.sfreq is None else f"{info.sfreq:g} Hz"
    rows = {
        "name": info.name,
        "modality": info.modality,
        "sampling rate": rate,
        "subjects": ", ".join(chosen) + (f" (of {len(study.subjects)})" if subjects else ""),
        "images": ", ".join(f"{len(images)} {split}" for split, images in shown.items()),
    }
    rows |= {key: getattr(info, key) or "not stated" for key in ("description", "source", "licence", "citation")}
    return table_html([{"": key, "study": value} for key, value in rows.items()])
