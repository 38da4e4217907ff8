"""Laplace approximations, against torch.distributions and automatic derivatives."""

import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal

from skgmvae.models.laplace import (
    Expansion,
    Proposal,
    add_expansions,
    expand_likelihood,
    expand_normal,
    take_newton_step,
)
from skgmvae.models.row_shifts import hash_rows, shift_points

n, J, U, S = 4, 3, 2, 5


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def make_proposal(n_samples=n, n_normals=J, width=U):
    factors = draw(n_samples, n_normals, width, width, seed=1).tril(-1)
    factors = factors + draw(n_samples, n_normals, width, seed=2).exp().diag_embed()
    return Proposal(
        draw(n_samples, n_normals, seed=3).log_softmax(-1), draw(n_samples, n_normals, width, seed=4), factors
    )


def as_distribution(proposal):
    normals = MultivariateNormal(proposal.means, precision_matrix=proposal.factors @ proposal.factors.mT)
    return MixtureSameFamily(Categorical(logits=proposal.log_shares), normals)


def test_density_of_a_proposal():
    proposal, points = make_proposal(), draw(n, S, U, seed=5)
    exact = as_distribution(proposal).log_prob(points.transpose(0, 1)).T
    log_joint = proposal.log_joint(points)
    assert log_joint.shape == (n, S, J)
    torch.testing.assert_close(log_joint.logsumexp(-1), exact)


def test_draws_are_of_the_normals_in_the_proportions_of_the_shares():
    proposal = make_proposal()
    uniform = torch.quasirandom.SobolEngine(1 + U, scramble=True, seed=0).draw(2**14, dtype=torch.float64)
    points = proposal.draw(uniform.clamp(1e-9, 1.0 - 1e-9).expand(n, -1, -1))
    exact = as_distribution(proposal)
    torch.testing.assert_close(points.mean(1), exact.mean, atol=0.02, rtol=0.0)
    torch.testing.assert_close(points.var(1), exact.variance, rtol=0.03, atol=0.0)
    posterior = proposal.log_joint(points).softmax(-1).mean(1)
    torch.testing.assert_close(posterior, proposal.log_shares.exp(), atol=0.005, rtol=0.0)
    # a normal's draws have its correlations
    alone = Proposal(*(part[:, :1] for part in proposal))._replace(log_shares=torch.zeros(n, 1).double())
    covariances = torch.stack([torch.cov(part.T) for part in alone.draw(uniform.clamp(1e-9, 1.0).expand(n, -1, -1))])
    precision = alone.factors[:, 0] @ alone.factors[:, 0].mT
    torch.testing.assert_close(precision @ covariances, torch.eye(U).double().expand(n, -1, -1), atol=0.05, rtol=0.0)


def test_a_mixture_with_one_more_normal():
    proposal, mean, deviation = make_proposal(), draw(n, U, seed=6), draw(n, U, seed=7).exp()
    points = draw(n, S, U, seed=8)
    mixed = proposal.mix(mean, deviation, 0.3).log_joint(points).logsumexp(-1).exp()
    other = Normal(mean.unsqueeze(1), deviation.unsqueeze(1)).log_prob(points).sum(-1).exp()
    torch.testing.assert_close(mixed, 0.7 * proposal.log_joint(points).logsumexp(-1).exp() + 0.3 * other)


def test_the_step_on_a_quadratic_reaches_its_maximum_and_its_integral():
    normal = MultivariateNormal(draw(n, U), torch.eye(U).double() + draw(n, U, 1) @ draw(n, 1, U, seed=0))
    start = draw(n, U, seed=1)
    factor = torch.linalg.cholesky(normal.precision_matrix).mT
    expansion = expand_normal((factor @ (start - normal.mean).unsqueeze(-1)).squeeze(-1), factor)
    torch.testing.assert_close(expansion.value, normal.log_prob(start))
    raised = expansion._replace(value=expansion.value + 3.0)
    step = take_newton_step(raised, start)
    torch.testing.assert_close(step.maximum, normal.mean)
    torch.testing.assert_close(step.log_maximum, normal.log_prob(normal.mean) + 3.0)
    torch.testing.assert_close(step.log_integral, torch.full((n,), 3.0).double())
    torch.testing.assert_close(step.factor @ step.factor.mT, normal.precision_matrix)
    doubled = take_newton_step(add_expansions(expansion, expansion), start)
    torch.testing.assert_close(doubled.maximum, normal.mean)
    torch.testing.assert_close(doubled.log_maximum, 2.0 * normal.log_prob(normal.mean))


def test_expansions_around_the_same_point_are_those_of_each_component():
    jacobian, slope, curvature = draw(n, 1, U, 6), draw(n, J, 6, seed=1), draw(n, J, 6, seed=2).exp()
    shared = expand_likelihood(draw(n, J, seed=3), slope, curvature, jacobian)
    each = expand_likelihood(draw(n, J, seed=3), slope, curvature, jacobian.expand(n, J, U, 6))
    for found, expected in zip(shared, each, strict=True):
        torch.testing.assert_close(found, expected)


def test_a_precision_that_rounding_has_made_indefinite_gives_a_finite_step():
    precision = torch.tensor([[[1.0, 1.0], [1.0, 1.0 - 1e-12]], [[2.0, 1.0], [1.0, 2.0]]]).double()
    precision[0] *= 1e14
    step = take_newton_step(Expansion(draw(2), draw(2, U), precision), draw(2, U))
    assert all(part.isfinite().all() for part in step)
    torch.testing.assert_close(step.factor[1] @ step.factor[1].mT, precision[1])


def test_hashes_of_rows_are_uniform_and_depend_on_every_value():
    x = draw(4096, 3)
    numbers = hash_rows(x, 5, 0)
    assert numbers.shape == (4096, 5) and (numbers >= 0.0).all() and (numbers < 1.0).all()
    counts = torch.stack([torch.histc(column, 16, 0.0, 1.0) for column in numbers.T])
    assert ((counts - 256.0).square() / 256.0).sum(1).max() < 45.0  # χ² of 15 degrees: one in 10,000
    assert (torch.corrcoef(numbers.T) - torch.eye(5).double()).abs().max() < 4.5 / 4096**0.5
    # the smallest change of one value changes all numbers, in all of their range; so do its place and the seed
    for other in (
        hash_rows(torch.nextafter(x, x + 1.0), 5, 0),
        hash_rows(torch.cat([x[:, :2], torch.nextafter(x[:, 2:], x[:, 2:] + 1.0)], 1), 5, 0),
        hash_rows(x.flip(1), 5, 0),
        hash_rows(x, 5, 1),
    ):
        changes = (other - numbers).abs()
        assert abs(changes.mean() - 1.0 / 3.0) < 0.01  # of independent numbers
    torch.testing.assert_close(hash_rows(x[7:9], 5, 0), numbers[7:9], rtol=0.0, atol=0.0)
    integers = torch.arange(4096.0).double().unsqueeze(1)  # whose bits differ little
    assert hash_rows(integers, 1, 0).flatten().sort().values.diff().max() < 0.01


def test_equal_values_have_equal_hashes():
    x = draw(50, 3).float()
    x[0, 0], x[1, 1] = 0.0, 0.0
    negative = torch.where(x == 0.0, -x, x)
    assert torch.equal(hash_rows(x.double(), 2, 3), hash_rows(negative.double(), 2, 3))
    assert torch.equal(hash_rows(x.double(), 2, 3).float(), hash_rows(x, 2, 3))


def test_shifted_points_stay_in_the_open_cube():
    points = torch.tensor([[0.0, 0.25], [0.5, 0.75]]).double()
    shifts = torch.tensor([[0.0, 0.75], [0.5, 0.5]]).double()
    shifted = shift_points(points, shifts)
    expected = torch.tensor([[[0.0, 0.0], [0.5, 0.5]], [[0.5, 0.75], [0.0, 0.25]]]).double()
    torch.testing.assert_close(shifted, expected)
    assert (shifted > 0.0).all() and (shifted < 1.0).all()
    ones = shift_points(points, torch.full((1, 2), 1.0 - 1e-17).double())
    assert torch.special.ndtri(ones).isfinite().all()
