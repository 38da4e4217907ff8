"""EM through skorch: what is drawn, what an E-step looks at, and that the bound rises."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from skorch.callbacks import Callback
from test_net import READS
from test_train import ARCHITECTURE, D, draw_rows, make_config, make_data
from torch.utils._python_dispatch import TorchDispatchMode

from skgmvae.data.batches import ClampedResponsibilities, draw_by_weight
from skgmvae.data.lazy import LazyRows
from skgmvae.models import VAEEM
from skgmvae.models.stacked import StackedLinear
from skgmvae.runtime import RandomStream
from skgmvae.training import em, reseeding
from skgmvae.training.e_step import EStep
from skgmvae.training.em import EMConfig, EMNet, MStepBatches
from skgmvae.training.pretraining import make_autoencoder
from skgmvae.training.train import make_net, train

CPU = torch.device("cpu")
K, N = 3, 60
LABELS = torch.arange(N) % K


def draw_groups(distance=6.0, seed=0):
    """Rows of K groups along the features."""
    return draw_rows(N, D, seed) + distance * torch.eye(K, D)[LABELS]


def make_model(n_components=K, seed=0, labels=LABELS, rows=None, **options):
    generator = torch.Generator().manual_seed(seed)
    autoencoder = make_autoencoder(ARCHITECTURE, generator)
    model = VAEEM(autoencoder, n_components, generator=generator, **options)
    model.likelihood.set_variance(torch.ones(D))
    if labels is not None:
        with torch.no_grad():
            embedding = autoencoder.embed(draw_groups() if rows is None else rows)
        model.initialize_from(embedding, torch.eye(n_components)[labels])
    return model


def make_em_net(model, config, **settings):
    return make_net(model, config, EMNet, em=EMConfig(**settings))


def train_em(model, config, rows=None, callbacks=None, clamped=None, **settings):
    net = make_em_net(model, config, **settings)
    data = make_data(draw_groups() if rows is None else rows)
    outcome = train(net, data, config, RandomStream(0), callbacks=callbacks or [], clamped=clamped)
    return net, outcome


def without_noise(model):
    """q(z|x) of no width, so that every draw is the mean."""
    head = model.head.log_variance
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(-40.0)
    head.requires_grad_(False)
    return model


class Watch(Callback):
    """Responsibilities before every M-step."""

    def __init__(self):
        self.responsibilities, self.states = [], []

    def on_epoch_begin(self, net, **kwargs):
        self.responsibilities.append(net.e_step_.responsibilities.clone())
        self.states.append(net.module_.decoder[0].weight.detach().clone())


# ------------------------------------------------------------------------------------------- draws


def test_draws_are_in_proportion_to_the_weights():
    weights = torch.rand(7, 2, generator=torch.Generator().manual_seed(0))
    weights[2, 0] = weights[0, 1] = weights[6, 1] = 0.0
    n_draws, n_repeats = 5, 4000
    random = RandomStream(0)
    first = torch.stack([draw_by_weight(weights, n_draws, random)[0] for _ in range(n_repeats)])  # of each sequence
    for c in range(2):
        expected = weights[:, c] / weights[:, c].sum()
        shares = torch.bincount(first[:, c], minlength=7) / n_repeats
        assert ((shares - expected).abs() <= 4.5 * (expected * (1 - expected) / n_repeats).sqrt()).all()
    indices = draw_by_weight(weights, 1000, random)
    assert indices.shape == (1000, 2)
    for c in range(2):
        due = 1000 * weights[:, c] / weights[:, c].sum()
        assert ((torch.bincount(indices[:, c], minlength=7) - due).abs() < 2.0).all(), "strata keep the counts even"
    assert not torch.equal(indices[:, 0].sort().values, indices[:, 0])


def test_a_column_without_weight_still_gives_some_row():
    indices = draw_by_weight(torch.zeros(4, 2), 10, RandomStream(0))
    assert (indices >= 0).all() and (indices < 4).all()


def test_gradient_of_the_drawn_rows_is_that_of_the_weighted_form():
    """Without noise, and with as many draws as make every row's due number whole, they are equal."""
    model, rows = without_noise(make_model(learn_weights=False).double()), draw_groups(1.0)[:12].double()
    u = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]]).repeat(4, 1).double()
    u[:3] = torch.eye(3)
    indices = draw_by_weight(u, 16, RandomStream(0))  # each component's responsibilities sum to 4, in quarters
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = []
    noise = torch.Generator()  # of no consequence
    drawn = model.drawn_terms(rows[indices], u.mean(0), generator=noise)
    for terms in (drawn, model.weighted_terms(rows, u, generator=noise)):
        gradients.append(torch.autograd.grad((terms.log_likelihood - terms.kl_latent).mean(), parameters))
    assert all(gradient.any() for gradient in gradients[1])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("n_components", [1, 3, 10, 40])
def test_an_m_step_draws_as_many_rows_whatever_the_number_of_components(n_components):
    net = make_em_net(make_model(n_components, labels=None), make_config(1, 20))
    batches = MStepBatches(net, 8000, RandomStream(0))
    assert abs(len(batches) * 20 * n_components - 16000) <= 10 * n_components
    net.em = EMConfig(steps_per_iter=7)
    assert len(MStepBatches(net, 8000, RandomStream(0))) == 7
    net.em = EMConfig(m_step="weighted")
    assert len(MStepBatches(net, 8000, RandomStream(0))) * 20 == 16000
    assert len(MStepBatches(net, 5, RandomStream(0))) == em.MIN_STEPS, "fewer rows than a batch"


# ----------------------------------------------------------------------------------------- the iteration


@pytest.mark.parametrize("m_step", ["weighted", "sampled"])
def test_bound_never_falls_with_full_batches(m_step):
    # drawn one-hot rows are the full batch too, once each; q without width makes the step's objective J itself
    rows = draw_groups(2.0)
    config = make_config(30, N if m_step == "weighted" else N // K, 2e-3, anneal=False)
    net, _ = train_em(without_noise(make_model()), config, rows, m_step=m_step, steps_per_iter=1, pairs_per_row=K)
    bounds = np.array([record["lower_bound"] for record in net.history])
    assert (np.diff(bounds) > -1e-5).all() if m_step == "weighted" else (np.diff(bounds) > -0.02).all()
    assert bounds[-1] > bounds[0] + 1.0


@pytest.mark.parametrize("m_step", ["weighted", "sampled"])
@pytest.mark.parametrize("network", ["copied", "random"])
def test_em_learns_and_clamps_the_initial_responsibilities_for_the_first_m_step(m_step, network):
    watch = Watch()
    options = {"hidden_layer_sizes": (8,)} if network == "random" else {}
    model = make_model(seed=1, **options)  # of eight seeds, four give at least 0.98 in all cases; 0 and 5 do not learn
    net, _ = train_em(model, make_config(12, 20, 0.02), callbacks=[watch], m_step=m_step, steps_per_iter=10)
    torch.testing.assert_close(watch.responsibilities[0], torch.eye(K)[LABELS])
    # random networks must learn first
    n_fixed = 6 if network == "random" else 1  # half of the iterations
    assert all(torch.equal(u, watch.responsibilities[0]) for u in watch.responsibilities[:n_fixed])
    assert not torch.equal(watch.responsibilities[n_fixed], watch.responsibilities[0])
    with torch.no_grad():
        labels = net.module_.log_responsibilities(draw_groups()).argmax(-1)
    assert (labels == LABELS).float().mean() > 0.9
    assert net.history[-1]["lower_bound"] > net.history[0]["lower_bound"] + 1.0
    for record in net.history:
        parts = record["log_likelihood"] - record["kl_latent"] - record["kl_component"]
        assert record["lower_bound"] == pytest.approx(parts) and record["kl_style"] == 0.0


@pytest.mark.parametrize("n_clamped", [1, 5])
@pytest.mark.parametrize("network", ["copied", "random"])
def test_initial_responsibilities_are_clamped_for_as_many_m_steps_as_told(network, n_clamped, monkeypatch):
    monkeypatch.setattr(em, "MIN_CLAMPED_STEPS", 15)  # two iterations
    watch, options = Watch(), {"hidden_layer_sizes": (8,)} if network == "random" else {}
    config, clamped = make_config(8, 20, 0.02), ClampedResponsibilities(None, n_clamped)
    net, _ = train_em(
        make_model(**options), config, callbacks=[watch], clamped=clamped, steps_per_iter=10, pairs_per_row=1.0
    )
    n_fixed = max(n_clamped, 2 if network == "random" else 1)
    moved = [not torch.equal(u, watch.responsibilities[0]) for u in watch.responsibilities]
    assert moved[:n_fixed] == [False] * n_fixed and moved[n_fixed]
    shares = [record["evaluated_share"] for record in net.history]
    assert shares[n_fixed - 1] == 1.0, "what was seen under the networks of before the release says nothing"
    assert n_clamped == 1 or shares[n_fixed - 2] == pytest.approx(1.0 / K)


def test_history_ends_with_the_bound_of_the_trained_net():
    net, _ = train_em(make_model(min_information=0.5), make_config(3, 10, min_information=0.5))
    assert net.evaluate(make_data(draw_groups())) == pytest.approx(net.history[-1]["lower_bound"], rel=1e-6)


def test_a_further_training_begins_with_an_e_step_and_nothing_of_the_rows_is_kept():
    net, _ = train_em(make_model(), make_config(3, 10))
    assert not hasattr(net, "e_step_") and net.module_.initial_responsibilities is None
    with torch.no_grad():
        expected = net.module_.log_responsibilities(draw_groups(seed=1)).exp()
    net, watch = pickle.loads(pickle.dumps(net)), Watch()
    train(net, make_data(draw_groups(seed=1)), make_config(1, 10), RandomStream(0), callbacks=[watch])
    torch.testing.assert_close(watch.responsibilities[0], expected)


def test_weights_are_the_mean_responsibilities():
    labels = torch.tensor([0] * 40 + [1] * 15 + [2] * 5)
    watch = Watch()
    net, _ = train_em(make_model(learn_weights=True, labels=labels), make_config(2, 10), callbacks=[watch])
    torch.testing.assert_close(net.module_.log_weights().exp().detach(), watch.responsibilities[1].mean(0))
    uniform, _ = train_em(make_model(learn_weights=False, labels=labels), make_config(2, 10))
    torch.testing.assert_close(uniform.module_.log_weights().exp(), torch.full((K,), 1 / K))


def test_a_diverged_iteration_keeps_its_responsibilities():
    class Spoil(Callback):
        def on_batch_end(self, net, **kwargs):
            if len(net.history) == 2:
                net.module_.decoder[0].weight.data.fill_(torch.nan)

    watch = Watch()
    net, _ = train_em(make_model(), make_config(4, 10), callbacks=[Spoil(), watch])
    assert [np.isfinite(record["lower_bound"]) for record in net.history] == [True, False, True, True]
    assert torch.equal(watch.responsibilities[2], watch.responsibilities[1])
    assert net.history[-1]["lower_bound"] >= net.history[0]["lower_bound"] - 0.1


def test_reads_from_the_device_do_not_grow_with_the_steps(monkeypatch):
    counts = dict.fromkeys(READS, 0)
    for name in READS:
        read = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor,
            name,
            lambda self, *a, name=name, read=read: (counts.update({name: counts[name] + 1}), read(self, *a))[1],
        )

    def count(n_steps):
        counts.update(dict.fromkeys(READS, 0))
        train_em(make_model(), make_config(1, 5), steps_per_iter=n_steps)
        return counts.copy()

    assert count(3) == count(30) and sum(counts.values()) > 0


def test_renumbered_components_are_trained_further_without_the_memory_of_adam():
    net, _ = train_em(make_model(), make_config(3, 10))
    assert net.optimizer_.state
    order, rows = torch.tensor([2, 0, 1]), draw_groups()
    before = {name: parameter.detach().clone() for name, parameter in net.module_.named_parameters()}
    with torch.no_grad():
        expected = net.module_.log_responsibilities(rows)[:, order]
    net.reorder(order)
    assert not net.optimizer_.state
    for name, parameter in net.module_.named_parameters():
        assert torch.equal(parameter, before[name][order]), name
    with torch.no_grad():
        torch.testing.assert_close(net.module_.log_responsibilities(rows), expected)
    bound = net.evaluate(make_data(rows))
    train(net, make_data(rows), make_config(5, 10, 5e-3), RandomStream(0))
    assert net.evaluate(make_data(rows)) > bound
    with torch.no_grad():
        labels = net.module_.log_responsibilities(rows).argmax(-1)
    assert (labels == expected.argmax(-1)).float().mean() > 0.9, "the numbers stay what they are"


# ------------------------------------------------------------------------------- what an E-step looks at


def test_partial_e_steps_end_in_the_responsibilities_of_a_whole_one(monkeypatch):
    kept = []
    keep = EStep._keep
    monkeypatch.setattr(EStep, "_keep", lambda self, u, chosen: (kept.append(u), keep(self, u, chosen))[1])
    n_rows, n_components = 600, 6
    centers = 8.0 * draw_rows(n_components, D, 8)
    labels = torch.arange(n_rows) % n_components
    rows = draw_rows(n_rows) + centers[labels]
    model = make_model(n_components, seed=1, labels=labels, rows=rows)
    net, _ = train_em(model, make_config(12, 50, 0.02), rows, pairs_per_row=1.5, steps_per_iter=4)
    shares = [record["evaluated_share"] for record in net.history]
    assert shares[0] == shares[-1] == 1.0, "the first and the last are whole"
    assert min(shares) == pytest.approx(1.5 / n_components, abs=0.01)
    assert np.mean(shares) < 0.8
    with torch.no_grad():
        torch.testing.assert_close(kept[-1], net.module_.log_responsibilities(rows).exp())
    assert net.history[-1]["lower_bound"] == pytest.approx(net.evaluate(make_data(rows)), rel=1e-6)

    whole, _ = train_em(
        make_model(n_components, seed=1, labels=labels, rows=rows),
        make_config(12, 50, 0.02),
        rows,
        pairs_per_row=np.inf,
        steps_per_iter=4,
    )
    assert all(record["evaluated_share"] == 1.0 for record in whole.history)
    assert (kept[-1].argmax(-1) == labels).float().mean() > 0.95
    with torch.no_grad():
        found = [each.module_.log_responsibilities(rows).argmax(-1) for each in (whole, net)]
    assert adjusted_rand_score(*found) > 0.95


def make_e_step(n_open=0):
    """Of 100 rows under 10 components, ``n_open`` of them between two."""
    u = torch.eye(10)[torch.arange(100) % 10]
    u[:n_open] = torch.tensor([0.5, 0.5] + [0.0] * 8)
    e_step = EStep(torch.zeros(100, D), CPU, RandomStream(0), u)
    e_step.may_be_partial = True
    return e_step


def test_an_e_step_casts_each_weight_once(monkeypatch):
    class CountCasts(TorchDispatchMode):
        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            if operator is torch.ops.aten._to_copy.default and (kwargs or {}).get("dtype") is torch.bfloat16:
                shapes.append(tuple(args[0].shape))
            return operator(*args, **(kwargs or {}))

    monkeypatch.setattr("skgmvae.training.e_step.chunk_rows", lambda model: 10)
    model, shapes = make_model().eval(), []
    plain = EStep(draw_groups(), CPU, RandomStream(0))
    plain.update(model)
    model.autocast_dtype = torch.bfloat16
    e_step = EStep(draw_groups(), CPU, RandomStream(0))
    with CountCasts():
        e_step.update(model)
    weights = [tuple(layer.weight.shape) for layer in model.modules() if isinstance(layer, StackedLinear)]
    networks = [shape for shape in shapes if shape in weights]
    assert shapes.count((K, 10, D)) == N // 10  # as many chunks
    assert networks and len(networks) == len(set(networks))
    torch.testing.assert_close(e_step.log_likelihood, plain.log_likelihood, rtol=0.02, atol=0.2)
    assert not torch.equal(e_step.log_likelihood, plain.log_likelihood)


def test_settled_rows_come_in_rotation_and_open_ones_first():
    e_step, looked_at = make_e_step(n_open=4), []
    for _ in range(7):
        chosen = e_step._choose_rows(10, pairs_per_row=2.0)
        assert len(chosen) == 20 and {0, 1, 2, 3} <= set(chosen.tolist())
        looked_at.append(chosen)
        e_step._keep(e_step.responsibilities, chosen)
    assert len(torch.cat(looked_at[:6]).unique()) == 100, "96 settled rows, 16 at a time"


def test_many_open_rows_take_turns_and_leave_half_to_the_others():
    e_step = make_e_step(n_open=40)
    first = e_step._choose_rows(10, pairs_per_row=2.0)
    e_step._keep(e_step.responsibilities, first)
    second = e_step._choose_rows(10, pairs_per_row=2.0)
    assert (first < 40).sum() == (second < 40).sum() == 10
    assert not set(first.tolist()) & set(second.tolist())


def test_e_steps_are_whole_again_when_settled_rows_move():
    e_step = make_e_step()
    chosen = e_step._choose_rows(10, pairs_per_row=2.0)
    moved = e_step.responsibilities.clone()
    moved[chosen[:3]] = moved[chosen[:3]].roll(1, -1)
    e_step._keep(moved, chosen)
    assert e_step._choose_rows(10, pairs_per_row=2.0) is None
    assert make_e_step()._choose_rows(2, pairs_per_row=2.0) is None, "all rows are no more than the budget"


# ------------------------------------------------------------------------------------------- new seeds


def test_a_component_without_rows_begins_again_as_half_of_the_largest():
    labels = torch.tensor([0] * 40 + [1] * 20)
    rows = draw_rows(N) + 6.0 * torch.eye(2, D)[labels]

    def train_with_a_hopeless_component(n_epochs, **settings):
        model = make_model(seed=1, labels=labels, rows=rows)
        model.decoder[-1].bias.data[2] = 100.0
        watch = Watch()
        net, _ = train_em(model, make_config(n_epochs, 10, 5e-3), rows, [watch], steps_per_iter=5, **settings)
        return net.module_.reseeded, [u.sum(0)[2] for u in watch.responsibilities]

    reseeded, counts = train_with_a_hopeless_component(10)
    assert reseeded[0][0] == 2
    assert counts[0] == 0 and 15 <= counts[1] <= 25 and counts[-1] > 1
    assert train_with_a_hopeless_component(1)[0] == [], "a block of a stream may lack a component's rows"
    reseeded, counts = train_with_a_hopeless_component(10, max_reseeds=0)
    assert reseeded == [] and max(counts) < 1


def test_the_worst_explained_half_of_the_donor_goes_to_the_new_seed():
    e_step = EStep(torch.zeros(6, D), CPU, RandomStream(0), torch.eye(K)[[0, 0, 0, 0, 1, 1]])
    e_step.log_likelihood = torch.tensor([-1.0, -9.0, -2.0, -8.0, -99.0, -99.0]).unsqueeze(1).repeat(1, K)
    e_step.kl_latent = torch.zeros(6, K)
    assert e_step.give_worst_half(0, 2)
    assert e_step.responsibilities.argmax(-1).tolist() == [0, 2, 0, 2, 1, 1]
    assert not e_step.may_be_partial
    assert not EStep(torch.zeros(1, D), CPU, RandomStream(0), torch.eye(K)[[0]]).give_worst_half(0, 2)
    two = EStep(torch.zeros(2, D), CPU, RandomStream(0), torch.eye(K)[[0, 0]])
    two.log_likelihood, two.kl_latent = torch.tensor([[3.0], [2.0]]).repeat(1, K), torch.tensor([[9.0], [1.0]])
    two.kl_latent = two.kl_latent.repeat(1, K)
    assert two.give_worst_half(0, 2)
    assert two.responsibilities.tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]


def test_a_new_seed_is_a_near_copy_without_memory_in_the_optimizer():
    net, _ = train_em(make_model(), make_config(2, 10))
    others = {name: p.detach().clone() for name, p in net.module_.named_parameters()}
    reseeding.copy_component(net, donor=0, component=2)
    for name, parameter in net.module_.named_parameters():
        torch.testing.assert_close(parameter[:2], others[name][:2], rtol=0, atol=0)
        torch.testing.assert_close(parameter[2], parameter[0], rtol=0.06, atol=0)
        state = net.optimizer_.state.get(parameter)
        if state:
            assert not state["exp_avg_sq"][2].any() and state["exp_avg_sq"][0].any(), name


def test_a_new_seed_differs_from_its_donor_by_a_hundredth():
    net, _ = train_em(make_model(), make_config(2, 10))
    reseeding.copy_component(net, donor=0, component=2)
    ratios = []
    for parameter in net.module_.parameters():
        if len(parameter) == K:
            donor, copied = parameter[0].detach().flatten(), parameter[2].detach().flatten()
            ratios.append((copied / donor)[donor != 0.0] - 1.0)
    ratios = torch.cat(ratios)
    n = len(ratios)
    assert n > 100
    assert abs(ratios.std() / 0.01 - 1.0) < 5.0 / (2.0 * n) ** 0.5
    assert abs(ratios.mean()) < 5.0 * 0.01 / n**0.5


@pytest.mark.parametrize("clamp", [False, True])
def test_the_table_of_lazy_rows_is_made_part_by_part(monkeypatch, clamp):
    rows = draw_groups()
    u = torch.eye(K)[LABELS.roll(1)]
    whole, model = EStep(rows, CPU, RandomStream(0), u), make_model().eval()
    expected = whole.update(model, clamp=clamp)
    monkeypatch.setattr("skgmvae.training.e_step.PART_VALUES", 7 * K)  # seven rows
    parts = EStep(LazyRows(rows.numpy()), CPU, RandomStream(0), u)
    terms = parts.update(model, clamp=clamp)
    assert parts.evaluated_share == 1.0 and parts.n_steps == 1
    torch.testing.assert_close(parts.responsibilities, whole.responsibilities)
    assert torch.equal(parts.responsibilities, u) is clamp
    for found, term in zip(terms, expected, strict=True):
        torch.testing.assert_close(found, term)
    model.decoder[-1].bias.data.fill_(torch.nan)
    parts.may_be_partial = True
    kept = parts.responsibilities.clone()
    parts.update(model)
    assert torch.equal(parts.responsibilities, kept) and not parts.may_be_partial and parts.n_steps == 1


@pytest.mark.parametrize(("n_before", "is_reseeded"), [(0, True), (1, True), (2, False), (3, False)])
def test_empty_components_are_reseeded_at_most_so_many_times(monkeypatch, n_before, is_reseeded):
    copied, u = [], torch.eye(4)[[0, 0, 1, 1, 1, 1, 2]]
    monkeypatch.setattr(reseeding, "copy_component", lambda net, donor, component: copied.append((donor, component)))
    e_step = EStep(torch.zeros(7, D), CPU, RandomStream(0), u)
    e_step.log_likelihood, e_step.kl_latent = torch.zeros(7, 4), torch.zeros(7, 4)
    net = SimpleNamespace(
        module_=SimpleNamespace(reseeded=[]),
        e_step_=e_step,
        em=EMConfig(min_rows=1.0, max_reseeds=2),
        n_reseeds_=[0, 0, 0, n_before],
        history=[{}] * 5,
    )
    reseeding.reseed_empty_components(net)  # component 2 has a row, as many as it needs
    assert copied == ([(1, 3)] if is_reseeded else [])
    assert net.module_.reseeded == ([(5, 3)] if is_reseeded else [])
    assert net.n_reseeds_ == [0, 0, 0, n_before + is_reseeded]
    assert e_step.responsibilities.sum(0).tolist() == ([2, 2, 1, 2] if is_reseeded else [2, 4, 1, 0])
