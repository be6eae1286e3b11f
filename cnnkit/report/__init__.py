"""Reports: one self-contained HTML file for a run, or for several side by side."""

from cnnkit.comparing.report import compare_report
from cnnkit.report.single import write_report

__all__ = ["compare_report", "write_report"]
