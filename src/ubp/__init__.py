"""Find the image a person was looking at, from a recording of brain activity."""

__version__ = "0.1.0"
