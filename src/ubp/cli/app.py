"""The application that commands register with, and the kinds of options they share."""

from typing import Annotated

from cyclopts import App, Group, Parameter

from ubp import __version__
from ubp.config import Common
from ubp.images.blur_options import Foveation

HELP = """Find the image a person was looking at, from a recording of brain activity.

Start with `ubp demo`. With a study of your own: `ubp info STUDY` checks it, `ubp train STUDY` trains,
`ubp evaluate RUNS` ranks the test images and prints the table.
"""

app = App(name="ubp", help=HELP, version=__version__, help_format="markdown")
app["--help"].group = app["--version"].group = Group("Other", sort_key=9)

START = Group("Start", sort_key=1)
DATA = Group("Data", sort_key=2)
IMAGES = Group("Images", sort_key=3)
MODELS = Group("Models", sort_key=4)
RESULTS = Group("Results", sort_key=5)
USE = Group("Use", sort_key=6)

Many = Parameter(consume_multiple=True, negative=())
Plain = Parameter(negative=())
Names = Annotated[tuple[str, ...], Many]
Numbers = Annotated[tuple[int, ...], Many]
Switch = Annotated[bool, Plain]
OptionalNames = Annotated[tuple[str, ...] | None, Many]
OptionalWindow = Annotated[tuple[float, float] | None, Plain]
CommonOptions = Annotated[Common, Parameter(name="*", negative=())]
FoveationOptions = Annotated[
    Foveation, Parameter(name="*", negative=(), consume_multiple=True, group=Group("Foveation", sort_key=20))
]
