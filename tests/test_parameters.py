"""Every check names what it got and what to do, and lets good values through."""

import math

import numpy as np
import pytest

from skgmvae._validation import (
    BLOCK_ROWS,
    check_enough_rows,
    check_hidden_layer_sizes,
    check_image_shape,
    check_likelihood,
    check_min_information,
    measure_scale,
)

FAILURES = {
    "rows": (check_enough_rows, (5, 10), ["n_components = 10", "n_samples = 5"]),
    "λ too high": (check_min_information, (1.5, 3), [f"{math.log(3):.4g} nats", "got 1.5", "Lower min_information"]),
    "λ = log K": (check_min_information, (math.log(4), 4), ["n_components=4", repr(math.log(4)), "raise n_components"]),
    "λ for one component": (check_min_information, (0.1, 1), ["n_components=1", "got 0.1"]),
    "no image shape": (check_image_shape, ("conv", None, 784), ["image_shape=(channels", "784", "got None"]),
    "image product": (check_image_shape, ("conv", (1, 28, 27), 784), ["(1, 28, 27)", "product of 784"]),
    "two sides": (check_image_shape, ("conv", (28, 28), 784), ["(28, 28)", "(channels, height, width)"]),
    "negative side": (check_image_shape, ("conv", (1, -28, -28), 784), ["(1, -28, -28)", "product of 784"]),
    "small image": (check_image_shape, ("conv", (16, 3, 4), 192), ["(16, 3, 4)", "at least 4 × 4", "network='mlp'"]),
    "image product without convolutions": (check_image_shape, ("mlp", (1, 9, 9), 80), ["(1, 9, 9)", "product of 80"]),
    "range": (check_likelihood, ("bernoulli", np.array([[-0.5, 0.5], [0.1, 7.25]])), ["[-0.5, 7.25]", "MinMaxScaler"]),
    "zero width": (check_hidden_layer_sizes, ((64, 0),), ["positive integers", "(64, 0)"]),
    "float width": (check_hidden_layer_sizes, ([32.0],), ["positive integers", "(32.0,)"]),
    "truth for a width": (check_hidden_layer_sizes, ((True,),), ["positive integers", "(True,)"]),
}


@pytest.mark.parametrize("check, arguments, parts", FAILURES.values(), ids=FAILURES)
def test_message_holds_the_value_and_the_remedy(check, arguments, parts):
    with pytest.raises(ValueError) as error:
        check(*arguments)
    for part in parts:
        assert part in str(error.value)


def test_good_values_pass():
    check_enough_rows(10, 10)
    for min_information, n_components in ((0.0, 1), (math.log(3) - 1e-9, 3)):
        check_min_information(min_information, n_components)
    assert check_image_shape("conv", [np.int64(3), 4, 5], 60) == (3, 4, 5)
    assert check_image_shape("mlp", None, 7) is None
    assert check_image_shape("mlp", (1, 4, 5), 20) == (1, 4, 5)
    assert check_hidden_layer_sizes([np.int64(8), 4]) == (8, 4)
    assert check_hidden_layer_sizes(()) == ()


@pytest.mark.parametrize(
    "low, high, chosen", [(0.0, 1.0, "bernoulli"), (0.0, 1.0 + 1e-6, "gaussian"), (-1e-6, 1.0, "gaussian")]
)
def test_auto_likelihood_is_bernoulli_exactly_for_the_unit_interval(low, high, chosen):
    X = np.array([[low, 0.5], [0.3, high]])
    assert check_likelihood("auto", X) == chosen
    assert check_likelihood("gaussian", X) == "gaussian"


def test_scale_is_that_of_float64_for_a_float32_memmap_with_a_large_offset(tmp_path):
    rng = np.random.default_rng(0)
    # at 3e4 float32 resolves 0.002, and float32 sums over these rows would be wrong in the third digit
    X = rng.normal([3e4, 0.0, -7.0], [1.0, 1e-3, 50.0], (2 * BLOCK_ROWS + 17, 3)).astype(np.float32)
    X[:, 2] = 0.1
    path = tmp_path / "X.npy"
    np.save(path, X)
    location, scale = measure_scale(np.load(path, mmap_mode="r"))
    exact = X.astype(np.float64)
    np.testing.assert_allclose(location, exact.mean(0), rtol=1e-12)
    np.testing.assert_allclose(scale[:2], exact.std(0)[:2], rtol=1e-9)
    assert scale[2] == 1.0, "a constant column keeps its unit"
    assert location.dtype == scale.dtype == np.float64
