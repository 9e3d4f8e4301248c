"""A description without the places of the machine that trained the model."""

import re
from dataclasses import replace
from pathlib import PurePosixPath, PureWindowsPath

from ubp.description import Description
from ubp.errors import InputError
from ubp.images.spec import split_spec


def portable(about: Description) -> Description:
    """The description that is shared: where the study, its text features and the image encoder's file lay is left out.

    Nothing that decides the weights changes, so :meth:`ubp.description.Description.identity` is the same.
    """
    return replace(about, study_path=None, text=None, vision_encoder=portable_encoder(about.vision_encoder))


def portable_encoder(spec: str) -> str:
    """An image encoder's specification with the bare name of a local file in place of its path.

    >>> portable_encoder("open_clip:RN50//data/rn50.pt,layer=layer3")
    'open_clip:RN50/rn50.pt,layer=layer3'
    >>> portable_encoder("onnx:/home/me/tower.onnx"), portable_encoder("RN50/openai")
    ('onnx:tower.onnx', 'RN50/openai')
    """
    address, options = split_spec(spec)
    before, separator, file = _file(address)
    name = PureWindowsPath(PurePosixPath(file).name).name
    return "".join([before, separator, name, *(f",{key}={value}" for key, value in options)])


def _file(address: str) -> tuple[str, str, str]:
    """What comes before the name of a file or checkpoint, what separates them, and the name; in all, the address."""
    found = re.match("onnx(?=:)", address) or re.match("[^/]*", address)
    end = found.end() if found else len(address)
    return address[:end], address[end : end + 1], address[end + 1 :]


def check_portable(about: Description, where: str) -> None:
    """Refuse a shared description that names places, which would be opened on another machine.

    Raises
    ------
    InputError
        When it names one.
    """
    if portable(about) != about:
        raise InputError(
            f"{where} names places on the machine of who shared it; expected a model as `ubp push` writes it, so ask "
            "for it to be pushed again."
        )
