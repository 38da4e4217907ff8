"""Batches: every row once per epoch, in an order that only the seed decides, wherever the rows are."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_lazy import Guarded
from torch._subclasses.fake_tensor import FakeTensorMode

from skgmvae.data import buffers as buffers_module
from skgmvae.data import lazy as lazy_module
from skgmvae.data.batches import ClampedResponsibilities, ShuffledBatches, draw_by_weight
from skgmvae.data.buffers import plan_buffers
from skgmvae.data.lazy import LazyRows
from skgmvae.runtime import RandomStream

N, D = 600, 4


@pytest.mark.parametrize("n_rows, batch_size", [(1, 10), (9, 10), (10, 10), (19, 10), (43, 10), (40, 1)])
def test_every_row_comes_once_per_epoch_in_batches_of_nearly_equal_size(n_rows, batch_size):
    batches = ShuffledBatches(torch.arange(n_rows).unsqueeze(1), batch_size, RandomStream(0))
    epoch = list(batches)
    assert len(epoch) == len(batches)
    assert torch.cat(epoch).flatten().sort().values.tolist() == list(range(n_rows))
    sizes = [len(batch) for batch in epoch]
    assert max(sizes) - min(sizes) <= 1
    assert min(batch_size, n_rows) <= min(sizes) and max(sizes) < 2 * batch_size


def test_every_epoch_has_its_own_order_and_the_seed_decides():
    orders = []
    for seed in (0, 0, 1):
        batches = ShuffledBatches(torch.arange(50).unsqueeze(1), 10, RandomStream(seed))
        orders.append([torch.cat(list(batches)).flatten().tolist() for _ in range(2)])
    assert orders[0] == orders[1] and orders[0] != orders[2]
    assert orders[0][0] != orders[0][1] and orders[0][0] != list(range(50))


def test_clamped_responsibilities_come_with_their_rows_in_the_first_epochs_alone():
    rows = torch.arange(50).unsqueeze(1)
    batches = ShuffledBatches(rows, 10, RandomStream(0), clamped=ClampedResponsibilities(-2.0 * rows, n_epochs=2))
    for epoch in range(4):
        for batch in batches:
            assert isinstance(batch, tuple) == (epoch < 2)
            if epoch < 2:
                assert torch.equal(batch[1], -2 * batch[0])


class NoGenerator:
    """In the place of a CUDA device's generator, where there may be none."""

    def on(self, device):
        return None


def test_rows_that_are_on_the_cuda_device_stay_there():
    with FakeTensorMode():
        rows = torch.empty(40, D, device="cuda")
        clamped = ClampedResponsibilities(torch.empty(40, 3, device="cuda"), 1)
        for name in ("cuda", "cuda:0"):
            batches = ShuffledBatches(rows, 10, NoGenerator(), device=torch.device(name), clamped=clamped)
            assert [(x.shape, x.device.type, u.device.type) for x, u in batches] == [((10, D), "cuda", "cuda")] * 4


# -------------------------------------------------------------------------------------------- rows of a file


def number_rows(n_rows):
    """Rows (n, D) that hold their own numbers."""
    return np.repeat(np.arange(n_rows, dtype=np.float32)[:, None], D, axis=1)


def test_epoch_over_blocks_has_every_row_once_in_mixed_batches(small_blocks):
    clamped = ClampedResponsibilities(-2.0 * torch.arange(N).unsqueeze(1), 1)
    shuffled = ShuffledBatches(LazyRows(Guarded(number_rows(N))), 20, RandomStream(0), clamped=clamped)
    first, second = list(shuffled), list(shuffled)
    assert len(first) == len(second) == len(shuffled) == 30
    for x, log_responsibilities in first:
        assert torch.equal(log_responsibilities[:, 0], -2.0 * x[:, 0])
    order = torch.cat(second)[:, 0]
    assert torch.equal(order.sort().values, torch.arange(N, dtype=torch.float32))
    assert not torch.equal(order, torch.cat([x for x, _ in first])[:, 0])
    # four of twelve blocks at a time: a batch of 20 comes from several of them
    assert min(len((batch[:, 0] // 50).unique()) for batch in second) >= 3
    assert {len(batch) for batch in second} <= {18, 19, 20, 21, 22}


@pytest.mark.parametrize("n_rows", [1, 49, 51, 74, 76, 199, 201, 320, 600])
def test_buffers_cover_all_rows_and_share_the_batches(n_rows, small_blocks):
    rows = LazyRows(Guarded(np.zeros((n_rows, D), np.float32)))
    for n_batches in (1, 5, 33):
        buffers = plan_buffers(rows, n_batches, RandomStream(0))
        assert sum(buffer.n_batches for buffer in buffers) == n_batches
        indices = torch.cat([buffer.indices() for buffer in buffers])
        assert indices.sort().values.tolist() == list(range(n_rows))
        assert [len(buffer) for buffer in buffers] == [len(buffer.indices()) for buffer in buffers]


def test_a_longer_last_block_takes_no_other_buffer_s_batch(monkeypatch):
    monkeypatch.setattr(lazy_module, "BLOCK_BYTES", 10 * D * 4)
    monkeypatch.setattr(buffers_module, "BUFFER_BYTES", 10 * D * 4)
    rows = LazyRows(Guarded(np.zeros((114, D), np.float32)))  # ten blocks of 10, one of 14; two of them share a buffer
    for seed in range(20):
        n_batches = [buffer.n_batches for buffer in plan_buffers(rows, 10, RandomStream(seed))]
        assert n_batches == [1] * 10


@given(
    n_rows=st.integers(1, 300),
    batch_size=st.integers(1, 350),
    block_rows=st.integers(1, 80),
    buffer_rows=st.integers(1, 200),
)
def test_batches_of_a_file_are_as_many_as_announced_and_have_every_row_once(
    n_rows, batch_size, block_rows, buffer_rows
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lazy_module, "BLOCK_BYTES", block_rows * D * 4)
        patch.setattr(buffers_module, "BUFFER_BYTES", buffer_rows * D * 4)
        batches = ShuffledBatches(LazyRows(Guarded(number_rows(n_rows), n_rows)), batch_size, RandomStream(0))
        for _ in range(2):
            epoch = list(batches)
            # so many steps a step-size schedule counts on
            assert len(epoch) == len(batches) == max(1, n_rows // batch_size)
            assert all(len(batch) for batch in epoch)
            assert torch.cat(epoch)[:, 0].sort().values.tolist() == list(range(n_rows))


# --------------------------------------------------------------------------------------- draws by weight

weights_of_columns = st.integers(1, 12).flatmap(
    lambda n: st.lists(
        st.lists(st.sampled_from([0.0, 1e-30, 0.01, 0.3, 1.0, 50.0]), min_size=n, max_size=n), min_size=1, max_size=4
    )
)


@given(columns=weights_of_columns, n_draws=st.integers(1, 60), seed=st.integers(0, 2**31 - 1))
def test_each_row_is_drawn_as_often_as_it_is_due_give_or_take_one(columns, n_draws, seed):
    weights = torch.tensor(columns, dtype=torch.float64).T
    indices = draw_by_weight(weights, n_draws, RandomStream(seed))
    assert indices.shape == (n_draws, len(columns)) and indices.min() >= 0 and indices.max() < len(weights)
    for c, column in enumerate(columns):
        total = sum(column)
        counts = torch.bincount(indices[:, c], minlength=len(weights))
        if total > 0.0:
            due = n_draws * weights[:, c] / total
            assert ((counts - due).abs() < 2.0).all()
            assert not counts[weights[:, c] == 0.0].any()
    assert torch.equal(indices, draw_by_weight(weights, n_draws, RandomStream(seed)))
