"""What a training step does on each of several replicas: together, what one does with the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

from cnnkit.machine.devices import Devices
from cnnkit.machine.shares import Share, current, working_on


def step_on_replicas(step: Callable[[Any], Any], devices: Devices, batch_size: int) -> Callable[[Any], None]:
    """The step of all replicas of this process.

    Args:
        step: A model's `train_step`, whose optimizer `add_up_gradients` has changed.
        devices: What trains.
        batch_size: Images of the largest batch.

    Returns:
        A function of an element of `training_batches` with the same devices.
    """

    import tensorflow as tf

    def of_replica(elements: Any) -> None:
        element, place = elements[_index(devices)]
        images = tf.nest.flatten(element)[0]
        with working_on(Share(place[0], tf.shape(images, tf.int64)[0], place[1], devices.replicas, batch_size)):
            step(element)

    def on_replicas(elements: Any) -> None:
        devices.strategy.run(of_replica, args=(elements,))

    return on_replicas


def _index(devices: Devices) -> int:
    """Which of the replicas in this process is being traced."""
    import tensorflow as tf

    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return int(tf.get_static_value(replica)) - devices.own[0]


def test_on_replicas(step: Callable[[Any], Any], devices: Devices) -> Callable[[Any], None]:
    """A model's `test_step` on all replicas of this process.

    Returns:
        A function of as many batches, as a tuple.
    """

    def of_replica(batches: Any) -> None:
        step(batches[_index(devices)])

    return lambda batches: devices.strategy.run(of_replica, args=(batches,))


#: Methods of Keras' optimizers for TensorFlow that let `tf.distribute` update variables, which it cannot do under a
#: condition, as the one of accumulated gradients. With equal gradients, each replica can update its own copies.
_DISTRIBUTED = (
    "_backend_update_step",
    "_apply_weight_decay",
    "_backend_increment_gradient_accumulators",
    "_overwrite_model_variables_with_average_value",
)


def add_up_gradients(optimizer: Any) -> None:
    """Has an optimizer add up the gradients of all replicas before it looks at them.

    Keras adds them up after it has clipped, accumulated and scaled those of each replica, which is something else than
    to clip the sum. It also takes the mean of the replicas' means, which is not that of the images where a batch cannot
    be divided evenly.
    """
    import tensorflow as tf

    apply, scale_loss = optimizer.apply, optimizer.scale_loss

    def scale_loss_of_share(loss: Any) -> Any:
        share = current()
        assert share is not None
        # A replica's loss is the mean over its images, divided by the number of replicas. It is weighted here and not
        # its gradient, because synchronized batch normalization carries the gradients of one replica to the others.
        weight = tf.cast(share.replicas * share.size, loss.dtype) / tf.cast(share.whole, loss.dtype)
        return scale_loss(loss) * weight

    def apply_sum(gradients: Any, trainable_variables: Any = None) -> Any:
        known = [gradient for gradient in gradients if gradient is not None]
        summed = iter(tf.distribute.get_replica_context().all_reduce("SUM", known))
        return apply([None if gradient is None else next(summed) for gradient in gradients], trainable_variables)

    optimizer.scale_loss, optimizer.apply = scale_loss_of_share, apply_sum
    for updating in (optimizer, getattr(optimizer, "inner_optimizer", None)):
        if updating is not None:
            # Muon has a method of its own; of others, Keras' for any backend is left.
            classes = [cls for cls in type(updating).__mro__ if cls.__name__ != "TFOptimizer"]
            for name in _DISTRIBUTED:
                method = next(vars(cls)[name] for cls in classes if name in vars(cls))
                setattr(updating, name, MethodType(method, updating))
