"""The networks of BraVL: features of each modality to one latent space and back."""

import itertools
from collections.abc import Mapping

from torch import Tensor, nn

from ubp.brain.base import SignalEncoder
from ubp.bravl.gaussians import Gaussian, product_of_experts, standard_normal
from ubp.errors import InputError
from ubp.principal import Features

N_COMPONENTS = 100
LATENT_DIM = 32
HIDDEN_DIM = 256
AUXILIARY_DIM = 512
SCALE = 0.75


class Encoder(nn.Module):
    """Two hidden layers with ReLU, then mean and log variance of the latent.

    It holds ``(n + 1) h + (h + 1) h + 2 (h + 1) d`` parameters for `n` features, `h` hidden units and `d` latent ones.
    """

    def __init__(self, n_features: int, hidden: int = HIDDEN_DIM, latent: int = LATENT_DIM) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.mean = nn.Linear(hidden, latent)
        self.log_variance = nn.Linear(hidden, latent)

    def forward(self, features: Tensor) -> Gaussian:
        """The posterior of the latent given features (n, n_features)."""
        hidden = self.body(features)
        return Gaussian(self.mean(hidden), self.log_variance(hidden))


def decoder(n_features: int, hidden: int = HIDDEN_DIM, latent: int = LATENT_DIM) -> nn.Sequential:
    """Latent to features, the encoder's layers in reverse: ``(d + 1) h + (h + 1) h + (h + 1) n`` parameters."""
    return nn.Sequential(
        nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, n_features)
    )


def auxiliary(n_features: int, hidden: int = AUXILIARY_DIM, latent: int = LATENT_DIM) -> nn.Sequential:
    """Reconstructed features to the latent they came from: ``(n + 1) h + (h + 1) d`` parameters."""
    return nn.Sequential(nn.Linear(n_features, hidden), nn.ReLU(), nn.Linear(hidden, latent))


class BraVL(SignalEncoder):
    """A variational autoencoder of brain, image and, where there are any, text features.

    Signals are embedded as the mean of the latent given the brain alone, image vectors as that given the image alone.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of one trial; all its values are the brain features.
    vision_dim : int
        Length of an image vector.
    n_components : int
        Principal components of the image vectors, of which the image features are made.
    text_dim : int
        Length of a concept's text features; 0 for none.

    Raises
    ------
    InputError
        A size out of range.

    Notes
    -----
    Du et al. 2023, "Decoding visual neural representations by multimodal learning of brain-visual-linguistic
    features", IEEE TPAMI, arXiv 2210.06756.
    """

    def __init__(self, n_channels: int, n_times: int, vision_dim: int, n_components: int, text_dim: int = 0) -> None:
        super().__init__(n_channels, n_times)
        if not 1 <= n_components <= vision_dim or text_dim < 0:
            raise InputError(
                f"BraVL got {n_components} components of image vectors of length {vision_dim} and text features of "
                f"length {text_dim}; expected 1 to {vision_dim} components and a length of at least 0."
            )
        sizes = {"brain": n_channels * n_times, "image": n_components} | ({"text": text_dim} if text_dim else {})
        self.sizes = sizes
        self.features = nn.ModuleDict({"image": Features(vision_dim, n_components)})
        if text_dim:
            self.features["text"] = Features(text_dim)
        self.encoders = nn.ModuleDict({name: Encoder(size) for name, size in sizes.items()})
        self.decoders = nn.ModuleDict({name: decoder(size) for name, size in sizes.items()})

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities: brain, image and perhaps text."""
        return tuple(self.sizes)

    def fit_features(self, vision: Tensor, text: Tensor | None = None) -> None:
        """Take the features' means, axes and scales from distinct training images and training concepts.

        Parameters
        ----------
        vision : Tensor of shape (n_images, vision_dim)
        text : Tensor of shape (n_concepts, text_dim), optional
        """
        for name, vectors in (("image", vision), ("text", text)):
            features = dict(self.features.items()).get(name)
            if isinstance(features, Features) and vectors is not None:
                features.fit(vectors)

    def forward(self, signals: Tensor) -> Tensor:
        """Mean of the latent given signals (batch, n_channels, n_times) alone, shape (batch, 32)."""
        self.check(signals)
        mean: Tensor = self.encoders["brain"](signals.flatten(1)).mean
        return mean

    def images(self, vectors: Tensor) -> Tensor:
        """Mean of the latent given image vectors (n, vision_dim) alone, shape (n, 32)."""
        mean: Tensor = self.encoders["image"](self.features["image"](vectors)).mean
        return mean

    def posteriors(self, features: Mapping[str, Tensor]) -> list[Gaussian]:
        """Of every non-empty subset of the modalities given, the product of their posteriors; singles first.

        The set of all modalities that the model has gets N(0, I) as one more expert.

        Parameters
        ----------
        features : dict of str to Tensor of shape (n, n_features)
            By modality; one or several of them.
        """
        single = {name: self.encoders[name](values) for name, values in features.items()}
        found = []
        for size in range(1, len(single) + 1):
            for subset in itertools.combinations(single.values(), size):
                experts = list(subset)
                if size == len(self.modalities):
                    experts.append(standard_normal(experts[0].mean))
                found.append(product_of_experts(experts))
        return found

    def decode(self, z: Tensor) -> dict[str, Tensor]:
        """Location of every modality's features given latents (..., 32)."""
        return {name: self.decoders[name](z) for name in self.modalities}
