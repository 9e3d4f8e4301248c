"""Commands that turn recordings of any kind into a study, and a study into mne's files."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ubp.cli.app import DATA, OptionalNames, Switch, app
from ubp.data.bids_files import BidsSelection
from ubp.data.bids_run import CutOptions
from ubp.data.import_options import About, SignalOptions, TrialOptions

Flat = Parameter(name="*", consume_multiple=True, negative=())
Files = Annotated[tuple[Path, ...], Parameter(consume_multiple=True, negative=())]
Columns = Annotated[TrialOptions, Flat]
Signals = Annotated[SignalOptions, Flat]
Selection = Annotated[BidsSelection, Flat]
Cut = Annotated[CutOptions, Flat]
Words = Annotated[About, Flat]

imports = App(name="import", help="Make a study of recordings of your own.", group=DATA, sort_key=9)
app.command(imports)


@imports.command(name="epochs")
def import_epochs(
    files: Files,
    /,
    *,
    out: Path,
    images: Path,
    subject: OptionalNames = None,
    trials: Columns = TrialOptions(),
    signals: Signals = SignalOptions(),
    about: Words = About(),
    quiet: Switch = False,
) -> None:
    """Make a study of mne epochs, one file per subject, whose metadata names the image of each trial.

    Parameters
    ----------
    files : tuple of Path
        Files of epochs (-epo.fif, -epo.fif.gz); of files that mne has split, the first.
    out : Path
        Folder of the new study.
    images : Path
        Folder that the image names are relative to.
    subject : tuple of str
        Name of each file's subject; by default that at the start of the file's name, else sub-01, sub-02 and so on.
    quiet : bool
        No progress and no notes.
    """
    from ubp.commands.importing import import_epochs as command

    command(files, out, images, subject, trials, signals, about, quiet)


@imports.command(name="bids")
def import_bids(
    root: Path,
    /,
    *,
    out: Path,
    images: Path | None = None,
    subject: OptionalNames = None,
    selection: Selection = BidsSelection(),
    trials: Columns = TrialOptions(),
    signals: Signals = SignalOptions(),
    cut: Cut = CutOptions(),
    about: Words = About(),
    quiet: Switch = False,
) -> None:
    """Make a study of a BIDS dataset: runs whose events.tsv names the images, or a derivative's files of epochs.

    Parameters
    ----------
    root : Path
        Folder of the dataset.
    out : Path
        Folder of the new study.
    images : Path
        Folder that the image names are relative to; by default ROOT/stimuli.
    subject : tuple of str
        By default all.
    quiet : bool
        No progress and no notes.
    """
    from ubp.commands.importing import import_bids as command

    command(root, out, images, selection, subject, trials, signals, cut, about, quiet)


@imports.command(name="arrays")
def import_arrays(
    signals: Files,
    /,
    *,
    trials: Files,
    out: Path,
    images: Path,
    channels: Files = (),
    subject: OptionalNames = None,
    sfreq: float | None = None,
    tmin: float | None = None,
    options: Columns = TrialOptions(),
    about: Words = About(),
    quiet: Switch = False,
) -> None:
    """Make a study of numpy arrays, one .npy file per subject, and tables with one row per trial.

    Parameters
    ----------
    signals : tuple of Path
        Arrays (n_trials, n_channels, n_times), or (n_trials, n_features) for one sample per trial.
    trials : tuple of Path
        Tables (.csv, .tsv) that name the image of each trial: one for each array, or one for all.
    out : Path
        Folder of the new study.
    images : Path
        Folder that the image names are relative to.
    channels : tuple of Path
        Tables with the columns name and type, and x, y, z if known: one for each array, or one for all; by default
        channels are called c001 and so on.
    subject : tuple of str
        Name of each array's subject; by default that at the start of the file's name, else sub-01, sub-02 and so on.
    sfreq : float
        Samples per second, Hz.
    tmin : float
        Time of the first sample after image onset, seconds.
    quiet : bool
        No progress and no notes.
    """
    from ubp.commands.importing import import_arrays as command

    command(signals, trials, out, images, channels, subject, options, about, sfreq, tmin, quiet)


@app.command(group=DATA, sort_key=10)
def export(
    study: Path,
    /,
    *,
    out: Path,
    subject: OptionalNames = None,
    split: str | None = None,
    allow_shared_concepts: Switch = False,
    quiet: Switch = False,
) -> None:
    """Write a study as epochs of mne: one sub-01-epo.fif per subject, with the trials as metadata.

    Parameters
    ----------
    study : Path
        Folder of the study.
    out : Path
        New folder for the files.
    subject : tuple of str
        By default all.
    split : str
        train or test; by default both.
    allow_shared_concepts : bool
        Accept concepts that occur in train and test.
    quiet : bool
        No progress.
    """
    from ubp.commands.importing import export as command

    command(study, out, subject, split, allow_shared_concepts, quiet)
