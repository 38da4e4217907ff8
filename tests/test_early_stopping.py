"""Early stopping: who is held out, what is kept, and when a training has converged."""

import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris, load_wine, make_blobs, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.data.training_data import TrainingData
from skgmvae.initialization import representations
from skgmvae.initialization.likeliest import find_likeliest
from skgmvae.initialization.moments import estimate_mixture
from skgmvae.models.background import Background
from skgmvae.training import early_stopping
from skgmvae.training.held_out import LEAST_LOG_POSTERIOR, HeldOut, Scores, is_better, is_clear, is_open, split_rows
from skgmvae.training.validation import ValidationStopping

ESTIMATORS = [VaDEClustering, GMVAEClustering, VAEEMClustering]


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


@pytest.mark.parametrize(
    ("counts", "fraction", "n_held_out"),
    [((800, 150, 50), 0.1, 100), ((80, 60), 0.1, 28), ((300, 100), 0.01, 30), ((25_000, 5_000), 0.2, 2000)],
)
def test_every_cluster_gives_its_share(counts, fraction, n_held_out):
    labels = np.repeat(np.arange(len(counts)), counts)
    responsibilities = torch.eye(len(counts))[labels]
    rest, held_out = split_rows(responsibilities, fraction, np.random.RandomState(0))
    assert_array_equal(np.sort(np.r_[rest, held_out]), np.arange(len(labels)))
    assert len(held_out) == n_held_out
    shares = np.bincount(labels[held_out], minlength=len(counts)) - n_held_out * np.array(counts) / len(labels)
    assert np.abs(shares).max() <= 1.0
    others = split_rows(responsibilities, fraction, np.random.RandomState(1))[1]
    assert not np.array_equal(held_out, others)


def make_scores(marginal, divergence=0.0):
    spread = np.linspace(-0.1, 0.1, 50)
    return Scores(marginal + spread, np.full(50, float(divergence)))


def test_a_gain_counts_if_it_is_clear_and_costs_nothing_else():
    noise = np.random.RandomState(0).normal(0.0, 1.0, 100)
    assert is_clear(0.5 + noise) and not is_clear(0.05 + noise) and not is_clear(np.full(100, 0.01))
    for n, clear in ((4, False), (400, True)):  # 2.5 standard errors, which are nothing rare for four samples
        signs = np.resize([-1.0, 1.0], n)
        assert is_clear(1.0 + signs * math.sqrt(n - 1) / 2.5) == clear
    before = make_scores(0.0, 1.0)
    assert is_better(make_scores(0.1, 1.0), before) and is_better(make_scores(0.0, 0.5), before)
    assert not is_better(make_scores(-0.2, 0.5), before)  # clusters for density
    assert not is_better(make_scores(0.2, 1.5), before)  # density for clusters
    assert not is_better(before, before)


class ScriptedRun:
    """Epochs that are scored by a script; the epoch is the only weight."""

    def __init__(self, scores, n_clamped, patience=3):
        self.scores, self.module_ = list(scores), torch.nn.Linear(1, 1, bias=False)
        self.optimizer_, self.history = SimpleNamespace(state={}), []
        held_out = SimpleNamespace(score=lambda module, roughly: self.scores[len(self.history)])
        n_epochs = len(self.scores) - 1
        self.stop = ValidationStopping(held_out, n_epochs, n_clamped, 1000, patience, tol=0.0)

    def run(self):
        self.set_weight(0)
        self.stop.on_train_begin(self)
        try:
            for epoch in range(1, len(self.scores)):
                self.set_weight(epoch)
                self.history.append({"lower_bound": 0.0})
                self.stop.on_epoch_end(self)
        except KeyboardInterrupt:
            pass
        self.stop.on_train_end(self)
        return self

    def set_weight(self, value):
        with torch.no_grad():
            self.module_.weight.fill_(value)


@pytest.mark.parametrize(
    ("divergence", "gain", "is_longer"),
    [(0.04, 1.0, False), (0.06, 1.0, True), (0.06, 0.01, False), (0.4, 0.0, False), (0.6, -1.0, True)],
)
def test_a_longer_training_needs_other_clusters_or_a_gain(divergence, gain, is_longer):
    before, after = Scores(np.zeros(4), np.full(4, divergence)), Scores(np.full(4, gain), np.full(4, divergence))
    assert is_open(after, before) is is_longer


def test_the_best_state_is_kept_and_checks_without_gain_end_the_training():
    run = ScriptedRun([make_scores(value) for value in (0, 1, 3, 2, 2, 2, 9)], n_clamped=6).run()
    assert (run.stop.best_epoch_, float(run.module_.weight.detach()), len(run.history)) == (2, 2.0, 5)
    assert run.stop.converged_ and run.stop.scores_ == pytest.approx([0, 1, 3, 2, 2, 2])


@pytest.mark.parametrize(("last", "best"), [(3.5, 4), (2.001, 2)])
def test_free_epochs_begin_with_the_best_clamped_state_and_need_a_clear_gain(last, best):
    run = ScriptedRun([make_scores(value) for value in (0, 1, 2, 1, last)], n_clamped=3).run()
    assert (run.stop.best_epoch_, float(run.module_.weight.detach())) == (best, float(best))


def test_clamped_states_are_compared_with_the_clusters():
    scores = [make_scores(0.0, 2.0), make_scores(0.5, 2.2), make_scores(0.2, 0.1)]
    assert ScriptedRun(scores, n_clamped=2).run().stop.best_epoch_ == 2


@pytest.mark.parametrize(("divergence", "gain", "n_epochs"), [(0.0, 0.01, 1), (0.0, 0.03, 4), (0.1, 0.01, 4)])
def test_components_that_are_the_clusters_already_gain_early_or_not_at_all(divergence, gain, n_epochs):
    run = ScriptedRun([make_scores(value, divergence) for value in (0.0, gain, 0.0, 0.0, 0.0, 0.0)], n_clamped=5).run()
    assert len(run.history) == n_epochs and run.stop.converged_


@pytest.mark.parametrize(("n_samples", "width", "n_checked"), [(50, 2, 50), (600, 2, 500), (600, 100, 60)])
def test_checks_during_a_training_look_at_some_held_out_samples(n_samples, width, n_checked):
    data = TrainingData.from_rows(np.random.RandomState(0).normal(size=(n_samples, 100)))
    checked = HeldOut(data, torch.full((n_samples, 5), 0.2), width).checked
    assert len(np.unique(checked)) == n_checked and checked[0] == 0 and checked[-1] == n_samples - 1


def test_scores_are_those_of_the_present_weights_and_of_the_given_model(blobs):
    X = blobs[0]
    rows, responsibilities = TrainingData.from_rows(X), torch.full((len(X), 2), 0.5)
    options = {"max_iter": 0, "max_subcomponents": 1}
    first, second = (VaDEClustering(2, random_state=seed, **options).fit(X).net_.module_ for seed in (0, 1))
    held_out = HeldOut(rows, responsibilities, *first.noise_shape)
    before = held_out.score(first).marginal
    with torch.no_grad():
        second.means.add_(1.0)
        first.load_state_dict(second.state_dict())
    expected = HeldOut(rows, responsibilities, *first.noise_shape).score(second).marginal
    assert np.abs(expected - before).max() > 0.1
    assert_array_equal(held_out.score(first).marginal, expected)
    assert_array_equal(held_out.score(second).marginal, expected)


def test_a_sample_too_far_for_a_density_does_not_void_a_check(blobs, monkeypatch):
    X = blobs[0]
    module = VaDEClustering(2, random_state=0, max_iter=0, max_subcomponents=1).fit(X).net_.module_
    held_out = HeldOut(TrainingData.from_rows(X), torch.full((len(X), 2), 0.5), *module.noise_shape)
    exact, first = type(module).log_joint, torch.from_numpy(X[0])

    def miss(model, x, points):
        return exact(model, x, points).masked_fill((x == first).all(1, keepdim=True), -np.inf)

    monkeypatch.setattr(type(module), "log_joint", miss)
    scores = held_out.score(module)
    assert np.isfinite(scores.joint).all()
    np.testing.assert_allclose(scores.divergence[0], -LEAST_LOG_POSTERIOR - np.log(2.0))


def test_a_model_that_gains_nothing_is_the_mixture_of_all_samples():
    X, _ = make_blobs(200, n_features=3, centers=3, random_state=0)
    model = VaDEClustering(3, random_state=0).fit(X)
    assert model.best_iter_ == 0 and model.n_iter_ > 0
    points = torch.from_numpy((X - X.mean(0)) / X.std(0))
    responsibilities = torch.eye(3, dtype=torch.float64)[model.labels_]
    mixture = estimate_mixture(points, responsibilities, np.random.RandomState(0))
    # of labels instead of the initial responsibilities, with other folds: nearly the same
    log_joint = torch.stack(
        [
            torch.distributions.MultivariateNormal(m, C).log_prob(points) + w.log()
            for w, m, C in zip(*mixture, strict=True)
        ],
        1,
    )
    expected = Background(3).fit(points).mix(torch.logsumexp(log_joint, 1), points) - np.log(X.std(0)).sum()
    assert_allclose(model.score_samples(X).mean(), expected.mean(), atol=0.02)
    assert_array_equal(model.predict(X), log_joint.argmax(1))


class Watcher(Callback):
    """Notes the samples of all batches."""

    def on_train_begin(self, net, **kwargs):
        self.seen_ = set()

    def on_batch_begin(self, net, batch=None, training=False, **kwargs):
        rows = batch[0] if isinstance(batch, tuple) else batch
        self.seen_ |= set(rows.reshape(-1, rows.shape[-1])[:, 0].tolist())


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_held_out_samples_are_not_trained_on(Estimator):
    X, _ = make_moons(150, noise=0.1, random_state=0)
    watcher = Watcher()
    Estimator(2, random_state=0, max_iter=40, callbacks=[watcher]).fit(X)
    assert len(watcher.seen_) == 150 - 30
    model = Estimator(2, random_state=0, max_iter=40, callbacks=[watcher], early_stopping=False).fit(X)
    assert len(watcher.seen_) == 150
    assert model.validation_scores_ == [] and model.best_iter_ == model.n_iter_


def test_of_several_initializations_the_best_for_the_same_held_out_samples_is_kept():
    X, _ = make_moons(150, noise=0.2, random_state=0)
    options = {"init_params": "kmeans", "random_state": 3, "max_iter": 20}
    one, several = (VaDEClustering(4, n_init=n, **options).fit(X) for n in (1, 4))
    assert max(several.validation_scores_) >= max(one.validation_scores_) - 0.05


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_a_continued_fit_keeps_the_clusters_or_improves_them(Estimator):
    X, y = make_moons(300, noise=0.1, random_state=0)
    model = Estimator(2, random_state=0, warm_start=True, max_iter=30).fit(X)
    before, score = adjusted_rand_score(y, model.labels_), model.score(X)
    model.fit(X)
    assert adjusted_rand_score(y, model.labels_) > before - 0.05
    assert model.score(X) > score - 0.05


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_a_pass_over_a_block_goes_only_as_far_as_the_density_of_the_block_asks_for(Estimator):
    X = load_iris().data[np.random.RandomState(1).permutation(150)]
    model = Estimator(3, random_state=0, max_iter=10).fit(X[:110])
    labels, score, held_out = model.labels_, model.score(X[:110]), model.score(X[110:])
    for _ in range(3):
        model.partial_fit(X[:110])
    assert model.score(X[:110]) > score - 0.02  # steps of full size lose up to 5 nats
    assert model.score(X[110:]) > held_out - 0.1
    assert (model.labels_ == labels).mean() > 0.95


def test_a_kept_mixture_has_converged_unless_the_training_was_too_short():
    X = train_test_split(load_wine().data, random_state=0)[0]  # few held-out samples, whose scores are noisy
    model = VaDEClustering(3, random_state=0).fit(X)
    assert model.best_iter_ == 0 and model.converged_
    model = VaDEClustering(3, max_iter=1, random_state=0).fit(X)
    assert model.best_iter_ == 0 and not model.converged_


@pytest.mark.parametrize("Estimator", [VaDEClustering, GMVAEClustering, VAEEMClustering])
def test_a_few_samples_do_not_overfit(Estimator):
    X = StandardScaler().fit_transform(load_wine().data)
    X = X[np.random.RandomState(0).permutation(len(X))]
    model = Estimator(3, random_state=0).fit(X[:36])  # as many epochs without early stopping lose up to 4 nats
    mixture = Estimator(3, max_iter=0, random_state=0).fit(X[:36])
    assert model.n_iter_ > 0
    assert model.score(X[36:]) > mixture.score(X[36:]) - 0.01


@pytest.fixture
def crossing(monkeypatch):
    """Two long normals that cross, and an automatic choice that halves the plane instead."""
    rng = np.random.RandomState(0)
    y = rng.randint(2, size=400)
    X = rng.normal(size=(400, 2)) * [3.0, 0.3]
    X[y == 1] = X[y == 1][:, ::-1]

    def halve(init_params, views, n_components, random_state):
        return "halves", np.eye(2)[(views.embedding[:, 0] > 0.0).astype(int)]

    monkeypatch.setattr("skgmvae.initialization.initialize.choose_responsibilities", halve)
    return X, y


def test_only_vaeem_leaves_clusters_that_are_left_to_it_for_likelier_ones(crossing):
    X, y = crossing
    best = GaussianMixture(2, n_init=5, random_state=0).fit(X).score(X)
    moved = VAEEMClustering(2, random_state=1, max_iter=10).fit(X)  # with 21 of the seeds 0 to 21
    assert moved.init_params_ == "halves, then the likeliest mixture"
    assert moved.score(X) > best - 0.05
    assert adjusted_rand_score(y, moved.labels_) > 0.6
    for Estimator, options, labels in (
        (VaDEClustering, {}, None),
        (VAEEMClustering, {"init_clamp": 1.0}, None),
        (VAEEMClustering, {}, y),
    ):
        model = Estimator(2, random_state=0, max_iter=2, **options).fit(X, init_labels=labels)
        assert model.init_params_ == ("halves" if labels is None else "init_labels")


def test_of_many_samples_mixtures_are_those_of_some(crossing, monkeypatch):
    X, _ = crossing
    whole, sizes = early_stopping.initialize_linear, []

    def initialize(model, points, responsibilities, random_state):
        sizes.append((len(points), len(responsibilities)))
        return whole(model, points, responsibilities, random_state)

    monkeypatch.setattr(early_stopping, "initialize_linear", initialize)
    monkeypatch.setattr(early_stopping, "MAX_INIT_ROWS", 150)
    monkeypatch.setattr(representations, "MAX_INIT_ROWS", 150)
    best = GaussianMixture(2, n_init=5, random_state=0).fit(X).score(X)
    model = VAEEMClustering(2, random_state=1, max_iter=10).fit(X)
    assert set(sizes) == {(150, 150)} and len(X) > 300
    assert model.init_params_ == "halves, then the likeliest mixture" and model.score(X) > best - 0.2


def test_the_likeliest_mixture_is_compared_on_samples_left_out():
    rng = np.random.RandomState(0)
    y = torch.from_numpy(rng.randint(2, size=300))
    points = torch.from_numpy(rng.normal(size=(300, 3))) + 4.0 * y.unsqueeze(1)
    found = find_likeliest(points, torch.eye(2, dtype=torch.float64)[y], rng)
    assert abs(float(found.gains.mean())) < 0.02  # the clusters are the mixture already
    assert_array_equal(found.assign(points[:50]).argmax(1) == y[:50], True)
    shuffled = torch.eye(2, dtype=torch.float64)[y[torch.randperm(300, generator=torch.Generator().manual_seed(0))]]
    assert is_clear(find_likeliest(points, shuffled, rng).gains.numpy())
    assert find_likeliest(points, torch.ones(300, 1, dtype=torch.float64), rng) is None
    assert find_likeliest(points[:8], torch.eye(2, dtype=torch.float64)[y[:8]], rng) is None


def test_no_mixture_is_likelier_than_clusters_that_are_clear():
    """Two rings: that of two Gaussians with the highest likelihood does not know them."""
    rng = np.random.RandomState(0)
    angle, y = rng.uniform(0.0, 2.0 * np.pi, 400), rng.randint(2, size=400)
    rings = (2.0 - y) * np.array([np.cos(angle), np.sin(angle)]) + 0.05 * rng.normal(size=(2, 400))
    points, responsibilities = torch.from_numpy(rings.T.copy()), torch.eye(2, dtype=torch.float64)[torch.from_numpy(y)]
    assert find_likeliest(points, responsibilities, rng) is None
    assert find_likeliest(points, responsibilities[rng.permutation(400)], rng) is not None


def test_halves_of_a_cross_are_no_clear_clusters():
    """They lose less information than its bars do, but so do halves of samples drawn from these."""
    rng = np.random.RandomState(0)
    length, y = rng.exponential(size=400) - 1.0, rng.randint(2, size=400)
    bars = np.c_[length, length * np.where(y == 1, 0.6, -0.6)] + 0.05 * rng.normal(size=(400, 2))
    halves = torch.eye(2, dtype=torch.float64)[torch.from_numpy((length > 0.0).astype(int))]
    found = find_likeliest(torch.from_numpy(bars), halves, rng)
    assert found is not None and is_clear(found.gains.numpy())


def test_samples_in_a_file_cannot_be_held_out(small_blocks):
    h5py = pytest.importorskip("h5py")
    X, _ = make_blobs(300, n_features=4, random_state=0)
    with h5py.File("x.h5", "w", driver="core", backing_store=False) as file:
        rows = file.create_dataset("X", data=X)
        with pytest.raises(ValueError, match="needs samples in memory"):
            VaDEClustering(3, early_stopping=True, max_iter=1).fit(rows)
        assert VaDEClustering(3, max_iter=1, random_state=0).fit(rows).validation_scores_ == []


@pytest.mark.filterwarnings("ignore:Training ended after:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:The density has:UserWarning")
def test_epochs_of_the_model_are_those_of_all_trainings():
    """A continuation without a gain leaves a trained model, which is no Gaussian mixture."""
    X, _ = make_moons(300, noise=0.05, random_state=0)
    model = VaDEClustering(2, max_subcomponents=1, early_stopping=False, max_iter=5, random_state=0).fit(X)
    before = model.bic(X)
    model.set_params(early_stopping=True, warm_start=True, max_iter=0).fit(X)
    assert model.best_iter_ == 5 and model.bic(X) == before
    assert model.set_params(early_stopping=False, max_iter=2).fit(X).best_iter_ == 7
