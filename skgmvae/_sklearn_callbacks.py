"""scikit-learn's own callbacks (1.9 and later): every epoch of the last phase is a task of the fit.

Without ``set_callbacks``, and with an older scikit-learn, nothing here does anything.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from skorch.callbacks import Callback

try:
    from sklearn import callback as experimental

    CallbackSupport: Any = experimental.CallbackSupportMixin
    wrap: Any = experimental.with_callbacks
except (ImportError, AttributeError):  # before scikit-learn 1.9, or when it has moved
    CallbackSupport, wrap = type("NoCallbacks", (), {}), None

Method = TypeVar("Method", bound=Callable[..., Any])
N_WRAPPERS = 0 if wrap is None else 1  # frames between fit and its caller


def with_callbacks(method: Method) -> Method:
    """``method``, after which scikit-learn's callbacks are told that it has ended."""
    return method if wrap is None else wrap(method)


class EpochTasks(Callback):
    """Tells scikit-learn's callbacks when an epoch begins and ends, and stops when one of them asks for it.

    Parameters
    ----------
    estimator : DeepMixture
        That is being fitted.
    context : sklearn.callback.CallbackContext
        Of the whole fit.
    X : array-like
        The training rows, for callbacks that score.
    """

    def __init__(self, estimator: Any, context: Any, X: Any) -> None:
        self.estimator, self.context, self.X = estimator, context, X

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin a task."""
        self.task_ = self.context.subcontext(task_name="epoch")
        self.task_.call_on_fit_task_begin(estimator=self.estimator, X=self.X)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """End it; the estimator as it would be if the training stopped here is made only if it is asked for."""
        stops = self.task_.call_on_fit_task_end(
            estimator=self.estimator, X=self.X, reconstruction_attributes=lambda: self._describe(net)
        )
        if stops:
            raise KeyboardInterrupt  # skorch's way to end a fit in good order

    def end(self) -> None:
        """The whole fit has ended."""
        self.context.call_on_fit_task_end(estimator=self.estimator, X=self.X)

    def _describe(self, net: Any) -> dict[str, Any]:
        """What ``predict``, ``score`` and ``sample`` need; the noise of the scores is not that of the fitted one."""
        return {
            "net_": net,
            "weights_": net.module_.log_weights().detach().exp().double().numpy(force=True),
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
    estimator._validate_params()  # the number of epochs is one of them
    n_epochs = estimator._choose_max_iter(*_shape(X)) * (1 if continues else estimator.n_init)
    context = estimator._init_callback_context(max_subtasks=n_epochs)
    context.call_on_fit_task_begin(estimator=estimator, X=X)
    return EpochTasks(estimator, context, X)
