"""What the training section says of single weights, held against those of the network."""

import re
from collections.abc import Sequence

from cnnkit.config.optimization.optimizers import Optimizer
from cnnkit.config.reports import Report
from cnnkit.config.training import TrainingConfig
from cnnkit.format.explain import Path
from cnnkit.format.similar import suggestion
from cnnkit.layers.weight_paths import SEPARATOR, keras_path, meant, weight_names


def check_weight_names(training: TrainingConfig, paths: Sequence[str], report: Report) -> None:
    """Whether the names in `exclude_from_weight_decay` and in Muon's `exclude_layers` mean some weight.

    Args:
        paths: Those of the network's weights.
        report: As for `check_training`.
    """
    for index, name in enumerate(training.exclude_from_weight_decay):
        if not meant(name, paths):
            message = (
                f"no weight and no layer with weights has the name `{name}`{suggestion(name, weight_names(paths))}"
            )
            report(("training", "exclude_from_weight_decay", index), message, False)
    written: list[tuple[Path, Optimizer]] = [(("training",), training.optimizer)]
    for index, stage in enumerate(training.stages):
        if stage.optimizer is not None:
            written.append((("training", "stages", index), stage.optimizer))
    for path, optimizer in written:
        for index, keyword in enumerate(getattr(optimizer, "exclude_layers", None) or ()):
            if not any(re.search(keyword, keras_path(one)) for one in paths):
                place: Path = (*path, "optimizer", type(optimizer).__name__, "exclude_layers", index)
                names = {one.split(SEPARATOR)[-2] for one in paths}
                message = f"`{keyword}` is found in no name of a layer with weights{suggestion(keyword, names)}"
                report(place, message, False)
