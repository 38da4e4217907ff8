"""log p(x) by importance sampling whose proposals follow the draws."""

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from skgmvae.models.importance import ROUNDS, count_draws, draw_noise, log_evidence


@pytest.mark.parametrize("width", [1, 5, 100])
def test_noise_is_standard_normal_and_even(width):
    state = torch.get_rng_state()
    noise = draw_noise(64, width, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert noise.shape == (64, width) and noise.dtype == torch.float64
    assert torch.equal(noise, draw_noise(64, width, seed=3))
    assert not torch.equal(noise, draw_noise(64, width, seed=4))
    # one in each sixty-fourth of the law, where independent draws leave a third empty
    cells = (64 * Normal(0.0, 1.0).cdf(noise)).long()
    assert torch.equal(cells.sort(0).values, torch.arange(64).unsqueeze(1).expand(-1, width))
    # over seeds each draw has the whole law: unbiased estimates need no more
    first = torch.stack([draw_noise(4, width, seed)[0] for seed in range(200)])
    assert (first.mean(0).abs() < 5.0 / 200**0.5).all()
    assert (first.square().mean(0) - 1.0).abs().max() < 5.0 * (2.0 / 200) ** 0.5


def test_rows_of_many_features_have_half_the_draws():
    assert count_draws(100) == ROUNDS == (16, 16, 32, 64)
    assert count_draws(101) == (8, 8, 16, 32)


@pytest.fixture
def correlated():
    """log p(x, z) in z for one x with log p(x) = 3, and exact moments of p(z|x)."""
    posterior = MultivariateNormal(
        torch.tensor([1.0, -2.0], dtype=torch.float64), torch.tensor([[1.0, 0.5], [0.5, 2.0]]).double()
    )
    return posterior, lambda z: posterior.log_prob(z) + 3.0


def make_rounds(n_draws, width, seed):
    return [draw_noise(S, width, 10 * seed + number) for number, S in enumerate(n_draws)]


def test_estimates_are_unbiased_whatever_the_proposal(correlated):
    _, log_joint = correlated
    mean, log_variance = torch.zeros(2, dtype=torch.float64), torch.full((2,), 0.5, dtype=torch.float64)
    for n_draws in ((8,), (8, 8), (8, 8, 8)):
        estimates = torch.stack(
            [log_evidence(log_joint, mean, log_variance, make_rounds(n_draws, 2, seed)) for seed in range(400)]
        )
        ratios = (estimates - 3.0).exp()
        assert (ratios.mean() - 1.0).abs() < 4.5 * ratios.std() / 400**0.5
        assert estimates.mean() < 3.0


def test_proposals_find_a_posterior_that_the_encoder_has_missed(correlated):
    posterior, log_joint = correlated
    mean = posterior.mean + torch.tensor([2.0, -2.0])
    log_variance = (posterior.variance / 4.0).log()  # and far too sure
    plain, followed = (
        torch.stack([log_evidence(log_joint, mean, log_variance, make_rounds(S, 2, seed)) for seed in range(50)])
        for S in ((128,), ROUNDS)
    )
    assert plain.mean() < 2.0
    assert (followed.mean() - 3.0).abs() < 0.05 and followed.std() < 0.15


def test_a_proposal_that_is_right_stays_nearly_so(correlated):
    independent = Normal(torch.tensor([1.0, -2.0]).double(), torch.tensor([0.5, 2.0]).double())
    log_variance = 2.0 * independent.stddev.log()
    for seed in range(5):
        rounds = make_rounds(ROUNDS, 2, seed)
        estimate = log_evidence(lambda z: independent.log_prob(z).sum(-1), independent.mean, log_variance, rounds)
        assert estimate.abs() < 0.1


def test_axes_between_draws_and_dimensions_have_proposals_of_their_own():
    means = torch.randn(4, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    log_variances, rounds = means.flip(0) / 2.0, make_rounds((8, 8), 2, seed=0)

    def make_log_joint(center):
        return lambda z: -(z - center).square().sum(-1)

    together = log_evidence(make_log_joint(means + 1.0), means, log_variances, rounds)
    assert together.shape == (4, 3)
    for n in range(4):
        for c in range(3):
            alone = log_evidence(make_log_joint(means[n, c] + 1.0), means[n, c], log_variances[n, c], rounds)
            torch.testing.assert_close(together[n, c], alone)


def test_an_adapted_proposal_has_the_moments_of_draws_weighted_by_the_root_of_their_weights(correlated):
    posterior, log_joint = correlated
    mean = posterior.mean - torch.tensor([1.0, 0.0])
    for log_variance in (posterior.variance.log(), torch.full((2,), 3.0).double()):  # the second is wider than needed
        rounds, drawn = make_rounds((8, 8), 2, seed=1), []

        def watch(z, drawn=drawn):
            drawn.append(z)
            return log_joint(z)

        log_evidence(watch, mean, log_variance, rounds)
        first, second = drawn
        proposal = Normal(mean, log_variance.exp().sqrt())
        torch.testing.assert_close(first, mean + proposal.stddev * rounds[0])
        weights = (log_joint(first) - proposal.log_prob(first).sum(-1)).exp().sqrt().unsqueeze(-1)
        weights = weights / weights.sum(0)
        center = (weights * first).sum(0)
        variance = (weights * (first - center) ** 2).sum(0)
        width = 1.25 * torch.maximum(variance, log_variance.exp()).sqrt()  # nowhere narrower than q
        torch.testing.assert_close(second, center + width * rounds[1])
