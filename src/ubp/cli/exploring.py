"""The command that serves a page."""

from pathlib import Path

from ubp.cli.app import USE, CommonOptions, Switch, app
from ubp.config import Common


@app.command(group=USE, sort_key=4)
def explore(
    model: Path,
    study: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    max_upload_mb: float = 500.0,
    no_browser: Switch = False,
    encoder: str | None = None,
    common: CommonOptions = Common(),
) -> None:
    """Open a page that explores a model: signals, images, rankings, confusions, and recordings you bring.

    Parameters
    ----------
    model : Path
        Folder of a trained model: RUNS/setting/subject/preset/seed.
    study : Path
        Study whose test trials are browsed, among its test images.
    host : str
        Address to listen on; by default only this machine can reach the page.
    port : int
        0 takes a free one.
    max_upload_mb : float
        Largest recording that may be uploaded.
    no_browser : bool
        Do not open a browser.
    encoder : str
        Where the image encoder lies now, if it was moved.
    """
    from ubp.commands.exploring import explore as command

    command(
        model,
        study,
        host=host,
        port=port,
        max_upload_mb=max_upload_mb,
        browser=not no_browser,
        encoder=encoder,
        common=common,
    )
