"""Titled parts become one HTML file that needs nothing else."""

from collections.abc import Iterable
from pathlib import Path

from ubp.files import atomic_file
from ubp.page.style import CSS, JAVASCRIPT


def save_page(path: Path, title: str, parts: Iterable[tuple[str, str]]) -> Path:
    """Write a page by mne.Report; it is complete or absent, and replaces an older one.

    Parameters
    ----------
    path : Path
    title : str
    parts : iterable of (title, HTML)
        Taken after the place is known to be writable, so that a generator's work is not lost.

    Raises
    ------
    InputError
        When the name cannot be a file.
    UbpError
        When the disk is full or cannot be written.
    """
    import mne  # takes seconds to import

    with atomic_file(path) as handle:
        report = mne.Report(title=title, verbose="error")
        report.add_custom_css(CSS)
        report.add_custom_js(JAVASCRIPT)
        for name, content in parts:
            report.add_html(f'<div class="ubp">{content}</div>', title=name)
        report.save(handle.name, overwrite=True, open_browser=False, verbose="error")
    return path
