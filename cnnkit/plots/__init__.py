"""Pictures: networks, learning curves, filters.

matplotlib is used only through its Figure objects, without pyplot's global state, so that these functions
may run in any thread. The same input makes the same bytes.
"""

from cnnkit.plots.architecture import architecture, architecture_figure
from cnnkit.plots.kernels import filters
from cnnkit.plots.learning_curves import curves
from cnnkit.plots.several_runs import curves_of_runs

__all__ = ["architecture", "architecture_figure", "curves", "curves_of_runs", "filters"]
