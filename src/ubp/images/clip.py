"""CLIP image towers from open_clip: by published checkpoint, or from a local checkpoint file."""

import difflib
import hashlib
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ubp.errors import InputError, UbpError
from ubp.files import digest

QUICK_GELU = "-quickgelu"


class ClipEncoder:
    """Image tower of a CLIP model, frozen, in float32.

    Images are squashed to the tower's size with bilinear interpolation, as the paper's program prepares them, then
    normalised with the checkpoint's own mean and standard deviation. The vector is the tower's output in the joint
    space of image and text, what open_clip's ``encode_image`` returns.

    Parameters
    ----------
    model : str
        A key of `TOWERS`; with ``-quickgelu`` appended, a local checkpoint is run with that activation (OpenAI's
        ViT weights need it; the RN towers have no GELU).
    pretrained : str, optional
        Tag of a checkpoint published for open_clip, fetched once and kept in the hub's cache; or the path of a
        local checkpoint (``.safetensors``, or a state dict saved by torch), of the whole CLIP model or its image
        tower alone. A local file is normalised as the paper's checkpoint of that tower. Default: the paper's tag.
    device : str
        Where the tower runs.

    Attributes
    ----------
    fingerprint : str
        Digest of the weights as loaded and of the preprocessing, wherever the weights came from.

    Raises
    ------
    InputError
        When the model or tag is unknown, the weights cannot be fetched, or the file holds another architecture.
    UbpError
        When open_clip is not installed.

    Notes
    -----
    Deterministic on the cpu. Convolutions and matrix products may round differently for another batch size, about
    1e-6 relative. On CUDA, TF32 is off and cuDNN's deterministic algorithms are used.

    Source: Radford et al., "Learning transferable visual models from natural language supervision", ICML 2021;
    Cherti et al., "Reproducible scaling laws for contrastive language-image learning", CVPR 2023.
    """

    interpolation = "bilinear"

    def __init__(self, model: str, pretrained: str | None = None, device: str = "cpu"):
        base = model.removesuffix(QUICK_GELU)
        if base not in TOWERS:
            near = difflib.get_close_matches(base, TOWERS, n=2, cutoff=0.5) or list(TOWERS)
            raise InputError(f"The open_clip model {model!r} is unknown here; expected one of {', '.join(near)}.")
        try:
            import open_clip
        except ImportError as error:
            raise UbpError(
                "An open_clip: encoder needs open_clip; install it with: pip install 'ubp[clip]'."
            ) from error
        pretrained = pretrained or TOWERS[base]
        published = open_clip.get_pretrained_cfg(base, pretrained)
        file = Path(_fetch(open_clip, base, pretrained, published)) if published else Path(pretrained).expanduser()
        if not file.is_file():
            tags = open_clip.list_pretrained_tags_by_model(base)
            tags = difflib.get_close_matches(pretrained, tags, n=4, cutoff=0.3) or tags
            raise InputError(
                f"{pretrained!r} is neither a file nor a checkpoint of {base}; expected the path of a local "
                f"checkpoint or one of {', '.join(tags)}."
            )
        preprocessing = published or open_clip.get_pretrained_cfg(base, TOWERS[base])
        mean, std = preprocessing["mean"], preprocessing["std"]
        quick_gelu = model.endswith(QUICK_GELU) or bool(published.get("quick_gelu"))

        config = open_clip.get_model_config(base)
        self.name = f"open_clip:{model}/{pretrained if published else file.name}"
        self.size = int(config["vision_cfg"]["image_size"])
        self.dim = int(config["embed_dim"])
        self.device = torch.device(device)
        # On the meta device nothing is allocated or drawn at random; the text tower never comes to life.
        with torch.device("meta"):
            tower = open_clip.CLIP(**{**config, "quick_gelu": quick_gelu}).visual
        weights = _fitting(_read_tower(file), tower, base, file)
        self.fingerprint = digest("open_clip", base, repr((quick_gelu, mean, std, self.size)), _hash(weights))
        tower.load_state_dict(weights, assign=True)
        self._tower = tower.requires_grad_(False).eval().to(self.device)
        self._mean = torch.tensor(mean, device=self.device)[:, None, None]
        self._std = torch.tensor(std, device=self.device)[:, None, None]

    def __call__(self, pixels: Tensor) -> Tensor:
        """Encode (n, 3, size, size) float32 pixels in 0..1 to (n, dim) float32 on the cpu, not normalised."""
        with (
            torch.no_grad(),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            features: Tensor = self._tower((pixels.to(self.device) - self._mean) / self._std)
            return features.float().cpu()


def _fetch(open_clip: Any, model: str, tag: str, published: dict[str, Any]) -> str:
    try:
        return str(open_clip.download_pretrained(published))
    except Exception as error:  # the hub, requests and urllib share no other base
        source = published.get("hf_hub", "").strip("/")
        where = f"open_clip_model.safetensors of {source} on the Hugging Face hub" if source else published["url"]
        raise InputError(
            f"The weights of open_clip:{model}/{tag} could not be fetched ({type(error).__name__}); connect this "
            f"machine to the network, or bring {where} here and pass open_clip:{model}/PATH-OF-THAT-FILE."
        ) from error


def _read_tower(file: Path) -> dict[str, Tensor]:
    """Tensors of the image tower, without prefix; of safetensors nothing else is read."""
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as content:
                keys = content.keys()
                visual = [key for key in keys if ".visual." in f".{key}"] or keys
                found: Any = {key: content.get_tensor(key) for key in visual}
        else:
            found = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, ValueError, EOFError, KeyError) as error:
        raise InputError(
            f"{file} cannot be read as weights alone (it may be cut short, or hold code, as OpenAI's own .pt files "
            "do); expected a .safetensors file or a state dict saved by torch."
        ) from error
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()):
        raise InputError(f"{file} does not hold a state dict; expected names and tensors of a CLIP model.")
    found = {key.removeprefix("module."): value for key, value in found.items()}
    visual = {key.removeprefix("visual."): value for key, value in found.items() if key.startswith("visual.")}
    return visual or found


def _fitting(found: dict[str, Tensor], tower: torch.nn.Module, model: str, file: Path) -> dict[str, Tensor]:
    """The tensors of `tower` in float32, or one sentence on why `found` is another architecture."""
    counter = "num_batches_tracked"  # some checkpoints lack it; in eval mode it has no part
    wanted = {k: v for k, v in tower.state_dict().items() if not k.endswith(counter)}
    found = {k: v for k, v in found.items() if not k.endswith(counter)}
    missing = sorted(wanted.keys() - found.keys())
    extra = sorted(found.keys() - wanted.keys())
    shaped = [k for k in sorted(wanted.keys() & found.keys()) if wanted[k].shape != found[k].shape]
    if missing or extra or shaped:
        raise InputError(
            f"{file} holds another architecture than {model}: {len(missing)} tensors of its image tower are missing, "
            f"{len(extra)} are unknown to it and {len(shaped)} have another shape (first: "
            f"{(shaped + missing + extra)[0]}); name the model that the file was saved from."
        )
    weights = {k: found[k].float() for k in sorted(wanted)}
    counters = {k: torch.zeros((), dtype=v.dtype) for k, v in tower.state_dict().items() if k.endswith(counter)}
    return weights | counters


def _hash(weights: dict[str, Tensor]) -> bytes:
    total = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].contiguous()
        total.update(f"{name} {tuple(value.shape)} {value.dtype};".encode())
        total.update(value.numpy().data)
    return total.digest()


# The paper's eight towers, each with the checkpoint that its program uses.
TOWERS = {
    "RN50": "openai",
    "RN101": "openai",
    "ViT-B-16": "laion2b_s34b_b88k",
    "ViT-B-32": "laion2b_s34b_b79k",
    "ViT-L-14": "laion2b_s32b_b82k",
    "ViT-H-14": "laion2b_s32b_b79k",
    "ViT-g-14": "laion2b_s34b_b88k",
    "ViT-bigG-14": "laion2b_s39b_b160k",
}
