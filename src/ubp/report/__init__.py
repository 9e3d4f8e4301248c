"""One HTML file about trained models: results with chance, differences, examples, training, data, exact settings."""

from ubp.report.write import write_report

__all__ = ["write_report"]
