"""How a training ends before its last epoch: what is kept of it, and what its user is told."""

from __future__ import annotations

import contextlib
import shlex
from typing import Any

from cnnkit.errors import CnnkitError, Interrupted, of_the_system
from cnnkit.runs.directory import Run
from cnnkit.training import heartbeat

_NO_CHECKPOINT = "There is no checkpoint to resume yet; start again with `cnnkit train`."


def resume_hint(run: Run) -> str:
    return f"Continue with: {_resume(run)}"


def _resume(run: Run) -> str:
    return f"{heartbeat.command()} train --resume {shlex.quote(str(run.path))}"


def failed_write(error: OSError, run: Run, epochs: int) -> CnnkitError:
    """What a file that cannot be written becomes while a run is trained: how its user goes on.

    Args:
        epochs: All epochs of the run.
    """
    found = of_the_system(error)
    assert found is not None
    hint = (found.hint or "Mend that, then try again.").removesuffix(", then try again.")
    done = 0
    with contextlib.suppress(CnnkitError):
        done = len(run.read_metrics())
    if done >= epochs:
        # What follows the training is made where it is missing.
        next_step = f"The trained network is kept. {hint}, then: {_resume(run)}"
    elif run.has_checkpoint:
        next_step = f"What was learned is kept. {hint}, then: {_resume(run)}"
    elif run.config.exists():
        next_step = f"{hint}, then: {_resume(run)}"
    else:
        next_step = f"{hint}, then start again with `cnnkit train`."
    return CnnkitError(found.message, next_step)


def lost_worker(error: Any, run: Run) -> CnnkitError:
    """What TensorFlow says when another process that trains along is gone."""
    # A stack of graph nodes precedes the reason, and advice follows it.
    reason = str(getattr(error, "message", error)).rpartition("aborted by: ")[2].strip().splitlines()[:2]
    said = " ".join(line.strip() for line in reason) or "it did not answer"
    return CnnkitError(
        f"the training ended, because another worker is gone or failed: {said}",
        f"Start all workers again. {resume_hint(run)}",
    )


def count_epochs(number: int) -> str:
    return f"{number} epoch{'s' * (number != 1)}"


def interruption(keeper: Any, run: Run) -> Interrupted:
    """What Ctrl-C in an epoch becomes.

    Args:
        keeper: The callback that keeps the run's epochs, see `callbacks.Keeper`.
        run: The run.
    """
    if keeper.kept or keeper.kept_steps:
        return Interrupted(f"interrupted; {_kept(keeper)} in {run.path}", resume_hint(run))
    if _keep_weights(keeper):
        return Interrupted(f"interrupted in the first epoch; the weights so far are in {run.model}", _NO_CHECKPOINT)
    return Interrupted("interrupted before anything was learned", _NO_CHECKPOINT)


def after_stop(keeper: Any, run: Run) -> str:
    """What is left of a training that somebody stopped from the live page, in words.

    Args:
        keeper, run: As for `interruption`.

    Raises:
        CnnkitError: if that is nothing.
    """
    if keeper.kept or keeper.kept_steps:
        return f"stopped from the live page; {_kept(keeper)}. {resume_hint(run)}"
    if _keep_weights(keeper):
        return f"stopped from the live page in the first epoch; the weights so far are kept. {_NO_CHECKPOINT}"
    raise CnnkitError("stopped from the live page before anything was learned", _NO_CHECKPOINT)


def non_finite(error: CnnkitError, keeper: Any, run: Run) -> CnnkitError:
    """What a loss or a weight that is not finite becomes: where it was, what may help, and what is kept.

    Args:
        error: What was found, with what helps most networks.
        keeper, run: As for `interruption`.
    """
    hint = _half_precision(keeper.model) or error.hint or ""
    if keeper.kept:
        hint += f" The checkpoint and model of epoch {keeper.kept} are kept in {run.path}."
    return CnnkitError(f"{error.message} in epoch {keeper.kept + 1}", hint)


def _half_precision(model: Any) -> str:
    """What helps a network with layers that compute and keep their weights in float16; empty without such layers."""
    for layer in model._flatten_layers(include_self=False):
        if layer.dtype_policy.name == "float16":
            return (
                f"The layer `{layer.name}` has `dtype: float16`, in which a number below 5e-8 may be 0 and one above "
                "65,504 infinite: leave its `dtype` out, or write `mixed_float16`, which keeps weights in float32."
            )
    return ""


def _kept(keeper: Any) -> str:
    counts = [(keeper.kept, "epoch"), (keeper.kept_steps, "step")]
    parts = [f"{number:,} {name}{'s' * (number != 1)}" for number, name in counts if number]
    return f"{' and '.join(parts)} {'is' if len(parts) == 1 and parts[0].startswith('1 ') else 'are'} kept"


def _keep_weights(keeper: Any) -> bool:
    """Saves the weights of a first epoch that has not ended; False where there is nothing to keep."""
    from cnnkit.errors import NonFiniteLoss

    # Averaged weights are all zero before the first update.
    if int(keeper.model.optimizer.iterations.numpy()) > 0:
        with contextlib.suppress(NonFiniteLoss):
            keeper.check_variables()
            keeper.save_model()
            return True
    return False
