"""Proposed networks fit images of any size, and their comments say the sizes that their layers have."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnkit.config.run import RunConfig
from cnnkit.config.target import Labels, Numbers, OneClass, Target
from cnnkit.proposal.networks import network_of_one_answer

SIDES = st.integers(2, 300)
TARGETS = st.sampled_from([OneClass(3, ("a", "b", "c")), Labels(2, ("a", "b")), Numbers(2, ("x", "y"))])


@pytest.mark.long
@settings(max_examples=30, deadline=None)
@given(size=st.tuples(SIDES, SIDES), channels=st.sampled_from([1, 3]), target=TARGETS)
def test_networks_fit_images_of_any_size(size: tuple[int, int], channels: int, target: Target) -> None:
    text = network_of_one_answer(size, channels, target)
    config = RunConfig.model_validate({"data": {"name": "digits"}, **yaml.safe_load(text)})
    steps = config.model.trace((*size, channels), target.values)
    assert steps[-1].output_shape == (target.size,)
    pairs = [step.output_shape for step in steps if len(step.output_shape) == 3][2:]
    said = [tuple(map(int, match)) for match in re.findall(r"pair: \d+ +# (\d+)x(\d+)", text)]
    assert said == [shape[:2] for shape in pairs]
    # What is pooled last sees more than one place of a large image, and not too many.
    assert max(pairs[-1][:2] if pairs else (1,)) <= max(5, 5 * max(size) // min(size) + 5)
