"""The other protocol: concepts are ranked by features of their class, not images by their own."""

from pathlib import Path

import numpy as np

from ubp.bravl import BraVL
from ubp.bravl.classes import LatentClassifier
from ubp.data.study import Trials
from ubp.errors import InputError
from ubp.evaluate import Similarity
from ubp.images.features import FeatureStore
from ubp.images.levels import Level
from ubp.metrics import cosine_similarity
from ubp.model import Model
from ubp.text import TextFeatures

CLASS_FEATURES = "class-features"
"""Folder, below that of all runs, of results by this protocol."""


def class_gallery(store: FeatureStore, test: Trials, level: Level) -> tuple[np.ndarray, tuple[str, ...]]:
    """Features of the test concepts: the mean of the unit vectors of each one's distinct test images.

    Returns
    -------
    vision : array of shape (n_concepts, dim), float32
    concepts : tuple of str
        Sorted.
    """
    shown: dict[str, set[str]] = {}
    for image, concept in zip(test.images, test.concepts, strict=True):
        shown.setdefault(concept, set()).add(image)
    concepts = tuple(sorted(shown))
    vision = np.stack([store.vectors(level, sorted(shown[concept])).mean(axis=0) for concept in concepts])
    return vision, concepts


def class_similarity(
    model: Model, vision: np.ndarray, concepts: tuple[str, ...], text: Path | None = None
) -> Similarity:
    """How a model compares a brain embedding with every class of :func:`class_gallery`.

    A contrastive model takes the cosine with the class features. BraVL fits a classifier to latents drawn given them.

    Parameters
    ----------
    model : Model
    vision : array of shape (n_concepts, dim)
    concepts : tuple of str
    text : Path, optional
        Where the model's text features lie now.

    Returns
    -------
    callable
        Brain embeddings (n, d) and embedded class features (n_concepts, d) to scores (n, n_concepts).

    Raises
    ------
    InputError
        When the model's text features are missing, are others, or lack a concept.
    """
    about = model.description
    if not isinstance(model.encoder, BraVL):
        return cosine_similarity
    words = None
    if about.text_dim:
        place = text or about.text
        if place is None:
            raise InputError(
                f"The model of {about.subject} does not say where its text features lie, as it was shared; say that "
                "with --text."
            )
        found = TextFeatures.read(place)
        if found.fingerprint != about.text_fingerprint:
            raise InputError(
                f"{found.path} holds other text features than the model of {about.subject} was trained with; give that "
                "file with --text."
            )
        words = found.select(concepts)
    classifier = LatentClassifier.fit(model.encoder, vision, words, about.seed)
    return lambda brain, _: classifier.scores(brain)
