"""What the blur prior learned of each training trial: how well it fits its image."""

import pandas as pd

from ubp.data.study import Study
from ubp.errors import InputError
from ubp.held_out import split_training
from ubp.job import Job
from ubp.model import Model
from ubp.prior import Level

COLUMNS = ("place", "subject", "image", "concept", "similarity", "z", "level")


def uncertainty(model: Model, study: Study) -> pd.DataFrame:
    r"""Training trials by how well they fit, the worst first.

    Parameters
    ----------
    model : Model
    study : Study
        The one it was trained on.

    Returns
    -------
    DataFrame
        place (1 for the worst), subject, image, concept, similarity (the moving average of the prior), z (its distance
        from the mean of all, in standard deviations :math:`(s - \mu) / \sigma`), and level: the blur that the pair
        would have next, ``more`` for what fits badly. For rules with places between the levels there is position too,
        from 0 for the least blur, and the level is the nearest, by its side of the middle. A row is what trained as
        one pair: the mean of an image's repetitions.

    Raises
    ------
    InputError
        When the model has no prior, was trained on shuffled pairs, or on another study.
    """
    about = model.description
    if not model.prior:
        raise InputError(
            f"The model of {about.subject} was trained with the preset {about.preset.name!r}, which has one blur for "
            "all pairs and so no uncertainty; train one with --preset ubp or official."
        )
    if about.options.shuffle_pairs:
        raise InputError(
            f"The model of {about.subject} was trained on shuffled pairs, so its fits say nothing of the images; "
            "choose one that was not."
        )
    if study.fingerprint(sorted({about.subject, *about.trained_on})) != about.study_fingerprint:
        raise InputError(
            f"The study {study.root} is not the one the model of {about.subject} was trained on ({about.study!r}); "
            "give the right folder with --study."
        )
    everything = Job.of(about).trials(study, "train", average=about.options.average_training)
    trials = split_training(everything, about.options).training
    similarity = model.prior["similarity"].double().numpy()
    if len(similarity) != len(trials):
        raise InputError(
            f"The model of {about.subject} has {len(similarity)} pairs and {study.root} gives {len(trials)}; train "
            "it again."
        )
    table = pd.DataFrame(
        {
            "subject": trials.subjects,
            "image": trials.images,
            "concept": trials.concepts,
            "similarity": similarity,
            "z": (similarity - similarity.mean()) / (similarity.std(ddof=1) or 1.0),
            "level": [Level(level).name.lower() for level in model.prior["level"].tolist()],
        }
    )
    if "position" in model.prior:
        table["position"] = model.prior["position"].double().numpy()
    table = table.sort_values("similarity", kind="stable").reset_index(drop=True)
    table.insert(0, "place", range(1, len(table) + 1))
    return table
