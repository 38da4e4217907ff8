"""The gate from rows to results: whatever the chunks, the same float64 numbers and nothing left behind."""

import gc
import weakref

import numpy as np
import pytest
import torch

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering, _evaluation, single_precision
from skgmvae._evaluation import chunk_rows, double_precision, map_chunks
from skgmvae.models import VAEEM, VaDE
from skgmvae.training.pretraining import Architecture, make_autoencoder
from skgmvae.training.train import TrainConfig, make_net, train

CPU = torch.device("cpu")
N, D = 75, 4


def make_model():
    torch.manual_seed(0)
    architecture = Architecture(D, 2, (16,), None, "gaussian", (5.0,) * D, (2.0,) * D)
    return VaDE(make_autoencoder(architecture), n_components=3)


def draw_rows(dtype=np.float64):
    return np.random.default_rng(0).normal(5.0, 2.0, (N, D)).astype(dtype)


def log_responsibilities(module, rows):
    return module.log_responsibilities(rows)


def test_results_do_not_depend_on_the_chunks(monkeypatch):
    model, X = make_model(), draw_rows()
    whole = map_chunks(model, log_responsibilities, X, CPU)
    assert chunk_rows(model) > N
    monkeypatch.setattr(_evaluation, "CHUNK_VALUES", 1)
    assert chunk_rows(model) < N / 4
    in_chunks = map_chunks(model, log_responsibilities, X, CPU)
    by_row = np.concatenate([map_chunks(model, log_responsibilities, X[i : i + 1], CPU) for i in range(N)])
    assert whole.dtype == np.float64 and whole.shape == (N, 3)
    np.testing.assert_allclose(in_chunks, whole, rtol=1e-10)
    np.testing.assert_allclose(by_row, whole, rtol=1e-10)


def test_chunks_make_room_for_stacked_networks():
    torch.manual_seed(0)
    autoencoder = make_autoencoder(Architecture(784, 2, (16,), None, "bernoulli"))
    sizes = [chunk_rows(VAEEM(autoencoder, n_components), n_copies=4) for n_components in (1, 5, 50)]
    assert sizes[0] // 5 == sizes[1] and sizes[0] // 50 == sizes[2] > 0


def test_results_of_more_and_of_fewer_axes_keep_their_shape():
    model, X = make_model(), draw_rows()
    pairs = map_chunks(model, lambda double, rows: rows.unsqueeze(1) * rows.unsqueeze(2), X, CPU)
    sums = map_chunks(model, lambda double, rows: rows.sum(1), X, CPU)
    np.testing.assert_array_equal(pairs, X[:, None] * X[:, :, None])
    np.testing.assert_allclose(sums, X.sum(1), rtol=1e-14)


def test_no_rows_is_an_error():
    with pytest.raises(ValueError, match="no rows; pass at least one"):
        map_chunks(make_model(), log_responsibilities, draw_rows()[:0], CPU)


def test_float32_and_a_read_only_memmap_give_the_same_numbers(tmp_path):
    model, X = make_model(), draw_rows(np.float32)
    path = tmp_path / "X.npy"
    np.save(path, X)
    expected = map_chunks(model, log_responsibilities, X.astype(np.float64), CPU)
    for rows in (X, np.load(path, mmap_mode="r"), np.asfortranarray(X)):
        np.testing.assert_array_equal(map_chunks(model, log_responsibilities, rows, CPU), expected)


def test_only_a_chunk_of_the_rows_is_read_at_a_time(monkeypatch):
    class Rows:
        """Gives slices and notes their length; a conversion of all rows would ask for single ones."""

        def __init__(self, X):
            self.X, self.lengths = X, []

        def __len__(self):
            return len(self.X)

        def __getitem__(self, key):
            assert isinstance(key, slice)
            self.lengths.append(len(self.X[key]))
            return self.X[key]

    monkeypatch.setattr(_evaluation, "CHUNK_VALUES", 1)
    model, rows = make_model(), Rows(draw_rows(np.float32))
    map_chunks(model, log_responsibilities, rows, CPU)
    assert sum(rows.lengths) == N
    assert max(rows.lengths) == chunk_rows(model) == 16


def test_more_draws_per_row_make_smaller_chunks():
    model = make_model()
    assert chunk_rows(model, n_copies=10**4) == 16 < chunk_rows(model, n_copies=10**3) < chunk_rows(model) == 8192


def test_module_and_global_generators_are_left_as_they_were():
    model, X = make_model().train(), draw_rows()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    flags = []
    map_chunks(model, lambda double, rows: (flags.append(double.training), double.embed(rows))[1], X, CPU)
    assert flags == [False] and model.training and all(module.training for module in model.modules())
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == before[name].dtype
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    assert model.means.dtype == torch.float32 and not model.means.is_inference()
    torch.testing.assert_close(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)


@torch.no_grad()
def change_in_place(model):
    model.means.add_(1.0)


def load_other_weights(model):
    model.load_state_dict({name: tensor + 1 for name, tensor in model.state_dict().items()})


def train_once(model):
    plan = TrainConfig(n_epochs=1, batch_size=N, learning_rate=0.1, device="cpu")
    train(make_net(model, plan), torch.from_numpy(draw_rows(np.float32)), plan)


@pytest.mark.parametrize("change", [change_in_place, load_other_weights, train_once])
def test_the_float64_copy_is_kept_until_the_module_changes(change):
    model, X = make_model(), draw_rows()
    double = double_precision(model, CPU)
    assert double_precision(model, CPU) is double
    before = map_chunks(model, log_responsibilities, X, CPU)
    change(model)
    after = map_chunks(model, log_responsibilities, X, CPU)
    assert np.abs(after - before).max() > 1e-3
    torch.testing.assert_close(double_precision(model, CPU).means, model.means.double())


def test_the_float64_copy_goes_with_the_module():
    model = make_model()
    reference = weakref.ref(double_precision(model, CPU))
    assert model in _evaluation._doubles
    del model
    gc.collect()
    assert reference() is None


# ------------------------------------------------------------------------------- single precision


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("Estimator", [GMVAEClustering, VaDEClustering, VAEEMClustering])
def test_single_precision_answers_alike_without_a_float64_copy_and_leaves_fit_alone(Estimator, blobs, quick):
    X = blobs[0] + np.array([0.0, 1e6, 0.0, 0.0])  # digits that float32 does not have
    model = Estimator(3, **quick).fit(X)
    expected = model.predict(X), model.predict_proba(X), model.score_samples(X), model.transform(X)
    _evaluation._doubles.clear()
    with single_precision():
        labels, *others = model.predict(X), model.predict_proba(X), model.score_samples(X), model.transform(X)
        assert not _evaluation._doubles
        assert all(other.dtype == np.float32 for other in others)
        again = Estimator(3, **quick).fit(X)
    np.testing.assert_array_equal(labels, expected[0])
    for single, double in zip(others, expected[1:], strict=True):
        np.testing.assert_allclose(single, double, rtol=1e-3, atol=1e-3)
        assert not np.array_equal(single, double)
    np.testing.assert_array_equal(model.score_samples(X), expected[2])
    np.testing.assert_array_equal(again.score_samples(X), expected[2])


def test_single_precision_ends_with_its_block_and_nests(monkeypatch):
    model, X = make_model(), draw_rows()
    dtypes = []

    def look():
        map_chunks(model, lambda module, rows: (dtypes.append(module.means.dtype), rows)[1], X, CPU)

    model.eval()
    with pytest.raises(RuntimeError), single_precision():
        look()
        with single_precision():
            look()
        look()
        raise RuntimeError
    look()
    assert dtypes == [torch.float32] * 3 + [torch.float64]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("Estimator", [GMVAEClustering, VaDEClustering, VAEEMClustering])
@pytest.mark.parametrize("without_gradients", [torch.no_grad, torch.inference_mode])
def test_fits_where_the_caller_has_turned_gradients_off(without_gradients, Estimator, blobs, quick):
    X = blobs[0]
    expected = Estimator(3, **quick).fit(X).score_samples(X)
    with without_gradients():
        model = Estimator(3, **quick).fit(X)
        assert not torch.is_grad_enabled()
        np.testing.assert_array_equal(model.score_samples(X), expected)
    model.partial_fit(X)  # nothing of the model is tied to the context


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("Estimator", [GMVAEClustering, VaDEClustering, VAEEMClustering])
def test_rows_far_from_all_others_have_probabilities_and_scores(Estimator, blobs, quick):
    X = blobs[0]
    model = Estimator(3, **quick).fit(X)
    distances = np.array([1e2, 1e4, 1e10, 1e30])
    far = distances[:, None] * X.std(0) + X.mean(0)
    np.testing.assert_allclose(model.predict_proba(far).sum(1), 1.0)
    assert np.isfinite(model.transform(far)).all()
    # as the square of the distance, for any Gaussian likelihood: not as an exponential of it
    slopes = np.diff(np.log(-model.score_samples(far))) / np.diff(np.log(distances))
    np.testing.assert_allclose(slopes, 2.0, atol=0.3)
