"""The method as a scikit-learn estimator: signals and image features in, retrieval scores out."""

from collections.abc import Sequence
from dataclasses import fields
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin, clone
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, validate_data

from ubp.array_vectors import ArrayVectors, image_name
from ubp.config import BRAVL, TrainOptions
from ubp.data.trials import Trials
from ubp.errors import InputError
from ubp.measures import measure as named_measure
from ubp.metrics import cosine_similarity
from ubp.metrics import unit as unit_rows
from ubp.presets import Preset
from ubp.presets import preset as named_preset
from ubp.results import RIDGE
from ubp.retrieval_scores import RetrievalMixin
from ubp.ridge import ALPHAS, RidgeBaseline

if TYPE_CHECKING:
    from torch import Tensor

    from ubp.brain.base import SignalEncoder
    from ubp.trainer import HistoryRow


class BrainImageRetriever(RetrievalMixin, MultiOutputMixin, RegressorMixin, BaseEstimator):
    r"""Find the image that was seen, from a brain signal.

    A brain encoder `f` is fitted to the features of the images by a contrastive loss. An image `v` is ranked by

    .. math:: s(x, v) = \cos(f(x), v)

    among the images that `y` holds, so in cross-validation over concepts the gallery is the held-out images, none of
    which was trained on, and top-1 accuracy by chance is ``1 / n_gallery`` (see :meth:`chance`).

    `X` has the shape (n_trials, n_channels, n_times), or (n_trials, n_features) with one sample of each channel, which
    is what :class:`mne.decoding.SlidingEstimator` gives. `y` says what each trial saw:

    - its image's features, (n_trials, embed_dim); trials with equal rows saw the same image;
    - these at three levels of increasing blur, (n_trials, 3, embed_dim): then the blur of each pair adapts to how well
      it fits, and images are ranked by the middle level;
    - or the row of its image in `image_features`, (n_trials,), for tools that take one target a trial, as those of mne.

    Parameters
    ----------
    brain_encoder : str
        See :class:`ubp.config.TrainOptions`; or `ridge`, linear regression that takes a fraction of a second and
        ignores the other options of training.
    image_features : array of shape (n_images, embed_dim) or (n_levels, n_images, embed_dim), optional
        Features of all images, held-out ones too, of which `y` holds rows. Clones share it.
    preset : str or Preset, optional
        How the blur adapts; by default `ubp` with three levels, and nothing with one. Its own levels do not matter, as
        the features are given; their number does.
    epochs, batch_size, learning_rate, weight_decay, precision, standardise, shuffle_pairs, loss, beta1 : optional
        As in :class:`ubp.config.TrainOptions`.
    validation_concepts, patience : int
        As there: concepts taken out of the trials that are fitted, to choose the epoch.
    average_training : bool
        Average the trials that saw the same image before they are trained on, if one subject's.
    ridge_alphas : sequence of float
        Penalties of ridge regression; of several the best is chosen by cross-validation over concepts.
    sfreq : float, optional
        Samples per second, in Hz, for brain encoders that want to know.
    metric : str
        What :meth:`score` gives, see :func:`ubp.measures.measure`: top1, top5, mean_reciprocal_rank, ...
    random_state : int, RandomState or None
        An int gives the same result each time, and that of ``ubp train --seed`` with it.
    device : str, optional
        Where it is trained: cuda, mps or cpu; by default the first there is. A fitted estimator lies on the CPU.

    Attributes
    ----------
    n_features_in_ : int
        Channels, or features.
    n_times_ : int or None
        Samples of a trial; None when X has two dimensions.
    embed_dim_ : int
    encoder_ : BrainEncoder or RidgeBaseline
    scale_ : (Tensor, Tensor)
        Mean and deviation of each channel; not of ridge.
    history_ : list of dict
        One row an epoch; empty of ridge.
    prior_ : dict of str to Tensor
        Final state of the blur prior; empty without.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import GroupKFold, cross_val_score
    >>> random = np.random.default_rng(0)
    >>> features = random.standard_normal((30, 8))
    >>> signals = (features @ random.standard_normal((8, 20))).reshape(30, 4, 5)
    >>> retriever = BrainImageRetriever("ridge")
    >>> cross_val_score(retriever, signals, features, groups=np.arange(30), cv=GroupKFold(3)).tolist()
    [1.0, 1.0, 1.0]

    Notes
    -----
    Wu et al., "Bridging the Vision-Brain Gap with an Uncertainty-Aware Blur Prior", CVPR 2025. All trials are taken to
    be of one subject; models of several subjects, and BraVL, are trained by ``ubp train``.
    """

    def __init__(
        self,
        brain_encoder: str = "eegproject",
        *,
        image_features: np.ndarray | None = None,
        preset: str | Preset | None = None,
        epochs: int = 50,
        batch_size: int = 1024,
        learning_rate: float = 1e-4,
        weight_decay: float = 1e-4,
        precision: str = "fp32",
        standardise: bool = True,
        validation_concepts: int = 0,
        patience: int = 0,
        shuffle_pairs: bool = False,
        loss: str = "ubp",
        beta1: float = 0.9,
        average_training: bool = False,
        ridge_alphas: Sequence[float] = ALPHAS,
        sfreq: float | None = None,
        metric: str = "top1",
        random_state: int | np.random.RandomState | None = 0,
        device: str | None = None,
    ) -> None:
        self.brain_encoder = brain_encoder
        self.image_features = image_features
        self.preset = preset
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.precision = precision
        self.standardise = standardise
        self.validation_concepts = validation_concepts
        self.patience = patience
        self.shuffle_pairs = shuffle_pairs
        self.loss = loss
        self.beta1 = beta1
        self.average_training = average_training
        self.ridge_alphas = ridge_alphas
        self.sfreq = sfreq
        self.metric = metric
        self.random_state = random_state
        self.device = device

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output = False
        tags.input_tags.three_d_array = True
        tags.regressor_tags.poor_score = True
        return tags

    def __sklearn_clone__(self) -> "BrainImageRetriever":
        parameters = {name: clone(value, safe=False) for name, value in self._own_parameters().items()}
        return type(self)(**parameters, image_features=self.image_features)

    def _own_parameters(self) -> dict[str, Any]:
        return {name: value for name, value in self.get_params(deep=False).items() if name != "image_features"}

    def fit(self, X: Any, y: Any, concepts: Any = None) -> "BrainImageRetriever":
        """Fit the brain encoder.

        Parameters
        ----------
        X : array of shape (n_trials, n_channels, n_times) or (n_trials, n_features)
        y : array of shape (n_trials, embed_dim), (n_trials, n_levels, embed_dim) or (n_trials,)
            What each trial saw.
        concepts : array of shape (n_trials,), optional
            Concept of each trial's image; by default every image is one. They say what is taken out together for
            validation, and to choose the penalty of ridge regression.

        Raises
        ------
        ValueError
            When X or y has another shape, another number of trials, or holds NaN or infinity.
        InputError
            When a parameter is out of its range, or the signals do not suit the brain encoder.
        """
        named_measure(self.metric)
        signals = self._signals(X, reset=True)
        rows, vectors = self._seen(y, signals)
        names = rows if concepts is None else check_array(concepts, ensure_2d=False, dtype=None, input_name="concepts")
        check_consistent_length(signals, names)
        if names.ndim != 1:
            raise InputError(f"concepts has shape {names.shape}; expected (n_trials,).")
        trials = Trials(
            signals,
            tuple(image_name(row) for row in rows),
            tuple(map(str, names)),
            ("",) * len(signals),
            np.ones(len(signals), np.int64),
            tuple(map(str, range(signals.shape[1]))),
            self.sfreq,
        )
        if self.average_training:
            trials = trials.averaged()
        self.embed_dim_ = vectors.base.shape[1]
        self.history_: list[HistoryRow] = []
        self.prior_: dict[str, Tensor] = {}
        self.scale_: tuple[Tensor, Tensor] | None = None
        self.encoder_: RidgeBaseline | SignalEncoder
        if self.brain_encoder == RIDGE:
            seen = vectors.base[[int(image) for image in trials.images]]
            self.encoder_ = RidgeBaseline(tuple(self.ridge_alphas)).fit(trials.signals, seen, trials.concepts)
        else:
            self._train(trials, vectors)
        return self

    def _train(self, trials: Trials, vectors: ArrayVectors) -> None:
        from ubp.device import pick_device
        from ubp.fit import Trainer
        from ubp.held_out import split_training
        from ubp.job import Job
        from ubp.training_data import image_pairs, scale_signals, validation_gallery

        given = self.get_params(deep=False)
        options = TrainOptions(**{one.name: given[one.name] for one in fields(TrainOptions) if one.name in given})
        if options.kind == BRAVL:
            raise InputError("bravl is not an estimator of image features; train it with `ubp train --method bravl`.")
        job = Job("", self._preset(len(vectors.ladder_of_all)), options, self._seed())
        parts = split_training(trials, options)
        scale = scale_signals(parts.training, options.standardise)
        gallery = (
            validation_gallery(parts.validation, vectors, job, scale, parts.training) if parts.validation else None
        )
        pairs = image_pairs(parts.training, vectors, job)
        trainer = Trainer(pairs, job.preset, options, job.seed, gallery, pick_device(self.device))
        trainer.run()
        self.encoder_, self.scale_, self.history_ = trainer.encoder.cpu().eval(), scale, trainer.history
        if trainer.prior:
            self.prior_ = {name: tensor.cpu() for name, tensor in trainer.prior.state_dict().items()}

    def predict(self, X: Any) -> np.ndarray:
        """Image features that the signals tell of.

        Parameters
        ----------
        X : array as in :meth:`fit`

        Returns
        -------
        array of shape (n_trials, embed_dim), float64
            Of unit length; of ridge regression its prediction as it is.
        """
        query, centre = self._queries(X)
        found = query + centre if self.brain_encoder == RIDGE else unit_rows(query)
        return found.astype(np.float64)

    def similarity(self, X: Any, gallery: Any) -> np.ndarray:
        """Cosine of every trial with every image; of ridge regression after the training mean is taken from both.

        Parameters
        ----------
        X : array as in :meth:`fit`
        gallery : array of shape (n_gallery, embed_dim)

        Returns
        -------
        array of shape (n_trials, n_gallery), float32
        """
        query, centre = self._queries(X)
        gallery = ArrayVectors.of(check_array(gallery, input_name="gallery"), "gallery").base
        if gallery.shape[1] != self.embed_dim_:
            raise InputError(f"The images have {gallery.shape[1]} features; expected {self.embed_dim_}, as in fitting.")
        return cosine_similarity(query, gallery - centre)

    def _seed(self) -> int:
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _preset(self, n_levels: int) -> Preset:
        chosen = self.preset or ("ubp" if n_levels > 1 else "vanilla")
        chosen = named_preset(chosen) if isinstance(chosen, str) else chosen
        if len(chosen.ladder) != n_levels:
            raise InputError(
                f"The image features have {n_levels} level{'s' if n_levels > 1 else ''} and the preset "
                f"{chosen.name!r} has {len(chosen.ladder)}; choose another preset, or leave it out."
            )
        if chosen.n_vectors > 1:
            raise InputError(
                f"The preset {chosen.name!r} mixes several blurs, and image features hold one vector a level; choose "
                "another preset, or leave it out."
            )
        return chosen

    def _signals(self, X: Any, reset: bool = False) -> np.ndarray:
        """A copy of the signals, float32 of shape (n_trials, n_channels, n_times)."""
        smallest = 2 if reset else 1
        X = validate_data(self, X, reset=reset, dtype=np.float32, allow_nd=True, ensure_min_samples=smallest, copy=True)
        if X.ndim > 3:
            raise InputError(
                f"X has shape {X.shape}; expected (n_trials, n_channels, n_times) or (n_trials, n_features)."
            )
        n_times = X.shape[2] if X.ndim == 3 else None
        if reset:
            self.n_times_ = n_times
        elif n_times != self.n_times_:
            expected = f"{self.n_times_} samples" if self.n_times_ else "two dimensions"
            raise InputError(f"X has shape {X.shape}; expected {expected}, as in fitting.")
        return X if X.ndim == 3 else X[:, :, None]

    def _queries(self, X: Any) -> tuple[np.ndarray, np.ndarray | float]:
        """Embeddings of the signals, and what is to be taken from image features before they are compared with them."""
        check_is_fitted(self)
        signals = self._signals(X)
        if isinstance(self.encoder_, RidgeBaseline):
            return self.encoder_.predict(signals), self.encoder_.vision_mean_
        import torch

        from ubp.trainer import embed

        assert self.scale_ is not None
        mean, deviation = self.scale_
        known = torch.zeros(len(signals), dtype=torch.int64)
        return embed(self.encoder_, (torch.from_numpy(signals) - mean) / deviation, known), 0.0
