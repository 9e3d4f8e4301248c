"""The exact settings, versions and results of all runs."""

import platform
from collections.abc import Sequence
from importlib.metadata import version

from ubp import __version__
from ubp.described import plain
from ubp.page.html import folded, heading, table_html, wide
from ubp.report.evaluated import Evaluated
from ubp.report.overview import every_run, settings_by_variant
from ubp.report.runs import Run, Variant

PACKAGES = ("torch", "numpy", "scipy", "pandas", "scikit-learn", "matplotlib", "mne", "safetensors", "pillow")


def exact(kinds: Sequence[Variant], runs: Sequence[Run], found: Sequence[Evaluated]) -> str:
    """Settings that all share, each run's own, versions, and every row of the results."""
    _, shared = settings_by_variant(kinds)
    used = {
        "ubp": __version__,
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    used |= {name: version(name) for name in PACKAGES}
    title = f"The same for all {len(runs)} runs (what differs is told above)" if len(runs) > 1 else "Settings"
    parts = [heading(title), table_html(shared)]
    parts.append(heading("Versions when this report was made"))
    parts.append(table_html([{"package": name, "version": text} for name, text in used.items()]))
    parts.append(folded(f"Every run ({len(runs)})", wide(every_run(runs))))
    for one in found:
        table = one.results.table.drop(columns="folder")
        rows = table.map(lambda value: f"{value:.4g}" if isinstance(value, float) else plain(value))
        cells = [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]
        parts.append(folded(f"Every row of the results of {one.title} ({len(cells)})", wide(cells)))
    return "".join(parts)
