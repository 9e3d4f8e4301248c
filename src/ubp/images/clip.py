"""CLIP image towers from open_clip: by published checkpoint, from a local checkpoint file, or with random weights."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ubp.errors import InputError, UbpError
from ubp.images.hub import fetched
from ubp.images.spec import Reading, near_names, one_of
from ubp.images.tower import TowerEncoder, plan
from ubp.images.weights import RANDOM, RANDOM_SEED, fitted, local_file, read_weights

QUICK_GELU = "-quickgelu"
# Stands in for the text tower, which is never used: the real ones cost time, memory and, some of them, a download.
_TEXT = {"context_length": 4, "vocab_size": 10, "width": 8, "heads": 1, "layers": 1}


class ClipEncoder(TowerEncoder):
    """Image tower of a CLIP model, frozen.

    Images are squashed to the tower's size with bilinear interpolation, as the paper's program prepares them, then
    normalised with the checkpoint's own mean and standard deviation. The vector is the tower's output in the joint
    space of image and text, what open_clip's ``encode_image`` returns, unless layers are asked for.

    Parameters
    ----------
    model : str
        A key of `TOWERS`, or any other model of open_clip; with ``-quickgelu`` appended, a local checkpoint is run
        with that activation (OpenAI's ViT weights need it; the RN towers have no GELU).
    pretrained : str, optional
        Tag of a checkpoint published for open_clip, fetched once and kept in the hub's cache; or the path of a
        local checkpoint (``.safetensors``, or a state dict saved by torch), of the whole CLIP model or its image
        tower alone; or ``"none"`` for random weights, the same every time. A local file is normalised as the model's
        default checkpoint. Default: the paper's checkpoint, or the only one there is.
    device : str
        Where the tower runs.
    reading : Reading
        Layers, pool and precision.

    Raises
    ------
    InputError
        When the model, tag or layer is unknown, the weights cannot be fetched, or the file holds another architecture.
    UbpError
        When open_clip is not installed.

    Notes
    -----
    Source: Radford et al., "Learning transferable visual models from natural language supervision", ICML 2021;
    Cherti et al., "Reproducible scaling laws for contrastive language-image learning", CVPR 2023.
    """

    def __init__(self, model: str, pretrained: str | None = None, device: str = "cpu", reading: Reading = Reading()):
        open_clip = import_open_clip()
        base = _known(open_clip, model)
        default = TOWERS.get(base.removesuffix(QUICK_GELU)) or next(iter(_tags(open_clip, base)), "")
        pretrained, file = _chosen(open_clip, model, base, pretrained, default)
        published = open_clip.get_pretrained_cfg(base, pretrained)
        preprocessing = published or open_clip.get_pretrained_cfg(base, default)
        config = open_clip.get_model_config(base)
        quick_gelu = model.endswith(QUICK_GELU) or bool(config.get("quick_gelu") or published.get("quick_gelu"))
        size = int(config["vision_cfg"]["image_size"])

        # On the meta device nothing is allocated or drawn at random.
        with torch.device("meta"):
            built = image_tower(open_clip, base, quick_gelu).eval()
        outlets = plan(built, reading, size, f"open_clip:{model}")
        if pretrained == RANDOM or "timm_model_name" in config["vision_cfg"]:  # timm's have buffers that no file holds
            with torch.random.fork_rng(devices=()):
                torch.manual_seed(RANDOM_SEED)
                built = image_tower(open_clip, base, quick_gelu)
        if pretrained != RANDOM:
            path = file or _fetch(open_clip, f"open_clip:{model}/{pretrained}", published)
            built.load_state_dict(fitted(read_weights(path, "visual."), built, model, path), assign=True)
        super().__init__(
            built,
            outlets,
            name=f"open_clip:{model}/{file.name if file else pretrained}",
            architecture=f"open_clip:{base.removesuffix(QUICK_GELU)}{QUICK_GELU if quick_gelu else ''}",
            size=size,
            mean=preprocessing.get("mean", open_clip.OPENAI_DATASET_MEAN),
            std=preprocessing.get("std", open_clip.OPENAI_DATASET_STD),
            interpolation="bilinear",
            precision=reading.precision,
            device=device,
        )


def import_open_clip() -> Any:
    """The library, or one sentence on how to install it."""
    try:
        import open_clip
    except ImportError as error:
        raise UbpError("An open_clip: encoder needs open_clip; install it with: pip install 'ubp[clip]'.") from error
    return open_clip


def image_tower(open_clip: Any, model: str, quick_gelu: bool = False) -> nn.Module:
    """The image tower of a model of open_clip, fresh; on the meta device if that is the default one."""
    config = open_clip.get_model_config(model)
    vision = {**config["vision_cfg"], "timm_model_pretrained": False}
    tower: nn.Module = open_clip.CLIP(config["embed_dim"], vision, _TEXT, quick_gelu).visual
    return tower


def _known(open_clip: Any, model: str) -> str:
    """The model's name in open_clip, which has configurations with quick GELU for some models only."""
    known = open_clip.list_models()
    base = model if model in known else model.removesuffix(QUICK_GELU)
    if base not in known:
        near = near_names(base, known) or list(TOWERS)
        raise InputError(f"The open_clip model {model!r} is unknown; expected one of {', '.join(near)}.")
    return base


def _tags(open_clip: Any, base: str) -> list[str]:
    tags: list[str] = open_clip.list_pretrained_tags_by_model(base)
    return tags


def _chosen(open_clip: Any, model: str, base: str, pretrained: str | None, default: str) -> tuple[str, Path | None]:
    """The checkpoint's tag, path or ``"none"``; and the file, if it is a local one."""
    tags = _tags(open_clip, base)
    if pretrained is None and base not in TOWERS and len(tags) != 1:
        expected = f", where PRETRAINED is one of {', '.join(tags)}" if tags else ", the path of a local one, or /none"
        raise InputError(
            f"open_clip:{model} has {len(tags) or 'no'} published checkpoints and no default; expected "
            f"open_clip:{model}/PRETRAINED{expected}."
        )
    pretrained = pretrained or default
    if pretrained == RANDOM or open_clip.get_pretrained_cfg(base, pretrained):
        return pretrained, None
    file = local_file(pretrained)
    if file is None:
        raise InputError(
            f"{pretrained!r} is neither a file nor a checkpoint of {model}; expected the path of a local "
            f"checkpoint{' or ' if tags else ''}{one_of(pretrained, tags) if tags else ''}."
        )
    return pretrained, file


def _fetch(open_clip: Any, spec: str, published: dict[str, Any]) -> Path:
    repository, _, name = published.get("hf_hub", "").rpartition("/")
    names = (name,) if name else ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    return fetched(spec, repository, names, lambda: open_clip.download_pretrained(published), published["url"])


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
