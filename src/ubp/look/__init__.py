"""One HTML page about a study's data: what is there, what the signals look like, how far trials of an image agree."""

from ubp.look.write import write_look

__all__ = ["write_look"]
