"""The model card: a README.md made of facts alone, with the metadata that the Hugging Face hub reads."""

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ubp.config import BRAVL
from ubp.data.info import StudyInfo, read_info
from ubp.description import Description
from ubp.errors import InputError
from ubp.sharing.places import Repository
from ubp.sheets import markdown_text as text

TAGS = ("brain-decoding", "image-retrieval", "uncertainty-aware-blur-prior")
LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")
UNKNOWN = "not stated"


def check_license(name: str | None) -> None:
    """Check that a licence is written as the hub writes them.

    Raises
    ------
    InputError
        When it is not.
    """
    if name is not None and not LICENSE.fullmatch(name):
        raise InputError(
            f"The license is {name[:80]!r}; expected an identifier in lower case as the Hugging Face hub has them, "
            "such as cc-by-4.0, apache-2.0 or other."
        )


def study_info(about: Description) -> StudyInfo | None:
    """What the study says of itself, if it still lies where the model was trained."""
    if about.study_path is None:
        return None
    try:
        info = read_info(Path(about.study_path) / "dataset.json")
    except InputError:
        return None
    return info if info.name == about.study else None


def model_card(
    about: Description,
    target: object = "",
    *,
    license: str | None = None,
    info: StudyInfo | None = None,
    evaluations: Sequence[dict[str, Any]] = (),
    calibration_concepts: int = 0,
) -> str:
    """The card of a model.

    Parameters
    ----------
    about : Description
        Without places, see :func:`ubp.sharing.portable.portable`.
    target : Repository or path
        Where it is pushed to.
    license : str, optional
        Identifier, for the metadata.
    info : StudyInfo, optional
        Of the study.
    evaluations : sequence of dict
        Of :func:`ubp.sharing.evaluated.evaluations`.
    calibration_concepts : int
        Concepts that the prediction sets are calibrated on; 0 where there is no calibration.

    Returns
    -------
    str
        Markdown, with metadata in YAML between two lines of dashes.
    """
    parts = [
        _metadata(license, info),
        f"# {text(about.method)}, {text(about.study)}, {text(about.subject)}",
        _what(about),
        "## Facts",
        _table(_facts(about, info)),
        "## Evaluation",
        *(
            map(_evaluation, evaluations)
            if evaluations
            else ["This model was not evaluated when the card was written."]
        ),
        "## Use",
        _use(about, target, calibration_concepts),
        "## Intended use and limits",
        _limits(about, calibration_concepts),
        "## Options of training",
        _table({name: str(value) for name, value in dataclasses.asdict(about.options).items()}),
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(license: str | None, info: StudyInfo | None) -> str:
    tags = [*TAGS, *([info.modality] if info else [])]
    lines = ["library_name: ubp", *([f"license: {json.dumps(license)}"] if license else []), "tags:"]
    return "\n".join(["---", *lines, *(f"- {json.dumps(tag)}" for tag in tags), "---"])


def _what(about: Description) -> str:
    kind = (
        "A variational autoencoder of brain and image features (BraVL)"
        if about.options.kind == BRAVL
        else f"A brain encoder ({text(about.options.brain_encoder)}) trained to match a frozen image encoder"
    )
    control = " **This is a control: its pairs of signal and image were shuffled.**"
    return (
        f"{kind}, to find the image that a person saw among others from a recording of brain activity. Made with "
        "[ubp](https://arxiv.org/abs/2503.04207), software for the Uncertainty-aware Blur Prior (Wu et al., CVPR 2025)."
        f"{control if about.options.shuffle_pairs else ''}"
    )


def _facts(about: Description, info: StudyInfo | None) -> dict[str, str]:
    rate = "none" if about.sfreq is None else f"{about.sfreq:g} Hz"
    first = "" if about.tmin is None else f", from {about.tmin:g} s after image onset"
    ladder = ", ".join(level.name for level in about.preset.ladder)
    facts = {
        "study": about.study,
        "licence of the study": (info.licence if info else "") or UNKNOWN,
        "citation of the study": (info.citation if info else "") or UNKNOWN,
        "modality": info.modality if info else UNKNOWN,
        "setting": about.setting,
        "subject it is for": about.subject,
        "subjects trained on": ", ".join(about.trained_on),
        "channels": f"{len(about.channels)}: {', '.join(about.channels)}",
        "samples per second": rate,
        "window": f"{about.n_times} samples{first}",
        "scaling": "each channel to mean 0 and deviation 1 of training" if about.options.standardise else "none",
        "training pairs, images": f"{about.n_pairs}, {about.n_images}",
        "preset": about.preset.name,
        "blur or transformation of the images": ladder,
        "image encoder": about.vision_encoder,
        "fingerprint of the image encoder": about.vision_fingerprint,
        "length of an image vector": str(about.embed_dim),
        "seed": str(about.seed),
        "trained with": ", ".join(f"{name} {version}" for name, version in about.versions.items()),
    }
    if about.text_dim:
        facts["fingerprint of the text features"] = str(about.text_fingerprint)
    return facts


def _evaluation(row: dict[str, Any]) -> str:
    """One evaluation: its protocol in a sentence, and a table of scores."""
    names = [name.removesuffix("_chance") for name in row if name.endswith("_chance")]
    lines = ["| score | % | 95 % interval | chance % |", "| :--- | ---: | ---: | ---: |"]
    for name in names:
        score, low, high, by_chance = (
            f"{100 * float(row[f'{name}{end}']):.1f}" for end in ("", "_low", "_high", "_chance")
        )
        lines.append(f"| {text(name.replace('_', ' '))} | {score} | {low} to {high} | {by_chance} |")
    said = {key: text(str(row[key])) for key in ("protocol", "queries", "subject", "query", "gallery_level")}
    sentence = (
        f"Protocol: {said['protocol']}; {said['queries']} queries of {said['subject']}, each a {said['query']} "
        f"({float(row['repetitions']):g} repetitions), among {row['gallery_size']} in the gallery at level "
        f"{said['gallery_level']}. Intervals are bootstrapped over images, for this one model."
    )
    return sentence + "\n\n" + "\n".join(lines)


def _use(about: Description, target: object, calibration_concepts: int) -> str:
    source = str(target) if isinstance(target, Repository) else "WHERE-THIS-LIES"
    encoder = text(about.vision_encoder)
    certain = "`found.probability`, and `found.members(0.9)` for sets," if calibration_concepts else "Ranks and cosines"
    return f"""```bash
ubp pull {source} --out model
ubp retrieve model --signals new-epo.fif --gallery photos --average
```

```python
from ubp.retrieve import Retriever

retriever = Retriever.load("model", "photos")
found = retriever.retrieve("new-epo.fif", average=True)
print(found.table(top=5))
```

Signals need the channels above, by name; rate and window are adapted. Images are embedded by {encoder}; if that is
no published encoder, say where its file is with `--encoder`. {certain} come with the answer."""


def _limits(about: Description, calibration_concepts: int) -> str:
    who = "the subject" if len(about.trained_on) == 1 else "the subjects"
    promise = (
        f"Its prediction sets are calibrated on {calibration_concepts} concepts held out of training; their promise "
        "holds for queries like those."
        if calibration_concepts
        else "It gives no probabilities and no prediction sets, because no concepts were held out to calibrate them."
    )
    named = "; the calibration names the images and concepts held out" if calibration_concepts else ""
    sentences = [
        "For research on how brains see images. It ranks images that it is given, and makes none.",
        f"It was fitted to {who} named above, in the recordings of one study. For another person, cap, task or "
        "laboratory nothing is promised but what an evaluation there shows.",
        "It is no medical device, and no evidence about a person. Use it on recordings whose owners agreed to that.",
        promise,
        f"The files name the subjects, the channels and the study, but no place on the machine that trained it{named}.",
    ]
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _table(facts: dict[str, str]) -> str:
    rows = [f"| {text(name)} | {text(value)} |" for name, value in facts.items()]
    return "\n".join(["| | |", "| :--- | :--- |", *rows])
