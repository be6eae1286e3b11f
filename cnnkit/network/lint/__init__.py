"""What `inspect --lint` says of a network: habits that cost accuracy, parameters or time, each with the fix."""

from __future__ import annotations

from cnnkit.config.load import LoadedConfig
from cnnkit.network.lint.advice import RULES, Advice, Rule, grouped

__all__ = ["RULES", "Advice", "Rule", "lint"]


def lint(loaded: LoadedConfig) -> list[Advice]:
    """What a teacher would say of a config's network; nothing for a sound one.

    It is advice: a network may have its reasons.
    """
    from cnnkit.network.lint import layers, whole
    from cnnkit.network.lint.walk import walk

    info = loaded.info
    chain = walk(loaded.steps)
    return grouped(
        [
            *layers.bias_before_normalization(chain),
            *layers.dropout_before_normalization(chain),
            *layers.warnings(chain),
            *layers.windows_on_one_pixel(chain),
            *layers.softmax_twice(chain),
            *whole.dense_share(chain),
            *whole.small_field(chain, info.shape),
            *whole.large_field(chain, info.shape),
            *whole.bottlenecks(chain, info.classes),
            *whole.narrow_dense(chain, info.target),
        ]
    )
