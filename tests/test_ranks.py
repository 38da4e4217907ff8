"""One fit on several processes: equal on all of them, and equal to that of one within float error."""

import json
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from fit_on_ranks import CASES, X, run

from skgmvae import VaDEClustering, _ranks
from skgmvae._ranks import Share, joined, n_ranks, share_of
from skgmvae.data.buffers import Buffer, BufferedRows
from skgmvae.functional import noise_like
from skgmvae.runtime import RandomStream

SCRIPT = Path(__file__).with_name("fit_on_ranks.py")
ON_FOUR = ("table", "GMVAE", "VAE-EM", "few samples")
SAME = ("table", "GMVAE", "VaDE", "VAE-EM", "few samples", "lazy", "partial")  # as in one process, within float error
LAUNCHED = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}


def launch(n, names, folder):
    """The outcomes on each of ``n`` ranks."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n)]
    done = subprocess.run([*command, SCRIPT, folder, *names], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(n)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return run(SAME, tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def on_two(tmp_path_factory):
    return launch(2, CASES, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def on_four(tmp_path_factory):
    return launch(4, ON_FOUR, tmp_path_factory.mktemp("four"))


@pytest.fixture(params=["on_two", "on_four"])
def outcomes(request):
    return request.getfixturevalue(request.param)


def test_all_ranks_end_with_the_same_bits(outcomes):
    for name in outcomes[0]:
        if name not in ("fails", "alone"):
            assert all(other[name] == outcomes[0][name] for other in outcomes), name


def test_the_result_is_that_of_one_process(outcomes, alone):
    for name in SAME:
        for figure, expected in alone[name].items() if name in outcomes[0] else ():
            if figure != "hash":
                np.testing.assert_allclose(outcomes[0][name][figure], expected, rtol=1e-3, err_msg=f"{name}, {figure}")


def test_a_failure_of_one_rank_is_one_of_all(on_two):
    assert on_two[1]["fails"]["error"] == "OSError: the disk is full"
    assert on_two[0]["fails"]["error"].startswith("RuntimeError: Another rank of this fit has failed")


def test_an_interrupt_of_one_rank_ends_all_at_the_same_step(on_two):
    assert len(on_two[0]["interrupted"]["lower_bounds_"]) == 2


def test_cache_and_checkpoint_go_on_with_the_same_result(on_two):
    np.testing.assert_equal(on_two[0]["twice"], on_two[0]["VaDE"])


def test_ranks_need_the_same_samples(on_two):
    assert on_two[0]["other samples"]["error"].startswith(
        "ValueError: The ranks of this fit have different values of X."
    )


def test_ranks_can_fit_alone(on_two, alone):
    assert on_two[0]["alone"]["hash"] == on_two[0]["grid"]["hash"] == alone["VaDE"]["hash"]
    assert on_two[1]["alone"]["hash"] != alone["VaDE"]["hash"]


def test_several_processes_are_needed_for_a_fit_on_several(monkeypatch):
    with pytest.raises(ValueError, match="distributed=True needs several processes: start the script with `torchrun"):
        VaDEClustering(3, distributed=True).fit(X)
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    assert _ranks._is_shared("auto") and _ranks._is_shared(True) and not _ranks._is_shared(False)
    assert joblib.Parallel(1)([joblib.delayed(_ranks._is_shared)(way) for way in ("auto", True)]) == [False, True]
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not _ranks._is_shared(True)
    with joined("auto"):
        assert n_ranks() == 1


@pytest.fixture(params=[0, 1, 2])
def rank(request):
    """One of three ranks, without the others."""
    token = _ranks._present.set(_ranks._Ranks(None, 3, request.param))
    yield request.param
    _ranks._present.reset(token)


def test_shares_of_a_batch(rank):
    bounds = [0, 2, 4, 7]
    assert share_of(7) == Share(slice(bounds[rank], bounds[rank + 1]), 7, (bounds[rank + 1] - bounds[rank]) / 7)
    assert share_of(1) == Share(slice(0, 1), 1, 1.0 if rank == 2 else 0.0)  # the others compute, and do not count


@pytest.mark.parametrize(("n_draws", "width"), [(1, None), (1, 4), (3, None), (3, 4)])
@pytest.mark.parametrize("by_component", [False, True])
def test_noise_of_a_share_is_that_of_the_batch(rank, n_draws, width, by_component):
    x = torch.zeros(2, 7, 3).transpose(0, 1) if by_component else torch.zeros(7, 3)
    share, random = share_of(7), RandomStream(0)
    whole = noise_like(x, n_draws, width, RandomStream(0).on("cpu"))
    own = noise_like(x[share.rows], n_draws, width, random.on("cpu", share=share))
    np.testing.assert_array_equal(own, whole[share.rows] if n_draws == 1 else whole[:, share.rows])
    after = noise_like(x, n_draws, width, random.on("cpu"))
    assert after.shape == whole.shape and not torch.equal(after, whole)


def test_each_rank_reads_its_blocks_and_computes_their_rows(rank):
    buffer = Buffer([slice(0, 3), slice(5, 6), slice(6, 9), slice(10, 14)], 1)
    own, first = buffer.own_blocks()
    assert own.blocks == buffer.blocks[[0, 1, 2][rank] : [1, 2, 4][rank]] and first == [0, 3, 4][rank]
    rows = own.indices().unsqueeze(1)  # as if they were the values
    read = BufferedRows(rows, own.indices(), len(buffer), 1, first)
    batch = torch.tensor([10, 0, 3, 4, 2])
    share, places = read.share(batch)
    np.testing.assert_array_equal(rows[places].flatten(), buffer.indices()[batch[share.rows]])
    assert share.weight == [2 / 5, 1 / 5, 2 / 5][rank]
    assert read.share(torch.tensor([5]))[0].weight == [0.0, 0.0, 1.0][rank]
    assert Buffer(buffer.blocks[:2], 1).own_blocks() == (Buffer(buffer.blocks[:2], 1), 0)  # of two, none is left
