"""Time of skgmvae's training loop over that of a hand-written torch loop with the same loss.

Both train copies of one module on the same samples for the same number of steps, in turns (A B A B …), so
that a busy machine slows both. The ratio is the median over pairs of neighboring turns, which a drift of the
machine's speed hardly moves, of processor times, which other processes disturb less than wall-clock times; that of
these stands beside it. Where a process has its arrays in memory moves its ratio by a few hundredths: the pairs are
those of several processes. One JSON line per case.

    python benchmarks/speed/overhead.py --case tiny mnist --model vade gmvae vaeem
"""

import argparse
import copy
import itertools
import json
import math
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment
from skgmvae._evaluation import chunk_rows
from skgmvae.data.training_data import TrainingData
from skgmvae.models import GMVAE, VAEEM, Autoencoder, Bernoulli, VaDE
from skgmvae.runtime import RandomStream
from skgmvae.training.em import EMConfig, EMNet
from skgmvae.training.train import TrainConfig, make_net, train

K, L, W = 10, 10, 2
LOG_2PI = math.log(2 * math.pi)
LEARNING_RATE = 1e-3
Loop = Callable[[], Any]
Loss = Callable[[Any, Any], Tensor]  # of a module on a batch of the net's


class Case(NamedTuple):
    """What is trained."""

    rows: Tensor
    hidden_layer_sizes: tuple[int, ...]
    stacked_layer_sizes: tuple[int, ...]  # of each of VAE-EM's networks
    batch_size: int
    n_epochs: int
    target: float


def make_tiny() -> Case:
    """64-128-10 on the bundled digits."""
    rows = torch.from_numpy(load_digits().data.astype(np.float32) / 16.0)
    return Case(rows, (128,), (128,), batch_size=128, n_epochs=10, target=1.15)


def make_mnist() -> Case:
    """784-500-500-2000-10, or ten times 784-500-10, on random samples of the size of MNIST's."""
    rows = torch.rand(4000, 784, generator=torch.Generator().manual_seed(0))
    return Case(rows, (500, 500, 2000), (500,), batch_size=256, n_epochs=2, target=1.02)


CASES = {"tiny": make_tiny, "mnist": make_mnist}


def main(argv: list[str] | None = None) -> int:
    """Measure the cases; 1 if a ratio misses its target."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    missed = False
    for model, case in itertools.product(arguments.model, arguments.case):
        line = measure(model, case, arguments.processes, arguments.repeats)
        name = {"benchmark": "overhead", "case": f"{model}, {case}"}
        print(json.dumps({**name, **line, **environment.describe(threads=arguments.threads)}), flush=True)
        missed |= line["ratio"] > line["target"]
    return 1 if missed else 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES), help="default: all")
    parser.add_argument("--model", nargs="+", choices=MODELS, default=list(MODELS), help="default: all")
    parser.add_argument("--processes", type=int, default=5, help="one after the other; default: %(default)s")
    parser.add_argument("--repeats", type=int, default=11, help="turns of each loop in each; default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    return parser


def measure(model: str, case: str, n_processes: int, repeats: int) -> dict[str, Any]:
    """Median ratio of the paired turns of all processes."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        parts = [pool.submit(take_turns, model, case, repeats).result() for _ in range(n_processes)]
    turns = np.concatenate(parts)
    (_, our_cpu), (_, bare_cpu) = np.median(turns, axis=0).tolist()
    wall_ratio, ratio = np.median(turns[:, 0] / turns[:, 1], axis=0).tolist()
    return {
        "ratio": ratio,
        "target": CASES[case]().target,
        "wall_ratio": wall_ratio,
        "ratio_by_process": [float(np.median(part[:, 0, 1] / part[:, 1, 1])) for part in parts],
        "our_seconds": our_cpu,
        "bare_seconds": bare_cpu,
        "processes": n_processes,
        "repeats": repeats,
    }


def take_turns(model: str, case: str, repeats: int) -> np.ndarray:
    """Wall-clock and processor seconds (repeats, ours and bare, 2), after one turn of each to warm up."""
    setting, loops = CASES[case](), MODELS[model]
    module = initialize(loops.make_module(setting), setting)
    check_equal_loss(loops, module, setting)
    ours = make_our_loop(loops, copy.deepcopy(module), setting)
    bare = loops.make_bare_loop(copy.deepcopy(module), setting)
    return np.array([(timed(ours), timed(bare)) for _ in range(repeats + 1)])[1:]


def timed(function: Callable[[], Any]) -> tuple[float, float]:
    """Wall-clock and processor seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def make_autoencoder(case: Case) -> Autoencoder:
    """What the models share."""
    torch.manual_seed(0)
    return Autoencoder(case.rows.shape[1], L, Bernoulli(), case.hidden_layer_sizes)


def make_vade(case: Case) -> VaDE:
    """With full covariances."""
    return VaDE(make_autoencoder(case), K)


def make_gmvae(case: Case) -> GMVAE:
    """With a prior network as wide as the estimator's."""
    return GMVAE(make_autoencoder(case), K, W, prior_width=min(case.hidden_layer_sizes))


def make_vaeem(case: Case) -> VAEEM:
    """With networks of random weights."""
    return VAEEM(make_autoencoder(case), K, hidden_layer_sizes=case.stacked_layer_sizes)


def initialize(module: Any, case: Case) -> Any:
    """The module, initialized from random responsibilities."""
    with torch.no_grad():
        embedding = module.embed(case.rows)
    module.initialize_from(embedding, torch.softmax(torch.randn(len(embedding), K), -1))
    module.initial_responsibilities = None  # VAE-EM: every turn opens with an E-step
    return module


def make_our_loop(model: "Model", module: Any, case: Case, device: str = "cpu", precision: str = "float32") -> Loop:
    """The package's loop, as an estimator's fit runs it."""
    plan = make_plan(case, device, precision)
    net = model.make_net(module, plan)
    data, random = TrainingData.from_rows(case.rows.numpy()), RandomStream(0)
    return lambda: train(net, data, plan, random)


def make_plan(case: Case, device: str = "cpu", precision: str = "float32") -> TrainConfig:
    """What both loops do."""
    return TrainConfig(
        n_epochs=case.n_epochs,
        batch_size=case.batch_size,
        learning_rate=LEARNING_RATE,
        device=device,
        precision=precision,
    )


def make_em_net(module: Any, plan: TrainConfig) -> Any:
    """Every E-step whole, as a bare loop's."""
    return make_net(module, plan, EMNet, em=EMConfig(pairs_per_row=math.inf))


def make_optimizer(module: nn.Module) -> torch.optim.Optimizer:
    """Of the bare loops."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)


def make_shuffling_loop(bare_loss: Loss, module: Any, case: Case) -> Loop:
    """What one would write by hand for one model alone: steps on random batches, all samples once per epoch."""
    optimizer = make_optimizer(module)
    n_batches = len(case.rows) // case.batch_size  # as many steps as ours

    def loop() -> None:
        for _ in range(case.n_epochs):
            for indices in torch.randperm(len(case.rows), device=case.rows.device).tensor_split(n_batches):
                optimizer.zero_grad()
                bare_loss(module, case.rows.index_select(0, indices)).backward()
                optimizer.step()

    return loop


def make_bare_vaeem_loop(module: Any, case: Case) -> Loop:
    """An E-step; then, per iteration, steps on samples drawn for each component, and an E-step."""
    optimizer = make_optimizer(module)
    rows, chunk_size = case.rows, chunk_rows(module)
    n_steps = max(5, round(2 * len(rows) / (case.batch_size * K)))  # as many as ours

    @torch.no_grad()
    def e_step() -> Tensor:
        bounds = [-bare_vaeem_losses(module, x.unsqueeze(1).expand(-1, K, -1)) for x in rows.split(chunk_size)]
        return torch.softmax(torch.log_softmax(module.weight_logits, -1) + torch.cat(bounds), -1)

    def loop() -> None:
        u = e_step()
        for _ in range(case.n_epochs):
            shares = u.mean(0)
            draws = torch.multinomial(u.T, n_steps * case.batch_size, replacement=True).T
            for indices in draws.split(case.batch_size):
                x = rows.index_select(0, indices.flatten()).unflatten(0, indices.shape)
                optimizer.zero_grad()
                bare_vaeem_loss(module, (x, shares)).backward()
                optimizer.step()
            u = e_step()

    return loop


def bare_vaeem_losses(module: Any, x: Tensor, sampled: bool = False) -> Tensor:
    """-ELBO_c (N, K) of rows (N, K, D): Bernoulli cross-entropy and KL(q_c(z|x) ‖ N(0, I))."""
    features = module.body(x)
    mean, log_variance = module.head.mean(features), module.head.log_variance(features)
    variance = log_variance.exp()
    z = mean
    if sampled:  # noise in the order of memory: (K, N, L)
        z = mean + variance.sqrt() * torch.randn_like(mean.transpose(0, 1)).transpose(0, 1)
    cross_entropy = F.binary_cross_entropy_with_logits(module.decoder(z), x, reduction="none").sum(-1)
    return cross_entropy + 0.5 * (variance + mean.square() - 1 - log_variance).sum(-1)


def bare_vade_loss(module: Any, x: Tensor) -> Tensor:
    """-(log_likelihood + logsumexp_c(log π_c + g_c) + H).mean(), summed over the batch, no term kept apart."""
    networks = module.autoencoder
    features = networks.body(x)
    mean, log_variance = networks.head.mean(features), networks.head.log_variance(features)
    variance = log_variance.exp()
    z = mean + variance.sqrt() * torch.randn_like(mean)
    log_likelihood = -F.binary_cross_entropy_with_logits(networks.decoder(z), x, reduction="sum")

    A = module.precision_factor()
    offsets = (A @ module.means.unsqueeze(-1)).flatten()
    squares = (mean @ A.reshape(K * L, L).T - offsets).square().reshape(-1, K, L).sum(-1)
    trace = variance @ A.square().sum(1).T
    g = module.log_diagonal.sum(-1) - 0.5 * (squares + trace + L * LOG_2PI)
    log_prior = torch.logsumexp(torch.log_softmax(module.weight_logits, -1) + g, -1).sum()
    entropy = 0.5 * (log_variance + 1 + LOG_2PI).sum()
    return -(log_likelihood + log_prior + entropy) / len(x)


def bare_gmvae_loss(module: Any, x: Tensor) -> Tensor:
    """-(log_likelihood - Σ_c p_c (KL_c + log p_c - log π_c) - KL(q(w|x) ‖ p(w))).mean(), one draw of (z, w)."""
    networks = module.autoencoder
    features = networks.body(x)
    mean, log_variance = networks.head.mean(features), networks.head.log_variance(features)
    mean_w, log_variance_w = module.style_head.mean(features), module.style_head.log_variance(features)
    noise = torch.randn(len(x), L + W, device=x.device)
    z = mean + (0.5 * log_variance).exp() * noise[:, :L]
    w = mean_w + (0.5 * log_variance_w).exp() * noise[:, L:]
    log_likelihood = -F.binary_cross_entropy_with_logits(networks.decoder(z), x, reduction="sum")

    prior_mean, prior_log_variance = module.prior(w)
    precision = (-prior_log_variance).exp()
    log_weights = torch.log_softmax(module.weight_logits, -1)
    squares = (z.unsqueeze(1) - prior_mean).square() * precision
    log_joint = log_weights - 0.5 * (squares + prior_log_variance + LOG_2PI).sum(-1)
    log_posterior = torch.log_softmax(log_joint, -1)
    log_ratio = log_variance.unsqueeze(1) - prior_log_variance
    squares = (mean.unsqueeze(1) - prior_mean).square() * precision
    divergence = 0.5 * (log_ratio.exp() - log_ratio - 1 + squares).sum(-1)
    kl = (log_posterior.exp() * (divergence + log_posterior - log_weights)).sum()
    kl_style = 0.5 * (log_variance_w.exp() - log_variance_w - 1 + mean_w.square()).sum()
    return -(log_likelihood - kl - kl_style) / len(x)


class Model(NamedTuple):
    """A model and both of its loops."""

    make_module: Callable[[Case], Any]
    make_net: Callable[[Any, TrainConfig], Any]
    make_bare_loop: Callable[[Any, Case], Loop]
    bare_loss: Loss


def bare_vaeem_loss(module: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    """That of a step on drawn rows and the components' shares."""
    x, shares = batch
    return bare_vaeem_losses(module, x, sampled=True).mean(0) @ shares


MODELS = {
    "vade": Model(make_vade, make_net, partial(make_shuffling_loop, bare_vade_loss), bare_vade_loss),
    "gmvae": Model(make_gmvae, make_net, partial(make_shuffling_loop, bare_gmvae_loss), bare_gmvae_loss),
    "vaeem": Model(make_vaeem, make_em_net, make_bare_vaeem_loop, bare_vaeem_loss),
}


def check_equal_loss(model: "Model", module: Any, case: Case) -> None:
    """Raise unless both loops minimize the same function."""
    net = model.make_net(module, make_plan(case))
    net.begin_training(RandomStream(1), None)  # on a CPU, the same numbers as after torch.manual_seed(1)
    batch: Any = case.rows[: case.batch_size]
    if isinstance(net, EMNet):
        batch = batch.unsqueeze(1).expand(-1, K, -1), torch.softmax(torch.arange(K, dtype=torch.float32), 0)
    losses = []
    for loss in (lambda: net.criterion_(net.compute_terms(batch)), lambda: model.bare_loss(module, batch)):
        torch.manual_seed(1)
        losses.append(loss().item())
    if not math.isclose(*losses, rel_tol=1e-5):
        raise RuntimeError(f"the loops' losses differ: {losses[0]} and {losses[1]}; bring bare_loss up to date")


if __name__ == "__main__":
    sys.exit(main())
