"""Any image model of timm: DINOv2, ConvNeXt, ResNet and many others."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ubp.errors import InputError, UbpError
from ubp.images.hub import fetched
from ubp.images.spec import Reading, near_names, one_of
from ubp.images.tower import Outlet, TowerEncoder, plan
from ubp.images.weights import RANDOM, RANDOM_SEED, local_file, read_weights


class TimmEncoder(TowerEncoder):
    """An image model of timm without its classifier, frozen.

    Images are squashed to the model's size, without the crop that classifiers are tested with; size, interpolation,
    mean and standard deviation are the checkpoint's own. The vector is what the model gives its classifier
    (``num_classes=0``), unless layers are asked for.

    Parameters
    ----------
    model : str
        A model of timm, such as ``vit_small_patch14_dinov2``, with or without a tag: ``resnet50.a1_in1k``.
    pretrained : str, optional
        Tag of a published checkpoint, fetched once and kept in the hub's cache; or the path of a local checkpoint
        (``.safetensors``, or a state dict saved by torch), which is prepared as the model's tag says; or ``"none"``
        for random weights, the same every time. Default: the model's tag, or timm's default for that model.
    device : str
        Where the model runs.
    reading : Reading
        Layers, pool, precision and size. At another size the position embeddings are resampled by timm.

    Raises
    ------
    InputError
        When the model, tag or layer is unknown, the weights cannot be fetched, the file holds another architecture,
        or the model cannot take that size.
    UbpError
        When timm is not installed.

    Notes
    -----
    Source: Wightman, "PyTorch image models", https://github.com/huggingface/pytorch-image-models.
    """

    def __init__(self, model: str, pretrained: str | None = None, device: str = "cpu", reading: Reading = Reading()):
        timm = import_timm()
        base, _, tag = model.partition(".")
        if not timm.is_model(base):
            raise InputError(f"The timm model {base!r} is unknown; expected {_expected(timm, base)}.")
        tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{base}.*")]
        file = local_file(pretrained) if pretrained and pretrained not in tags else None
        if pretrained and pretrained != RANDOM and not file:
            tag = pretrained
        if tag and tag not in tags:
            raise InputError(
                f"{tag!r} is neither a file nor a checkpoint of {base}; expected the path of a local checkpoint"
                f"{' or ' if tags else ''}{one_of(tag, tags) if tags else ''}."
            )
        config = timm.get_pretrained_cfg(f"{base}.{tag}" if tag else base)
        tag = tag or config.tag or ""
        if pretrained is None and not config.has_weights:
            raise InputError(
                f"timm:{base} has no published checkpoint; expected timm:{base}/PATH of a local one, or "
                f"timm:{base}/none for random weights."
            )
        arguments: dict[str, Any] = {"num_classes": 0, "pretrained_cfg": tag or None}
        size = reading.size or max(config.input_size[1:])
        if config.fixed_input_size and {size} != set(config.input_size[1:]):
            arguments["img_size"] = size
        sketch, outlets = _planned(timm, base, size, reading, arguments)
        preprocessing = timm.data.resolve_model_data_config(sketch)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(RANDOM_SEED)
            if pretrained == RANDOM:
                built = timm.create_model(base, **arguments)
            elif file:
                built = _from_file(timm, base, file, config, arguments)
            else:
                built = _from_hub(timm, base, config, arguments)
        super().__init__(
            built,
            outlets,
            name=f"timm:{base}{f'.{tag}' if tag and file else ''}/{file.name if file else pretrained or tag}",
            architecture=f"timm:{base}",
            size=size,
            mean=preprocessing["mean"],
            std=preprocessing["std"],
            interpolation=preprocessing["interpolation"],
            precision=reading.precision,
            device=device,
        )


def import_timm() -> Any:
    """The library, or one sentence on how to install it."""
    try:
        import timm
    except ImportError as error:
        raise UbpError("A timm: encoder needs timm; install it with: pip install 'ubp[timm]'.") from error
    return timm


def _expected(timm: Any, name: str) -> str:
    near = timm.list_models(f"*{name}*")[:4] or near_names(name, timm.list_models())
    return one_of(near[0], near) if near else "a name that `ubp encoders PATTERN` lists, as vit_small_patch14_dinov2"


def _planned(
    timm: Any, base: str, size: int, reading: Reading, arguments: dict[str, Any]
) -> tuple[nn.Module, list[Outlet]]:
    """The model without memory, and where its vectors come out."""
    try:
        with torch.device("meta"):
            sketch = timm.create_model(base, **arguments).eval()
        return sketch, plan(sketch, reading, size, f"timm:{base}")
    except InputError:
        raise
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        raise InputError(
            f"timm:{base} cannot encode images of {size} pixels ({' '.join(str(error).split()).rstrip('.')}); leave "
            "size out, or take a multiple of the model's patches and windows."
        ) from error


def _from_file(timm: Any, base: str, file: Path, config: Any, arguments: dict[str, Any]) -> nn.Module:
    classifiers = config.classifier or ()
    classifiers = (classifiers,) if isinstance(classifiers, str) else classifiers
    heads = {f"{classifier}.{part}" for classifier in classifiers for part in ("weight", "bias")}
    weights = {key: value for key, value in read_weights(file).items() if key not in heads}
    # without a classifier to leave out timm is strict about every name
    overlay = {"state_dict": weights, "classifier": None}
    try:
        built: nn.Module = timm.create_model(base, pretrained=True, pretrained_cfg_overlay=overlay, **arguments)
    except Exception as error:  # a model's own filter of checkpoints may stumble over foreign tensors in any way
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{file} holds another architecture than timm:{base} ({reason.rstrip('.')}); name the model that the file "
            "was saved from."
        ) from error
    return built


def _from_hub(timm: Any, base: str, config: Any, arguments: dict[str, Any]) -> nn.Module:
    names = (config.hf_hub_filename,) if config.hf_hub_filename else ("model.safetensors", "pytorch_model.bin")
    path = fetched(
        f"timm:{base}/{config.tag}",
        config.hf_hub_id or "",
        names,
        lambda: _download(config.url),
        config.url,
    )
    overlay = {"file": str(path), "custom_load": config.custom_load}
    built: nn.Module = timm.create_model(base, pretrained=True, pretrained_cfg_overlay=overlay, **arguments)
    return built


def _download(url: str) -> Path:
    """A file outside the hub, kept where torch and timm keep theirs."""
    target = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(target), progress=False)
    return target
