"""The bias of ``score_samples``, measured by annealed importance sampling."""

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skgmvae._evaluation import count_weights, model_for_queries
from skgmvae._validation import check_samples
from skgmvae.data.arrays import Floats, MatrixLike, Seed
from skgmvae.models.annealing import anneal_log_density
from skgmvae.runtime import MAX_SEED, check_device, isolated, limit_threads

__all__ = ["ScoreBias", "score_bias"]

CHAINS_AT_ONCE = 8192  # of all samples and networks of a chunk


class ScoreBias(NamedTuple):
    """Bias of the scores of some samples, in nats: ``score_samples`` minus the estimate of log p(x).

    Attributes
    ----------
    mean : float
        Mean over the samples; negative if the scores are too low.
    standard_error : float
        Standard error of the mean: the standard deviation over the samples divided by the square root of their number.
    per_sample : ndarray of shape (n_samples,)
    """

    mean: float
    standard_error: float
    per_sample: Floats


@isolated()
def score_bias(
    estimator: Any, X: MatrixLike, *, n_temperatures: int = 200, n_chains: int = 16, random_state: Seed = None
) -> ScoreBias:
    """How far ``score_samples`` of a fitted estimator is from log p(x), by annealed importance sampling.

    Chains of Hamiltonian Monte Carlo move the latent variables of each sample from a broad proposal to their posterior,
    through ``n_temperatures`` intermediate distributions. The ratios of successive densities give an unbiased estimate
    of p(x). This takes thousands of evaluations of the decoder per sample and chain, so pass tens or hundreds of
    samples.

    The estimate of log p(x) is itself slightly too low, by about half its variance, so scores are at least as far below
    log p(x) as the result says. ``per_sample`` includes the noise of the chains. If more temperatures change the mean
    by more than its standard error, there were too few.

    Parameters
    ----------
    estimator : GMVAEClustering, VaDEClustering or VAEEMClustering
        Fitted. For a pipeline, pass its last step, and the transformed samples.
    X : array-like of shape (n_samples, n_features)
    n_temperatures : int, default=200
    n_chains : int, default=16
        Per sample, and, in VAE-EM, per component.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    ScoreBias
        ``mean``, ``standard_error``, ``per_sample``.

    Raises
    ------
    ValueError
        If there are fewer than two samples, or ``n_temperatures`` or ``n_chains`` is not a positive integer.

    References
    ----------
    Neal (2001), *Annealed Importance Sampling*, Statistics and Computing 11(2). Wu, Burda, Salakhutdinov and Grosse
    (2017), *On the Quantitative Analysis of Decoder-Based Generative Models*, ICLR.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from skgmvae import VaDEClustering
    >>> from skgmvae.metrics import score_bias
    >>> X, _ = make_blobs(100, centers=2, random_state=0)
    >>> vade = VaDEClustering(2, tol=100.0, random_state=0).fit(X)
    >>> bias = score_bias(vade, X[:10], n_temperatures=100, random_state=0)
    >>> bool(abs(bias.mean) < 0.2)
    True
    """
    check_is_fitted(estimator)
    for name, value in (("n_temperatures", n_temperatures), ("n_chains", n_chains)):
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}")
    samples = np.array(check_samples(estimator, X, reset=False)[:], np.float64, order="C")
    if len(samples) < 2:
        raise ValueError(f"a standard error needs at least two samples, got {len(samples)}; pass more samples")
    model = model_for_queries(estimator.net_.module_, check_device(estimator.device))
    there = next(model.parameters()).device
    generator = torch.Generator(there).manual_seed(int(check_random_state(random_state).randint(MAX_SEED)))
    size = max(1, CHAINS_AT_ONCE // (n_chains * getattr(model, "n_networks", 1)))
    options: dict[str, Any] = {"n_temperatures": int(n_temperatures), "n_chains": int(n_chains), "generator": generator}
    with limit_threads(CHAINS_AT_ONCE * count_weights(model)):
        chunks = torch.from_numpy(samples).to(there).split(size)
        log_density = torch.cat([anneal_log_density(model, chunk, **options) for chunk in chunks]).numpy(force=True)
    bias = estimator.score_samples(X) - log_density
    return ScoreBias(float(bias.mean()), float(bias.std(ddof=1) / np.sqrt(len(bias))), bias)
