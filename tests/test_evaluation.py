"""The gate from rows to results: whatever the chunks, the same float64 numbers and nothing left behind."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering, _evaluation, single_precision
from skgmvae._evaluation import cast_networks, chunk_rows, inference_precision, map_chunks, model_for_queries
from skgmvae.data.training_data import TrainingData
from skgmvae.models import VAEEM, VaDE
from skgmvae.runtime import RandomStream
from skgmvae.training.config import Architecture, TrainConfig
from skgmvae.training.pretraining import make_autoencoder
from skgmvae.training.train import make_net, train

CPU = torch.device("cpu")
N, D = 75, 4


def make_model():
    architecture, generator = Architecture(D, 2, (16,), None, "gaussian", (5.0,) * D, (2.0,) * D), torch.Generator()
    model = VaDE(make_autoencoder(architecture, generator), n_components=3, generator=generator)
    model.likelihood.set_variance(torch.ones(D))
    return model


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
    autoencoder = make_autoencoder(Architecture(784, 2, (16,), None, "bernoulli"), torch.Generator())
    sizes = [chunk_rows(VAEEM(autoencoder, n_components), n_copies=4) for n_components in (1, 5, 50)]
    assert sizes[0] // 5 == sizes[1] and sizes[0] // 50 == sizes[2] > 0


def test_results_of_more_and_of_fewer_axes_keep_their_shape():
    model, X = make_model(), draw_rows()
    pairs = map_chunks(model, lambda double, rows: rows.unsqueeze(1) * rows.unsqueeze(2), X, CPU)
    sums = map_chunks(model, lambda double, rows: rows.sum(1), X, CPU)
    np.testing.assert_array_equal(pairs, X[:, None] * X[:, :, None])
    np.testing.assert_allclose(sums, X.sum(1), rtol=1e-14)


def test_no_rows_is_an_error():
    with pytest.raises(ValueError, match="no samples; pass at least one"):
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


@pytest.mark.parametrize(("gigabytes", "values"), [(8, 2**24), (64, 2**26)])
def test_chunks_on_a_device_take_a_share_of_its_memory(monkeypatch, gigabytes, values):
    properties = SimpleNamespace(total_memory=gigabytes * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert _evaluation._count_values(torch.device("cuda")) == values
    assert _evaluation._count_values(torch.device("mps")) == 2**24


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


# ----------------------------------------------------------------------------- answers of the present weights


def shift(model):
    """Weights other than the model's, by name."""
    return {name: tensor + 0.1 if tensor.is_floating_point() else tensor for name, tensor in model.state_dict().items()}


def edit_data(model):
    model.means.data.add_(1.0)


@torch.no_grad()
def edit_in_place(model):
    model.means.add_(1.0)


def step_of_a_fused_optimizer(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def load_other_weights(model):
    model.load_state_dict(shift(model))


def load_and_assign_other_weights(model):
    model.load_state_dict(shift(model), assign=True)


def swap_components(model):
    model.reorder(torch.tensor([2, 0, 1]))


def put_another_parameter(model):
    model.means = torch.nn.Parameter(model.means.detach() + 1.0)


def train_once(model):
    config = TrainConfig(n_epochs=1, batch_size=N, learning_rate=0.1, device="cpu")
    train(make_net(model, config), TrainingData.from_rows(draw_rows(np.float32)), config, RandomStream(0))


CHANGES = (
    edit_data,
    edit_in_place,
    step_of_a_fused_optimizer,
    load_other_weights,
    load_and_assign_other_weights,
    swap_components,
    put_another_parameter,
    train_once,
)
DTYPES = (torch.float64, torch.float32)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("single", [False, True], ids=["double", "single"])
@pytest.mark.parametrize("change", CHANGES)
def test_an_answer_is_always_that_of_the_present_weights(change, single, dtype):
    model, X = cast_networks(make_model(), dtype).eval(), draw_rows()
    with inference_precision(single=single):
        before = map_chunks(model, log_responsibilities, X, CPU)
        change(model)
        after = map_chunks(model, log_responsibilities, X, CPU)
        # a module that nobody has asked anything yet
        expected = map_chunks(copy.deepcopy(model), log_responsibilities, X, CPU)
    np.testing.assert_array_equal(after, expected)
    assert np.abs(after - before).max() > 1e-3


def test_a_fitted_module_is_asked_itself_and_others_as_a_copy():
    model = cast_networks(make_model(), torch.float64).eval()
    assert model_for_queries(model, CPU) is model
    with single_precision():
        assert model_for_queries(model, CPU) is not model and model.means.dtype == torch.float64
    for other in (make_model().eval(), copy.deepcopy(model).train()):
        double = model_for_queries(other, CPU)
        assert double is not other and double.means.dtype == torch.float64 and not double.training
    assert other.training


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("Estimator", [GMVAEClustering, VaDEClustering, VAEEMClustering])
def test_an_estimator_answers_for_the_weights_that_its_net_has_now(Estimator, blobs, quick):
    X = blobs[0]
    model = Estimator(3, **{**quick, "pretrain_iter": 2, "max_iter": 2}).fit(X)
    before = {name: getattr(model, name)(X) for name in ("predict_proba", "score_samples", "reconstruct")}
    drawn = model.sample(5, expected=True)[0]
    model.net_.module_.weight_logits.data.copy_(torch.tensor([50.0, 0.0, 0.0]))
    assert model.sample(20, random_state=0)[1].max() == 0, "the mixing weights that the net has now"
    for parameter in model.net_.module_.parameters():
        parameter.data.mul_(1.2)
    loaded = pickle.loads(pickle.dumps(model))
    for name, value in before.items():
        after = getattr(model, name)(X)
        np.testing.assert_array_equal(after, getattr(loaded, name)(X), err_msg=name)
        assert not np.allclose(after, value), name
    assert not np.allclose(model.sample(5, expected=True)[0], drawn)


# ------------------------------------------------------------------------------- single precision


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("Estimator", [GMVAEClustering, VaDEClustering, VAEEMClustering])
def test_single_precision_answers_alike_and_leaves_fit_alone(Estimator, blobs, quick):
    X = blobs[0] + np.array([0.0, 1e6, 0.0, 0.0])  # digits that float32 does not have
    model = Estimator(3, **quick).fit(X)
    expected = model.predict(X), model.predict_proba(X), model.score_samples(X), model.transform(X)
    with single_precision():
        labels, *others = model.predict(X), model.predict_proba(X), model.score_samples(X), model.transform(X)
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
    np.testing.assert_allclose(slopes[1:], 2.0, atol=0.05)  # nearer, the constant and the linear term still count
