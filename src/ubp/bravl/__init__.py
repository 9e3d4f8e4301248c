"""BraVL: brain, image and text features in one latent space of a variational autoencoder."""

from ubp.bravl.network import BraVL
from ubp.bravl.trainer import BraVLTrainer

__all__ = ["BraVL", "BraVLTrainer"]
