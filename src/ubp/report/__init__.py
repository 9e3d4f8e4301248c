"""One HTML file that shows a study's runs: results with chance, figures, exact settings, licence and citation."""

from ubp.report.write import write_report

__all__ = ["write_report"]
