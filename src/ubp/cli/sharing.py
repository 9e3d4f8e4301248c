"""Commands that hand models on."""

from pathlib import Path

from ubp.cli.app import USE, Switch, app


@app.command(group=USE, sort_key=5)
def push(
    model: Path,
    target: str,
    /,
    *,
    license: str | None = None,
    public: Switch = False,
    quiet: Switch = False,
) -> None:
    """Share a trained model: weights, description, calibration and a card of facts; no path of this machine.

    Parameters
    ----------
    model : Path
        Folder of a trained model: RUNS/setting/subject/preset/seed.
    target : str
        A new folder, which any web server may serve, or hf://owner/name[@branch] on the Hugging Face hub.
    license : str
        The model's licence as the hub names it: cc-by-4.0, apache-2.0, other.
    public : bool
        Show a repository that is made here to everybody; by default to its owner alone.
    quiet : bool
        No progress.
    """
    from ubp.commands.sharing import push as command

    command(model, target, license=license, public=public, quiet=quiet)


@app.command(group=USE, sort_key=6)
def pull(source: str, /, *, out: Path | None = None, quiet: Switch = False) -> None:
    """Bring a shared model here: known files only, every digest checked; stopped, it continues.

    Parameters
    ----------
    source : str
        hf://owner/name[@revision] or owner/name, the address of a folder (http, https), or a folder.
    out : Path
        The model's new folder; by default the last part of the source's name, here.
    quiet : bool
        No progress.
    """
    from ubp.commands.sharing import pull as command

    command(source, out, quiet=quiet)


@app.command(group=USE, sort_key=7)
def export_model(model: Path, /, *, out: Path) -> None:
    """Write a model's brain encoder as ONNX, checked against torch: raw signals in, embeddings out.

    Parameters
    ----------
    model : Path
        Folder of a trained model: RUNS/setting/subject/preset/seed.
    out : Path
        The file; its name ends in .onnx.
    """
    from ubp.commands.sharing import export_model as command

    command(model, out)
