"""Colour of images in 0..1: luma, brightness, contrast, saturation and hue, as torchvision's functions have them."""

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601


def luma(images: Tensor) -> Tensor:
    """``0.2989 R + 0.587 G + 0.114 B``, shape (..., 1, height, width) from (..., 3, height, width)."""
    red, green, blue = images.unbind(-3)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).unsqueeze(-3)


def brightness(image: Tensor, factor: float) -> Tensor:
    """Blend with black: ``factor * image``, cut to 0..1."""
    return (factor * image).clamp_(0, 1)


def contrast(image: Tensor, factor: float) -> Tensor:
    """Blend with the mean luma, a single grey: ``mean + factor (image - mean)``, cut to 0..1."""
    mean = luma(image).mean((-3, -2, -1), keepdim=True)
    return torch.lerp(mean, image, factor).clamp_(0, 1)


def saturation(image: Tensor, factor: float) -> Tensor:
    """Blend with the luma of each pixel, ``luma + factor (image - luma)``, cut to 0..1."""
    return torch.lerp(luma(image).expand_as(image), image, factor).clamp_(0, 1)


def hue(image: Tensor, turns: float) -> Tensor:
    r"""Turn the hue by a part of the colour circle, at the same value and saturation of the HSV model.

    In the hexagon form of HSV, channel :math:`n = 5, 3, 1` (red, green, blue) of a colour with value :math:`v`, chroma
    :math:`c = \max - \min` and hue :math:`h` in 0..6 is

    .. math:: v - c \max(0, \min(k, 4 - k, 1)), \quad k = (n + h) \bmod 6

    Parameters
    ----------
    image : Tensor of shape (..., 3, height, width), float32 in 0..1
    turns : float
        In -0.5..0.5.
    """
    red, green, blue = image.unbind(-3)
    value, low = image.amax(-3), image.amin(-3)
    chroma = value - low
    divisor = torch.where(chroma == 0, 1, chroma)
    sector = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sector = sector + 6 * turns
    channels = []
    for n in (5, 3, 1):
        k = (sector + n) % 6
        channels.append(value - chroma * torch.minimum(torch.minimum(k, 4 - k), torch.ones_like(k)).clamp_(min=0))
    return torch.stack(channels, -3)
