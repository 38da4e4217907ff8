"""Features of images learned by contrast: an image and one of its neighbors, both distorted, against all others."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_memory
from torch import Tensor
from torch.nn import functional as F

from skgmvae.data.batches import Rows, as_rows, rows_on_device, take_rows
from skgmvae.data.lazy import LazyRows, empty_or_memmap, iter_chunks
from skgmvae.initialization.augmentation import augment
from skgmvae.initialization.graph import N_NEIGHBORS, find_neighbors
from skgmvae.initialization.representations import gradients, principal_components, subsample_rows
from skgmvae.models.image_encoder import ImageEncoder
from skgmvae.runtime import check_device, choose_autocast_dtype, seeded
from skgmvae.training.progress import show_phase

MIN_STEPS, MAX_STEPS = 300, 2400
N_PASSES = 40  # between these; neighbors of few rows would be learned by heart, and clusters fall apart
BATCH_SIZE = 256  # pairs
STEP_SIZE = 4e-3  # the greatest of one cycle
TEMPERATURE = 0.5
ROWS_AT_A_TIME = 4096


def contrastive_loss(projections: Tensor) -> Tensor:
    """Mean cross-entropy, in nats, of finding each row's partner among all others by cosine similarity.

    Rows i and n + i of ``projections`` (2n, P) are partners (NT-Xent, Chen et al. 2020).
    """
    n = len(projections) // 2
    directions = F.normalize(projections, dim=1)
    similarities = (directions @ directions.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    return F.cross_entropy(similarities, torch.arange(2 * n, device=projections.device).roll(n))


def fit_contrastive_encoder(
    X: np.ndarray | LazyRows, image_shape: Sequence[int], *, memory: Any = None, verbose: int = 0, **options: Any
) -> ImageEncoder:
    """The encoder of :func:`fit_contrastive_weights`, to which the options go; ``memory`` caches its weights."""
    learn = check_memory(memory).cache(fit_contrastive_weights, ignore=["verbose"])
    return make_encoder(image_shape, learn(X, tuple(image_shape), **options, verbose=verbose))


def make_encoder(image_shape: Sequence[int], weights: dict[str, np.ndarray]) -> ImageEncoder:
    """The encoder with the weights of :func:`fit_contrastive_weights`, in evaluation mode."""
    encoder = ImageEncoder(image_shape)
    encoder.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    return encoder.eval()


def fit_contrastive_weights(
    X: np.ndarray | LazyRows, image_shape: Sequence[int], device: str, precision: str, seed: int, verbose: int = 0
) -> dict[str, np.ndarray]:
    """Weights of an :class:`~skgmvae.models.image_encoder.ImageEncoder` that finds neighbors again.

    Partners are an image and one of its nearest by gradients, drawn anew at each step, each
    :func:`~skgmvae.initialization.augmentation.augment`-ed: what is learned are the features that neighbors share whatever
    the distortion (Chen et al. 2020; neighbors as partners: Dwibedi et al. 2021). ``N_PASSES`` over the rows, but
    ``MAX_STEPS`` and ``MAX_INIT_ROWS`` at most.

    A pure function of plain values, for :class:`joblib.Memory`.

    Parameters
    ----------
    X : ndarray or LazyRows of shape (N, D)
    image_shape : (C, H, W)
    device, precision : str
        As the estimator's parameters.
    seed : int
    verbose : int, default=0

    Returns
    -------
    weights : dict of str to ndarray
    """
    target, random_state = check_device(device), np.random.RandomState(seed)
    dtype = choose_autocast_dtype(precision, target)
    X = subsample_rows(X, random_state)
    n_pairs = min(BATCH_SIZE, len(X))
    n_steps = max(MIN_STEPS, min(MAX_STEPS, N_PASSES * (len(X) // n_pairs)))
    with seeded(seed, target), show_phase("features", verbose, n_steps, "step") as show:
        encoder = ImageEncoder(image_shape).to(target)
        place = principal_components(gradients(encoder, image_shape), X, random_state, target)
        neighbors = torch.from_numpy(find_neighbors(place.transform(X, target), N_NEIGHBORS)[1])
        optimizer = torch.optim.AdamW(encoder.parameters(), STEP_SIZE, weight_decay=1e-4, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, STEP_SIZE, total_steps=n_steps)
        rows: Any = rows_on_device(_hold(X), target)
        for number, indices in enumerate(_draw_pairs(neighbors, n_pairs, n_steps), start=1):
            images = augment(encoder.as_images(take_rows(rows, indices, target)))
            with nullcontext() if dtype is None else torch.autocast(target.type, dtype):
                projections = encoder(images)
            optimizer.zero_grad()
            loss = contrastive_loss(projections.float())
            loss.backward()
            optimizer.step()
            schedule.step()
            show(f"contrastive loss {float(loss.detach()):.4g}" if number == n_steps else "")
    return {name: tensor.numpy(force=True) for name, tensor in encoder.state_dict().items()}


def _draw_pairs(neighbors: Tensor, n_pairs: int, n_steps: int) -> Iterator[Tensor]:
    """Row indices (2n,) of the partners of a step, for every step: each row once, then in another order."""
    N, n_neighbors = neighbors.shape
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(n_steps):
        if len(order) < n_pairs:
            order = torch.randperm(N)
        drawn, order = order[:n_pairs], order[n_pairs:]
        yield torch.cat([drawn, neighbors[drawn, torch.randint(n_neighbors, (n_pairs,))]])


def _hold(X: Any) -> Rows:
    """The rows in memory, or, where they are many and read a block at a time, in a temporary file."""
    if isinstance(X, np.ndarray):
        rows = X
    else:
        rows = empty_or_memmap(X.shape)
        for first, block in iter_chunks(X, ROWS_AT_A_TIME):
            rows[first : first + len(block)] = block
    return as_rows(rows)
