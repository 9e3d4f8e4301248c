"""Put the page together."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ubp.config import unknown
from ubp.data.study import Study
from ubp.data.tables import SPLITS
from ubp.errors import InputError
from ubp.look import sections
from ubp.look.summary import Summary, summarise
from ubp.page.html import note, paragraphs
from ubp.page.save import save_page
from ubp.page.study_card import about

TRAIN = (
    "The signals on this page are those of training trials; no test trial was read. What you see may be used to choose "
    "channels and windows."
)
TEST = (
    "The signals on this page are those of TEST trials. Nothing seen here may be used to choose channels, windows or "
    "models: their accuracy on the same trials would be too good."
)
ONCE = "Test trials may be repeated: `--split test` shows them, on a page that must not be used to choose anything."


def write_look(
    path: Path | str,
    study: Study,
    subjects: Sequence[str] | None = None,
    split: str = "train",
    seed: int = 0,
    on_subject: Callable[[str], None] | None = None,
) -> Path:
    """Write one HTML file about the data that needs nothing else.

    Memory holds one block of trials and a few arrays of the shape of one trial for each subject.

    Parameters
    ----------
    path : path
        The new file, ending in .html; it is complete or absent, and replaces an older one.
    study : Study
    subjects : sequence of str, optional
        By default all.
    split : {"train", "test"}
        Whose signals and images are shown. Test trials are for evaluation: a page of theirs says so.
    seed : int
        Of the halves and of the images shown.
    on_subject : callable, optional
        Called with the name of a subject before its signals are read.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        When a subject or the split is unknown, no subject has a trial in it, a signal is NaN or infinite, an image
        cannot be read, or the name is not that of an HTML file.
    UbpError
        When the disk is full or cannot be written.
    """
    path = Path(path)
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{path} is not the name of a page; expected one that ends in .html.")
    names = tuple(dict.fromkeys(subjects)) if subjects else study.subjects
    have = [name for name in names if (study.recording(name).trials["split"] == split).any()]
    if not have:
        raise InputError(f"{', '.join(names)} in {study.root} have no {split} trial; choose another subject or split.")

    def parts() -> Iterator[tuple[str, str]]:
        summaries: list[Summary] = []
        for name in have:
            if on_subject:
                on_subject(name)
            summaries.append(summarise(study.recording(name), split, seed))
        without = [name for name in names if name not in have]
        hint = paragraphs(
            f"{', '.join(without)}: no {split} trial." if without else "",
            ONCE if split == "train" and any(summary.missing for summary in summaries) else "",
        )
        say = paragraphs(TRAIN) if split == "train" else note(TEST)
        yield "Study", say + hint + about(study, names if subjects else None)
        yield "Trials", sections.trials(study, names)
        yield "Images", sections.images(study, have, split, seed)
        yield "Evoked responses", sections.responses(summaries)
        yield "Topographies over time", sections.topographies(summaries)
        yield "Split-half reliability", sections.reliability(summaries)
        yield "Noise ceiling", sections.ceiling(summaries)
        yield "Trial-to-trial variability", sections.variability(summaries, study.info.modality)

    return save_page(path, f"{study.info.name}: a look at the {split} data", parts())
