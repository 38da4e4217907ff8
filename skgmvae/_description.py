"""Description of a fit: the fitted attributes, the order of the components, and warnings."""

import time
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from skgmvae._component_moments import component_means
from skgmvae._evaluation import map_shares
from skgmvae._parameters import explain_no_convergence
from skgmvae._warnings import warn
from skgmvae.data.training_data import TrainingData
from skgmvae.models.contract import ELBOTerms
from skgmvae.models.subcomponents import count_clusters, count_subcomponents, log_cluster_weights
from skgmvae.runtime import check_device
from skgmvae.training.fitting import FitResult
from skgmvae.training.train import TrainOutcome

__all__ = ["describe_fit", "is_numbered", "order_components", "warn_if_interrupted", "warn_unless_converged"]

INTERRUPTED = "Training was interrupted; the state reached so far is kept."


def describe_fit(estimator: Any, result: FitResult, data: TrainingData) -> None:
    """Set the fitted attributes, before the components are renumbered."""
    began = time.perf_counter()
    history = result.net.history
    estimator.net_ = result.net
    names = ("lower_bound", *ELBOTerms._fields)
    estimator.history_ = {name: [record[name] for record in history] for name in names}
    estimator.n_iter_ = result.n_epochs
    estimator.lower_bounds_ = estimator.history_["lower_bound"][len(history) - result.n_epochs :]
    estimator.lower_bound_ = result.lower_bound
    estimator.converged_ = result.outcome.converged
    estimator.validation_scores_ = result.outcome.validation_scores
    best = result.outcome.best_epoch
    earlier = 0 if result.init_params else int(estimator.best_iter_)  # of the trainings that this one continues
    estimator.best_iter_ = earlier + (result.n_epochs if best is None else best)
    model, device = result.net.module_, check_device(estimator.device)
    with torch.inference_mode():
        estimator.weights_ = log_cluster_weights(model).exp().numpy(force=True).copy()
    estimator.n_subcomponents_ = count_subcomponents(model).numpy()
    estimator.labels_ = map_shares(estimator._most_probable, data.X)
    estimator.means_ = component_means(model, data.n_features, device)
    estimator._set_model_attributes(model)
    estimator.phase_seconds_ = {**result.seconds, "assignment": time.perf_counter() - began}


def is_numbered(estimator: Any, init_labels: Any = None) -> bool:
    """Whether the user has said which component is which."""
    return init_labels is not None or estimator.means_init is not None


def order_components(estimator: Any) -> None:
    """Renumber the components by their training samples, largest first; of equal ones, by the first of these."""
    net, labels = estimator.net_, estimator.labels_
    counts = np.bincount(labels, minlength=count_clusters(net.module_))
    # the initial numbers depend on the last digits of the samples
    firsts = np.full(len(counts), len(labels))
    firsts[labels[::-1]] = np.arange(len(labels))[::-1]
    order = np.lexsort((firsts, -counts))
    if np.array_equal(order, np.arange(len(order))):
        return
    net.reorder(torch.from_numpy(order))
    # predicting again would take as long as the first time
    estimator.labels_ = np.argsort(order)[labels]
    for name in ("weights_", "means_", "n_subcomponents_"):
        setattr(estimator, name, getattr(estimator, name)[order])
    estimator._set_model_attributes(net.module_)


def warn_if_interrupted(outcome: TrainOutcome) -> None:
    """Issue a warning after Ctrl-C."""
    if outcome.interrupted:
        warn(INTERRUPTED)


def warn_unless_converged(estimator: Any, outcome: TrainOutcome) -> None:
    """Issue a ConvergenceWarning if all epochs were used and the bound still changed."""
    n_epochs = estimator.max_iter_
    if outcome.converged or outcome.interrupted or n_epochs == 0:
        return
    if estimator.n_iter_ >= n_epochs:
        advice = f"Increase max_iter (now {n_epochs})"
        if estimator.max_iter == "auto":
            further = ", and a second training" if estimator.n_iter_ > n_epochs else ""
            advice = f"Set max_iter to more than {estimator.n_iter_} ('auto' chose {n_epochs}{further})"
        if outcome.validation_scores:  # the best state is kept, whatever the bounds are
            text = (
                f"Training ended after {estimator.n_iter_} epochs, but more may improve the "
                f"score on held-out samples. {advice}, or continue with warm_start=True."
            )
        else:
            text = explain_no_convergence(estimator.lower_bounds_, estimator.tol, n_epochs, estimator.learning_rate_)
        warn(text, ConvergenceWarning)
