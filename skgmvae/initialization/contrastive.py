"""Contrastive features of images (NT-Xent): positive pairs are an image and a neighbor, both augmented."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any, cast

import numpy as np
import torch
from sklearn.utils.validation import check_memory
from torch import Tensor
from torch.nn import functional as F

from skgmvae._progress import show_phase
from skgmvae.data.arrays import Array
from skgmvae.data.batches import take_rows
from skgmvae.data.lazy import Samples, empty_or_memmap, iter_chunks
from skgmvae.data.training_data import TrainingData
from skgmvae.initialization.augmentation import augment
from skgmvae.initialization.neighbor_graph import N_NEIGHBORS, find_neighbors
from skgmvae.initialization.representations import hog, principal_components, subsample
from skgmvae.models.image_encoder import ImageEncoder
from skgmvae.runtime import RandomStream, check_device, choose_autocast_dtype

__all__ = ["contrastive_loss", "fit_contrastive_encoder", "fit_contrastive_weights", "load_encoder"]

MIN_STEPS, MAX_STEPS = 300, 2400
N_PASSES = 40  # within these bounds; with few samples the network would overfit their neighbors and clusters break up
BATCH_SIZE = 256  # pairs
STEP_SIZE = 4e-3  # maximum of the one-cycle schedule
TEMPERATURE = 0.5
ROWS_AT_A_TIME = 4096


def contrastive_loss(projections: Tensor) -> Tensor:
    """NT-Xent loss: cross-entropy, in nats, of identifying the positive of each sample by cosine similarity.

    Rows i and n + i of ``projections`` (2n, P) are positive pairs (NT-Xent, Chen et al. 2020).
    """
    n = len(projections) // 2
    directions = F.normalize(projections, dim=1)
    similarities = (directions @ directions.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    return F.cross_entropy(similarities, torch.arange(2 * n, device=projections.device).roll(n))


def fit_contrastive_encoder(
    data: TrainingData, image_shape: Sequence[int], *, memory: Any = None, verbose: int = 0, **options: Any
) -> ImageEncoder:
    """The encoder of :func:`fit_contrastive_weights`, to which the options go; ``memory`` caches its weights."""
    fit = check_memory(memory).cache(fit_contrastive_weights, ignore=["verbose"])
    return load_encoder(image_shape, fit(data, tuple(image_shape), **options, verbose=verbose))


def load_encoder(image_shape: Sequence[int], weights: dict[str, Array]) -> ImageEncoder:
    """The encoder with the weights of :func:`fit_contrastive_weights`, in evaluation mode."""
    encoder = ImageEncoder(image_shape, RandomStream(0).on("cpu"))
    encoder.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return encoder.eval()


def fit_contrastive_weights(
    data: TrainingData,
    image_shape: Sequence[int],
    device: str,
    precision: str,
    seed: int,
    environment: dict[str, str] | None = None,
    verbose: int = 0,
) -> dict[str, Array]:
    """Weights of an :class:`~skgmvae.models.image_encoder.ImageEncoder` trained on positive pairs.

    A positive pair is an image and one of its nearest neighbors by HOG, drawn anew at each step, both under
    :func:`~skgmvae.initialization.augmentation.augment`. The network learns the features that neighbors share under
    augmentation (Chen et al. 2020; neighbors as positives: Dwibedi et al. 2021). It makes ``N_PASSES`` over at most
    ``MAX_INIT_ROWS`` samples, in at most ``MAX_STEPS``.

    A pure function of plain values, for :class:`joblib.Memory`.

    Parameters
    ----------
    data : TrainingData
    image_shape : (C, H, W)
    device, precision : str
        As the estimator's parameters.
    seed : int
    environment : dict, optional
        What else the result depends on, for the key of the cache.
    verbose : int, default=0

    Returns
    -------
    weights : dict of str to ndarray
    """
    target, random_state, random = check_device(device), np.random.RandomState(seed), RandomStream(seed)
    dtype = choose_autocast_dtype(precision, target)
    some = subsample(len(data), random_state)
    X = data.X if some is None else data.subset(some)
    n_pairs = min(BATCH_SIZE, len(X))
    n_steps = max(MIN_STEPS, min(MAX_STEPS, N_PASSES * (len(X) // n_pairs)))
    with show_phase("contrastive features", verbose, n_steps, "step") as show:
        encoder = ImageEncoder(image_shape, random.on("cpu")).to(target)
        representation = principal_components(hog(encoder, image_shape), X, random_state, target)
        points = representation.transform(X, target)
        neighbors = torch.from_numpy(find_neighbors(points, N_NEIGHBORS, target).indices)
        optimizer = torch.optim.AdamW(encoder.parameters(), STEP_SIZE, weight_decay=1e-4, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, STEP_SIZE, total_steps=n_steps)
        rows = cast(Tensor, _load(X).on(target).rows)  # not lazy: _load has read them
        for number, indices in enumerate(_draw_pairs(neighbors, n_pairs, n_steps, random.on("cpu")), start=1):
            images = augment(encoder.as_images(take_rows(rows, indices, target)), random.on(target))
            with nullcontext() if dtype is None else torch.autocast(target.type, dtype):
                projections = encoder(images)
            optimizer.zero_grad()
            loss = contrastive_loss(projections.float())
            loss.backward()
            optimizer.step()
            schedule.step()
            show(f"loss {float(loss.detach()):.4g}" if number == n_steps else "")
    return {name: tensor.numpy(force=True) for name, tensor in encoder.state_dict().items()}


def _draw_pairs(neighbors: Tensor, n_pairs: int, n_steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Row indices (2n,) of the positive pairs of each step; every row is used once before the rows are reshuffled."""
    N, n_neighbors = neighbors.shape
    order = torch.empty(0, dtype=torch.int64, device="cpu")
    for _ in range(n_steps):
        if len(order) < n_pairs:
            order = torch.randperm(N, generator=generator, device="cpu")
        drawn, order = order[:n_pairs], order[n_pairs:]
        which = torch.randint(n_neighbors, (n_pairs,), generator=generator, device="cpu")
        yield torch.cat([drawn, neighbors[drawn, which]])


def _load(X: Samples) -> TrainingData:
    """The samples in memory, or in a temporary file if they are lazy and many."""
    if isinstance(X, np.ndarray):
        return TrainingData.from_rows(X)
    rows = empty_or_memmap(X.shape)
    for first, block in iter_chunks(X, ROWS_AT_A_TIME):
        rows[first : first + len(block)] = block
    return TrainingData.from_rows(rows)
