"""Search over the number of components, with evidence."""

from __future__ import annotations  # help() then shows MatrixLike, not what it stands for

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import numpy as np
from sklearn import get_config
from sklearn.base import clone
from sklearn.model_selection import KFold, check_cv
from sklearn.utils import Bunch, check_random_state, indexable
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.parallel import Parallel, delayed

from skgmvae._constraints import LIST
from skgmvae.data.arrays import Array, MatrixLike, Seed
from skgmvae.model_selection._delegation import DelegatesToBest
from skgmvae.model_selection._evidence import Search, Values, evaluate_fold, examine_samples, prepare
from skgmvae.model_selection._folds import chance_stability, correct_stability, measure_stability
from skgmvae.model_selection._partitions import SAMPLES_PER_CLUSTER
from skgmvae.model_selection._results import ALWAYS, CRITERIA, choose_each, make_results
from skgmvae.runtime import MAX_SEED, without_autologging

__all__ = ["ComponentSearchCV"]

N_MORE = 2  # numbers beyond the largest, whose clusters show whether the separation falls after it
N_HALVINGS, N_NULL_HALVINGS = 2, 1  # of the samples, and of as many samples of the null, for the stability


class ComponentSearchCV(DelegatesToBest):
    """Search over the number of components, with evidence for each.

    For every number K, the samples are divided into the K clusters that would initialize a mixture of K components.
    They are measured in two ways. The separation is the log-ratio of the density at the lower mode of two neighboring
    clusters to the density at the saddle between them, for the pair where it is smallest. The information lost is the
    share of the entropy of the cluster labels that remains when the labels of nearest neighbors are known.

    The rule ``'combined'`` chooses one cluster if no K has a separation above a threshold, with at most a quarter of
    the information lost. Otherwise it chooses the K after which the separation falls and the information lost rises the
    most. It prefers the K of the Gaussian mixture with the lowest BIC, if the components of this mixture pass a test of
    normality, and are separated or, with at most a tenth of the information lost, have equal covariances. In tables
    with categories, flags or counts, it takes the continuous columns first, and then prefers that number of more
    components whose mixture of all columns has the lowest BIC, provided that these are distinct. ``best_by_criterion_``
    has the choice of each criterion.

    The evidence comes from clusters and Gaussian mixtures. The estimator itself is fitted only for the chosen K, unless
    ``fit_folds=True``. On one core, a search over twelve numbers takes about a minute for a few hundred samples, and
    several minutes for a few thousand.

    Parameters
    ----------
    estimator : estimator
        A mixture with the parameter ``n_components``, or a Pipeline that ends in one.
    n_components : int or iterable of int, default=12
        The numbers that are compared, such as ``range(1, 13)``. An integer means all numbers from 1 up to it. Gaps are
        allowed, but the rule compares each number with the next.
    cv : int, cross-validation generator or iterable, default=5
        Folds of the held-out scores. An integer is the number of shuffled folds. Used only if 'log_likelihood' or 'icl'
        is among the criteria.
    criteria : sequence of str, default=('log_likelihood', 'icl', 'stability', 'description_length')
        What to measure in addition to the separation. 'log_likelihood': held-out score. 'icl': the same minus the
        entropy of the responsibilities (integrated completed likelihood). 'stability': adjusted Rand index between the
        clusters of disjoint halves, scaled so that 0 is its value for a single Gaussian with the same covariance, and 1
        the maximum. 'description_length': description length of the neighbor graph under a block model, in nats per
        link; lower is better.
    refit : bool, str or callable, default='combined'
        The criterion that selects the number for ``best_estimator_``; True is 'combined'. A callable gets
        ``cv_results_`` and returns an index into its columns. False fits no estimator.
    fit_folds : bool, default=False
        Whether 'log_likelihood' and 'icl' are measured with the estimator itself, which is then fitted for each K and
        fold. By default they are measured with the Gaussian mixture that initializes the estimator.
    n_jobs : int, optional
        Number of joblib workers. Folds are evaluated in parallel. Each fold is pretrained once for all numbers.
    memory : str or joblib.Memory, optional
        Cache for the fits to the folds, if the estimator's own ``memory`` is None. None: a folder that is deleted after
        the search.
    random_state : int, RandomState or None, default=None
        Controls the folds and the clusters.

    Attributes
    ----------
    best_n_components_ : int
    best_index_ : int
        Row of ``cv_results_``.
    best_params_ : dict
        ``best_n_components_`` by the name of the parameter.
    best_estimator_ : estimator
        Fitted to all samples with ``best_n_components_``. The search delegates its methods to it. Only with ``refit``.
    best_by_criterion_ : dict of str to int
        The number that each criterion chooses. For 'log_likelihood' and 'icl', it is the smallest whose value is below
        the best by at most one standard error of their difference over the folds; for 'separation', the largest whose
        clusters are all separated.
    cv_results_ : dict of str to ndarray
        A column per criterion: 'separation', 'information_lost', 'dip' (the least √n dip on the line between two
        neighboring clusters), 'bic' (the lowest of Gaussian mixtures), 'misfit' (of the one with the lowest BIC, the
        largest √n Kolmogorov–Smirnov distance of a component from a normal distribution; NaN for other numbers, and
        for fewer than 60 samples per component),
        'tied' (1 if the components of that one share one covariance, else 0), 'lost_whitened' (what its clusters lose
        among neighbors in coordinates in which they are spherical on average),
        'distinct' (only for tables with categories, flags or counts, whose 'bic' is that of mixtures of all columns: 1
        if the components of the mixture are distinct, else 0),
        'description_length' and 'combined' of all samples. For criteria of folds or halves,
        ``mean_test_``, ``std_test_``, ``se_test_`` (standard error), ``rank_test_`` and ``split0_test_``… followed by
        the name of the criterion. NaN where a number is too large for so few samples.
    partitions_ : dict of int to ndarray of shape (n_samples,)
        Cluster labels of the samples, by the number of clusters; also for the two numbers after the largest one.
    n_splits_ : int
    refit_time_ : float
        Seconds of the final fit.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
    labels_ : ndarray of shape (n_samples,)
        Labels of ``best_estimator_``.

    See Also
    --------
    skgmvae.plotting.ComponentSearchDisplay : Plot the evidence.
    merge_components : Fewer clusters of a fitted mixture, without another fit.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from skgmvae import VaDEClustering
    >>> from skgmvae.model_selection import ComponentSearchCV
    >>> X, _ = make_blobs(120, centers=3, random_state=0, cluster_std=0.5)
    >>> vade = VaDEClustering(tol=10.0, random_state=0)
    >>> search = ComponentSearchCV(vade, range(1, 5), cv=2, criteria=["icl"], random_state=0).fit(X)
    >>> search.best_n_components_
    3
    >>> search.predict(X).shape
    (120,)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit"])],
        "n_components": [Interval(Integral, 1, None, closed="left"), "array-like", set],
        "cv": ["cv_object"],
        "criteria": [LIST],
        "refit": ["boolean", StrOptions(set(CRITERIA)), callable],
        "fit_folds": ["boolean"],
        "n_jobs": [Integral, None],
        "memory": [None, str, HasMethods("cache")],
        "random_state": ["random_state"],
    }

    cv_results_: dict[str, Array]
    partitions_: dict[int, Array]
    best_by_criterion_: dict[str, int]
    best_index_: int
    best_n_components_: int
    best_params_: dict[str, int]
    best_estimator_: Any
    n_splits_: int
    refit_time_: float

    def __init__(
        self,
        estimator: Any,
        n_components: int | Iterable[int] = 12,
        *,
        cv: Any = 5,
        criteria: tuple[str, ...] = ("log_likelihood", "icl", "stability", "description_length"),
        refit: bool | str | Callable[[dict[str, Array]], int] = "combined",
        fit_folds: bool = False,
        n_jobs: int | None = None,
        memory: Any = None,
        random_state: Seed = None,
    ) -> None:
        self.estimator = estimator
        self.n_components = n_components
        self.cv = cv
        self.criteria = criteria
        self.refit = refit
        self.fit_folds = fit_folds
        self.n_jobs = n_jobs
        self.memory = memory
        self.random_state = random_state

    @without_autologging()
    def fit(self, X: MatrixLike, y: Any = None, **params: Any) -> Self:
        """Collect the evidence, choose the number of components, and fit the estimator with it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            In memory.
        y : array-like of shape (n_samples,), optional
            Used only by the splitter ``cv`` and by steps of a pipeline.
        **params : dict
            Passed to ``fit`` of the estimator, such as ``init_labels``. Arrays with an entry per sample are split with
            the folds. With metadata routing, what the estimator and the splitter request.

        Returns
        -------
        self : object
        """
        self._validate_params()
        prefix, numbers = _find_prefix(self.estimator), self._check_numbers()
        routed = self._route(params)
        random_state = check_random_state(self.random_state)
        X, y = indexable(X, y)
        splits = self._split(X, y, routed.splitter.split, random_state)
        with self._remembering(prefix, random_state) as estimator:
            search = Search(estimator, prefix, numbers, X, y, routed.estimator.fit, self.fit_folds)
            of_all, of_splits = self._collect(search, splits, random_state)
        self.n_splits_ = len(splits)
        self.partitions_ = of_all.labels
        self.cv_results_ = make_results(f"{prefix}n_components", numbers, self.criteria, of_all.values, of_splits)
        choices = choose_each(self.cv_results_)
        self.best_by_criterion_ = {criterion: numbers[index] for criterion, index in choices.items()}
        self.best_index_ = self._select(choices)
        self.best_n_components_ = numbers[self.best_index_]
        self.best_params_ = {f"{prefix}n_components": self.best_n_components_}
        if self.refit is not False:
            began = time.perf_counter()
            self.best_estimator_ = clone(self.estimator).set_params(**self.best_params_)
            self.best_estimator_.fit(X, y, **routed.estimator.fit)
            self.refit_time_ = time.perf_counter() - began
        return self

    def _check_numbers(self) -> tuple[int, ...]:
        given: Any = self.n_components
        numbers = list(range(1, int(given) + 1) if isinstance(given, Integral) else given)
        bad = [K for K in numbers if not isinstance(K, Integral) or isinstance(K, bool) or K < 1]
        if bad or not numbers:
            raise ValueError(f"n_components must contain positive integers, at least one; got {self.n_components!r}")
        more = CRITERIA[len(ALWAYS) :]
        unknown = [criterion for criterion in self.criteria if criterion not in more]
        if unknown:
            always = f"; {', '.join(map(repr, ALWAYS))} are always there" if unknown[0] in ALWAYS else ""
            raise ValueError(f"criteria may contain {', '.join(map(repr, more))}; got {unknown[0]!r}{always}")
        if isinstance(self.refit, str) and self.refit not in (*ALWAYS, *self.criteria):
            raise ValueError(f"refit={self.refit!r} is not among the criteria, {tuple(self.criteria)!r}; add it")
        return tuple(sorted({int(K) for K in numbers}))

    def _route(self, params: dict[str, Any]) -> Any:
        if get_config()["enable_metadata_routing"]:
            return process_routing(self, "fit", **params)
        return Bunch(estimator=Bunch(fit=params), splitter=Bunch(split={}))

    def _split(self, X: Any, y: Any, params: dict[str, Any], random_state: np.random.RandomState) -> list[Any]:
        if not {"log_likelihood", "icl"} & set(self.criteria):
            return []
        seed = random_state.randint(MAX_SEED)
        folds = KFold(self.cv, shuffle=True, random_state=seed) if isinstance(self.cv, Integral) else self.cv
        return list(check_cv(folds, y).split(X, y, **params))

    @contextmanager
    def _remembering(self, prefix: str, random_state: np.random.RandomState) -> Iterator[Any]:
        """A clone of the estimator that pretrains once per fold."""
        estimator = clone(self.estimator)
        parameters = estimator.get_params()
        if not self.fit_folds or parameters.get(f"{prefix}memory", "none") is not None:
            yield estimator
            return
        if parameters.get(f"{prefix}random_state", "none") is None:  # without a seed nothing is cached
            estimator.set_params(**{f"{prefix}random_state": random_state.randint(MAX_SEED)})
        with TemporaryDirectory() as folder:
            yield estimator.set_params(**{f"{prefix}memory": folder if self.memory is None else self.memory})

    def _collect(
        self, search: Search, splits: list[Any], random_state: np.random.RandomState
    ) -> tuple[Any, list[Values]]:
        """Evidence from all samples, from folds and from halves; all in parallel."""
        # the final fit gives the warnings, if there is one
        samples = prepare(search.estimator, search.X, search.y, warns=self.refit is False)[0]
        numbers, n_samples = search.numbers, len(samples.points)
        if n_samples < SAMPLES_PER_CLUSTER * numbers[0] and numbers[0] > 1:
            raise ValueError(
                f"n_components={self.n_components!r} needs at least {SAMPLES_PER_CLUSTER * numbers[0]} samples, "
                f"{SAMPLES_PER_CLUSTER} for each component of the smallest number; X has {n_samples}"
            )
        n_halvings = N_HALVINGS if "stability" in self.criteria else 0
        halvings = [measure_stability] * n_halvings + [chance_stability] * min(n_halvings, N_NULL_HALVINGS)

        def draw() -> np.random.RandomState:
            return np.random.RandomState(random_state.randint(MAX_SEED))

        more = range(numbers[-1] + 1, numbers[-1] + N_MORE + 1)
        tasks = [delayed(examine_samples)(samples, numbers, more, draw())]
        tasks += [delayed(evaluate_fold)(search, *rows, draw()) for rows in splits]
        tasks += [delayed(measure)(samples.points, numbers, draw()) for measure in halvings]
        of_all, *rest = Parallel(n_jobs=self.n_jobs)(tasks)
        of_folds, halves = rest[: len(splits)], rest[len(splits) :]
        stabilities = correct_stability(halves[:n_halvings], halves[n_halvings:])
        return of_all, [*of_folds, *({"stability": values} for values in stabilities)]

    def _select(self, choices: dict[str, int]) -> int:
        if callable(self.refit):
            return int(self.refit(self.cv_results_))
        criterion = self.refit if isinstance(self.refit, str) else "combined"
        if criterion not in choices:
            raise ValueError(f"refit={criterion!r} cannot choose: it is unknown for a table without continuous columns")
        return choices[criterion]


def _find_prefix(estimator: Any) -> str:
    """Of the parameters of the mixture, which may be the last step of a pipeline."""
    steps = getattr(estimator, "steps", None)
    prefix = f"{steps[-1][0]}__" if steps else ""
    if f"{prefix}n_components" not in estimator.get_params():
        raise ValueError(
            f"the estimator must have the parameter n_components, itself or in the last step of its pipeline; got "
            f"{estimator!r}"
        )
    return prefix
