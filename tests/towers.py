"""Small helpers for the tests of image encoders."""

import open_clip
import torch

TEXT = {"context_length": 4, "vocab_size": 10, "width": 8, "heads": 1, "layers": 1}


def pixels(n=7, size=8, seed=0):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def relative(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


def clip_config(name):
    """The published image tower beside a text tower that costs no time."""
    config = open_clip.get_model_config(name)
    return {"embed_dim": config["embed_dim"], "vision_cfg": config["vision_cfg"], "text_cfg": TEXT}


@torch.no_grad()
def enliven(model, seed=0):
    """Random weights in which every block and every normalisation layer has a say, unlike in fresh ones."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.named_parameters():
        if value.ndim == 1:
            low = -0.1 if name.endswith("bias") else 0.5
            value.uniform_(low, low + (0.2 if low < 0 else 1.0), generator=generator)
    for name, value in model.named_buffers():
        if name.endswith("running_mean"):
            value.uniform_(-0.1, 0.1, generator=generator)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=generator)
    return model.requires_grad_(False).eval()


def clip_reference(model, images):
    mean, std = torch.tensor(open_clip.OPENAI_DATASET_MEAN), torch.tensor(open_clip.OPENAI_DATASET_STD)
    with torch.no_grad():
        return model.encode_image((images - mean[:, None, None]) / std[:, None, None])
