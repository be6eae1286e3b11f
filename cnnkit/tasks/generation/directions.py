"""Ways through the latent space along which the images of a trained generator change most."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.tasks.generation.sampling import latents, with_classes

if TYPE_CHECKING:
    from cnnkit.runs.trained import TrainedRun

#: Latent vectors that the first layer is asked about, at least, and times the numbers of one.
_LEAST, _TIMES = 1024, 4

#: How many of them at a time.
_BATCH = 512


def principal_directions(
    layer: Callable[[NDArray[np.float32]], Any], latent: int, conditions: int, seed: int
) -> NDArray[np.float32]:
    """Orthonormal directions, the one along which a layer's outputs vary most first, float32 [latent, latent].

    As GANSpace does (Härkönen et al. 2020, arXiv:2004.02546), the layer's outputs for many latent vectors are
    related to the latent vectors by least squares. Their principal components are taken of what that explains, rather
    than of the outputs themselves, so that each belongs to a direction that is orthogonal to the others. Of a linear
    layer, which most generators begin with, both are the same: the singular vectors of its kernel.

    Args:
        layer: From what the network takes, float32 [batch, latent + conditions], to the layer's outputs [batch, ...].
        latent: Numbers of a latent vector.
        conditions: Of the classes, told as one-hot after it; what a class alone changes is no direction.
        seed: Draws the latent vectors.
    """
    count = max(_LEAST, _TIMES * (latent + conditions))
    vectors = latents(seed, count, latent)
    # Without classes, the column of ones is for what the outputs have in common.
    taken = with_classes(vectors, [number % max(conditions, 1) for number in range(count)], max(conditions, 1))
    moments: Any = 0.0
    products: Any = 0.0
    for start in range(0, count, _BATCH):
        known = taken[start : start + _BATCH]
        outputs = np.asarray(layer(known if conditions else known[:, :latent]), np.float64).reshape(len(known), -1)
        moments, products = moments + known.T.astype(np.float64) @ known, products + known.T @ outputs
    slopes = np.linalg.lstsq(moments, products, rcond=None)[0][:latent]
    # Ascending, and of either sign: the largest number of each is made positive.
    found = np.linalg.eigh(slopes @ slopes.T)[1].T[::-1]
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=1)[:, None], axis=1)
    return np.asarray(found * np.sign(largest), np.float32)


def first_layer(trained: TrainedRun) -> Callable[[NDArray[np.float32]], Any]:
    """A run's generator as far as its first layer with a kernel, or to its end where none has one.

    Raises:
        CnnkitError: if the run has no model.
    """
    import tensorflow as tf

    from cnnkit.inside.outputs import layer_outputs
    from cnnkit.inside.taps import taps

    outputs, model = layer_outputs(trained.loaded), trained.model
    place = next((output for output in outputs if output.has_kernel), outputs[-1])
    tapped = taps(model, [place.name])

    @tf.function(
        input_signature=[tf.TensorSpec([None, *model.input_shape[1:]], model.inputs[0].dtype)],
        autograph=False,
        jit_compile=trained.uses_xla,
    )
    def compute(vectors: Any) -> Any:
        # The graph leaves out what lies behind.
        return tapped(vectors, training=False)[1]

    return lambda vectors: compute(tf.convert_to_tensor(vectors)).numpy()
