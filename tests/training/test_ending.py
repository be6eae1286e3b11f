"""What a user is told when a training ends early."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from cnnkit.errors import NonFiniteLoss
from cnnkit.runs.directory import Run
from cnnkit.training.ending import non_finite


@pytest.mark.parametrize("dtype", [None, "mixed_float16", "float16"])
def test_half_precision_is_named_where_a_loss_is_not_finite(dtype: str | None, tmp_path: Path) -> None:
    """float16 ends at 65,504, and half its smallest number is 0; a lower rate does not help there."""
    half = np.finfo(np.float16)
    assert float(half.max) == 65504
    assert np.float16(float(half.smallest_subnormal) / 2) == 0
    head = keras.layers.Dense(2, activation="softmax", dtype=dtype, name="head")
    model = keras.Sequential([keras.layers.Input((3,)), keras.Sequential([head])])
    keeper: Any = SimpleNamespace(model=model, kept=3)
    told = non_finite(NonFiniteLoss("the training loss became nan", "Lower the learning rate."), keeper, Run(tmp_path))
    assert told.message == "the training loss became nan in epoch 4"
    assert ("`head` has `dtype: float16`" in str(told.hint)) == (dtype == "float16")
    assert ("Lower the learning rate" in str(told.hint)) == (dtype != "float16")
    assert "epoch 3 are kept" in str(told.hint)
