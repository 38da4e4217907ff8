"""The background: a density, mixed with that of the components."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest, multivariate_t, t

from skgmvae.models.background import ADDED_VARIANCE, FEATURE_FREEDOM, JOINT_FREEDOM, Background


def draw(n, D):
    rows = torch.randn(n, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows[:, -1] += 0.8 * rows[:, 0]
    return rows


def test_density_is_that_of_scipy():
    points, x = draw(50, 3), 3.0 * draw(20, 3).numpy() + 1.0
    background = Background(3).fit(points)
    mean = points.mean(0).numpy()
    scale = np.cov(points.numpy().T, ddof=0) + ADDED_VARIANCE * np.eye(3)
    joint = multivariate_t(mean, scale, df=JOINT_FREEDOM).pdf(x)
    each = t(FEATURE_FREEDOM, mean, np.sqrt(scale.diagonal())).pdf(x).prod(1)
    np.testing.assert_allclose(background(torch.from_numpy(x)).exp(), 0.5 * (joint + each))


@pytest.mark.parametrize("D", [1, 2])
def test_integral_is_one(D):
    axis = np.sinh(np.linspace(-12.0, 12.0, 1201))  # nodes far out
    weights = np.gradient(axis)
    grid = np.stack(np.meshgrid(*[axis] * D), -1).reshape(-1, D)
    area = weights if D == 1 else np.outer(weights, weights).ravel()
    density = Background(D).fit(draw(50, D))(torch.from_numpy(grid)).exp().numpy()
    np.testing.assert_allclose((density * area).sum(), 1.0, rtol=1e-3)


def test_its_weight_is_that_of_one_sample_not_seen():
    points, x = draw(50, 2), draw(5, 2)
    background = Background(2).fit(points)
    log_density = torch.linspace(-3.0, -900.0, 5).double()
    mixed = background.mix(log_density, x)
    torch.testing.assert_close(mixed.exp(), 50 / 51 * log_density.exp() + background(x).exp() / 51)
    torch.testing.assert_close(background.mix(log_density, x, background(x)), mixed)
    without = Background(2)
    torch.testing.assert_close(without.mix(log_density, x), log_density)
    restored = Background(2)
    restored.load_state_dict(background.state_dict())
    torch.testing.assert_close(restored.mix(log_density, x), mixed)


@pytest.mark.parametrize("x", [(0.3, -0.5), (6.0, 7.0), (2.0, -9.0)])
def test_missing_values_have_the_conditional_distribution(x):
    background = Background(3).fit(draw(50, 3))
    axis = np.sinh(np.linspace(-14.0, 14.0, 20001))
    rows = np.column_stack([np.full(len(axis), x[0]), np.full(len(axis), x[1]), axis])
    masses = background(torch.from_numpy(rows)).exp().numpy() * np.gradient(axis)
    masses /= masses.sum()
    given = torch.tensor([[*x, np.nan]], dtype=torch.float64)
    expected = background.expect(given)
    np.testing.assert_allclose(expected, [[*x, masses @ axis]], rtol=1e-3, atol=1e-3)
    drawn = background.draw_given(given.expand(2000, 3), torch.Generator().manual_seed(0))
    assert (drawn[:, :2] == given[:, :2]).all()
    assert kstest(drawn[:, 2].numpy(), lambda values: np.interp(values, axis, masses.cumsum())).pvalue > 0.001
