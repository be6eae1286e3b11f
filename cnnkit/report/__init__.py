"""Reports: one self-contained HTML file for a run, or for several side by side."""

from cnnkit.report.single import write_report

__all__ = ["write_report"]
