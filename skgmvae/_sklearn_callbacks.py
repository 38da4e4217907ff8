"""Support for scikit-learn's callbacks (1.9 and later): every epoch of the training is a task of the fit.

Without ``set_callbacks``, and with an older scikit-learn, this module has no effect.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from skorch.callbacks import Callback

from skgmvae._auto import choose_settings
from skgmvae.models.subcomponents import log_cluster_weights

try:
    from sklearn import callback as experimental

    CallbackSupport: Any = experimental.CallbackSupportMixin
    wrap: Any = experimental.with_callbacks
except (ImportError, AttributeError):  # before scikit-learn 1.9, or when it has moved
    CallbackSupport, wrap = type("NoCallbacks", (), {}), None

Method = TypeVar("Method", bound=Callable[..., Any])


def with_callbacks(method: Method) -> Method:
    """``method``, with scikit-learn's callbacks notified when it ends."""
    return method if wrap is None else wrap(method)


class EpochTasks(Callback):
    """Notify scikit-learn's callbacks of the beginning and end of each epoch, and stop if one of them requests it.

    Parameters
    ----------
    estimator : DeepMixture
        The estimator that is fitted.
    context : sklearn.callback.CallbackContext
        The context of the whole fit.
    X : array-like
        The training samples, for callbacks that compute scores.
    """

    def __init__(self, estimator: Any, context: Any, X: Any) -> None:
        self.estimator, self.context, self.X = estimator, context, X

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Start a task."""
        self.task_ = self.context.subcontext(task_name="epoch")
        self.task_.call_on_fit_task_begin(estimator=self.estimator, X=self.X)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """End the task; the attributes of the estimator at this epoch are computed only on request."""
        stops = self.task_.call_on_fit_task_end(
            estimator=self.estimator, X=self.X, reconstruction_attributes=lambda: self._describe(net)
        )
        if stops:
            raise KeyboardInterrupt  # skorch's way to stop a fit

    def end(self) -> None:
        """The whole fit has ended."""
        self.context.call_on_fit_task_end(estimator=self.estimator, X=self.X)

    def _describe(self, net: Any) -> dict[str, Any]:
        """What ``predict``, ``score`` and ``sample`` need; the noise of the scores is not the final one."""
        return {
            "net_": net,
            "weights_": log_cluster_weights(net.module_).detach().exp().double().numpy(force=True),
            "_noise_seed": getattr(self.estimator, "_noise_seed", 0),
        }


def _shape(X: Any) -> tuple[int, int]:
    """Samples and features; of rows that are no array yet, and may turn out to be none, as an array would have."""
    n_samples, *rest = X.shape if hasattr(X, "shape") else np.shape(X)
    return int(n_samples), int(rest[0]) if rest else 1


def begin_tasks(estimator: Any, X: Any, continues: bool) -> EpochTasks | None:
    """The link to the callbacks that ``set_callbacks`` or a meta-estimator has set; None if there are none."""
    if not getattr(estimator, "_skl_callbacks", None):
        return None
    estimator._validate_params()  # they include the number of epochs
    n_epochs = choose_settings(estimator, *_shape(X)).max_iter * (1 if continues else estimator.n_init)
    context = estimator._init_callback_context(max_subtasks=n_epochs)
    context.call_on_fit_task_begin(estimator=estimator, X=X)
    return EpochTasks(estimator, context, X)


@contextmanager
def epoch_tasks(estimator: Any, X: Any, continues: bool) -> Iterator[list[EpochTasks]]:
    """The link to the callbacks of ``set_callbacks`` while a fit lasts; an empty list if there are none."""
    tasks = begin_tasks(estimator, X, continues)
    yield [tasks] if tasks is not None else []
    if tasks is not None:
        estimator.net_.set_callbacks(list(estimator.callbacks or []))
        tasks.end()
