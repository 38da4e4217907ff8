"""Frames in and out: dtypes of integers and of ordered categories, columns named in messages."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skgmvae import VaDEClustering
from skgmvae._parameters import check_spread
from skgmvae.data import lazy
from skgmvae.data.dtypes import to_integers

LEVELS = ["low", "mid", "high", "top"]


@pytest.fixture(scope="module")
def columns():
    """Columns of 120 samples, as lists; missing values are None."""
    rng = np.random.RandomState(0)
    group = rng.randint(2, size=120)
    found = {
        "age": (40 + 20 * group + 5 * rng.randn(120)).round().astype(int),
        "kids": rng.poisson(2, 120).astype(object),
        "day": group * 100 + rng.randint(50, size=120),
        "height": (rng.randn(120) + 4.0 * group).astype(object),
        "grade": np.array(LEVELS[:3], dtype=object)[rng.randint(3, size=120)],
        "member": (rng.rand(120) < 0.5).astype(object),
    }
    for i, name in enumerate(["kids", "height", "grade", "member"]):
        found[name][i::7] = None
    return {name: values.tolist() for name, values in found.items()}


def make_pandas(columns):
    grade = pd.CategoricalDtype(LEVELS, ordered=True)
    dtypes = {"age": "int64", "kids": "Int64", "day": "uint8", "height": "float64", "grade": grade, "member": "boolean"}
    return pd.DataFrame({name: pd.Series(values, dtype=dtypes[name]) for name, values in columns.items()})


def make_polars(columns):
    pl = pytest.importorskip("polars")
    dtypes = (pl.Int64, pl.Int32, pl.UInt8, pl.Float64, pl.Enum(LEVELS), pl.Boolean)
    return pl.DataFrame(columns, schema=dict(zip(columns, dtypes, strict=True)))


def list_dtypes(frame):
    return dict(zip(frame.columns, map(str, frame.dtypes), strict=True))


@pytest.mark.parametrize("make", [make_pandas, make_polars])
def test_draws_have_the_dtypes_of_the_frame(make, columns, tmp_path):
    frame = make(columns)
    model = VaDEClustering(2, max_iter=0, random_state=0).fit(frame)
    dtypes = list_dtypes(frame)
    samples = model.sample(200, random_state=0)[0]
    assert list_dtypes(samples) == list_dtypes(model.impute(frame, 1, random_state=0)[0]) == dtypes
    assert list_dtypes(model.sample(2, expected=True)[0])["age"].lower() == "float64"
    assert list_dtypes(model.impute(frame)) == {**dtypes, "kids": dtypes["height"]}  # means are no integers
    means = model.impute(frame)
    assert list(means["age"]) == columns["age"]
    assert any(value != round(value) for value in means["kids"])
    model.save(tmp_path / "model")
    again = VaDEClustering.load(tmp_path / "model").sample(200, random_state=0)[0]
    assert again.equals(samples)
    numbers = frame[["age", "kids", "day", "height"]]
    drawn = VaDEClustering(2, max_iter=0, random_state=0).fit(numbers).impute(numbers, 1)[0]
    assert list_dtypes(drawn) == list_dtypes(numbers)


def test_ordered_categories_keep_their_order(columns):
    frame = make_pandas(columns)
    model = VaDEClustering(2, max_iter=0, random_state=0).fit(frame)
    for found in (model.sample(5)[0], model.impute(frame), model.reconstruct(frame)):
        assert found["grade"].dtype == frame["grade"].dtype
    other = frame.assign(grade=frame["grade"].cat.add_categories("none").fillna("none"))
    assert set(model.impute(other)["grade"]) == {*LEVELS[:3], "none"}


def test_integers_are_rounded_within_the_range_of_their_dtype():
    values = np.array([-3.0, 2.5, 2.6, 1e30])
    assert to_integers(values, "UInt8").tolist() == [0, 2, 3, 255]
    assert to_integers(values, "int64[pyarrow]")[-1] == 2**63 - 1024


@pytest.mark.parametrize(
    ("change", "parameters", "message"),
    [
        ({}, {"likelihood": {"height": "poisson"}}, "needs whole numbers from 0 on; feature 'height' has fractional"),
        ({}, {"likelihood": {"grade": "poisson"}}, "feature 'grade' is categorical, and its likelihood"),
        ({"height": None}, {}, "feature 'height' has no observed value"),
        ({"member": [3j, 4]}, {"categorical_features": ["member"]}, "column 'member' holds values that are neither"),
        ({"day": [date(2026, 1, 1), date(2026, 1, 2)]}, {}, "dates, durations or intervals: 'day'"),
    ],
)
def test_messages_name_the_column(change, parameters, message, columns):
    frame = make_pandas(columns)
    for name, values in change.items():
        frame[name] = np.nan if values is None else (pd.Series(values * 60))
    with pytest.raises(ValueError, match=message):
        VaDEClustering(2, max_iter=0, **parameters).fit(frame)


def test_an_infinite_variance_is_named():
    with pytest.raises(ValueError, match="variance of 1 features is beyond the range of float64; the first is .* 'b'"):
        check_spread(np.zeros(2), np.array([1.0, np.inf]), ["a", "b"])


def test_a_block_of_a_stream_names_the_column():
    frame = pd.DataFrame({"visits": np.random.RandomState(0).poisson(3, 60), "x": np.arange(60.0) / 7.0})
    model = VaDEClustering(2, likelihood={"visits": "poisson"}, random_state=0).partial_fit(frame)
    with pytest.raises(ValueError, match="feature 'visits' has fractional values"):
        model.partial_fit(frame + 0.5)


def test_initial_means_of_categories_are_their_indices(columns):
    frame = make_pandas(columns).dropna()[["age", "grade"]]
    good = VaDEClustering(2, means_init=[[40, 2], [60, 0]], max_iter=0).fit(frame)
    assert good.init_params_ == "given mixture"
    for wrong in (3, -1, 0.5):
        message = rf"shape \(2, 2\) has {wrong} in column 1, but feature 'grade' is .* whole numbers from 0 to 2"
        with pytest.raises(ValueError, match=message):
            VaDEClustering(2, means_init=[[40, 0], [60, wrong]], max_iter=0).fit(frame)


def test_names_in_place_of_categories_are_warned_of(columns):
    frame = make_pandas(columns)[["age", "height"]].assign(name=[f"person {i}" for i in range(120)])
    with pytest.warns(UserWarning, match=r"in these columns: 'name' \(120 categories\).*Drop such columns") as caught:
        VaDEClustering(2, max_iter=0).fit(frame)
    assert caught[0].filename == __file__
    frame["name"] = frame["name"].mask(frame.index % 5 > 0, "person 0")  # 24 categories of 120
    VaDEClustering(2, max_iter=0).fit(frame)


def test_categories_of_a_file_that_is_read_block_by_block_are_refused(monkeypatch, tmp_path):
    rng = np.random.RandomState(0)
    X = np.column_stack([rng.randint(3, size=80), rng.randn(80, 2)])
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = VaDEClustering(2, categorical_features=[0], max_iter=0, random_state=0).fit(mapped)
    monkeypatch.setattr(lazy, "MAX_WHOLE_BYTES", 100)
    message = r"categories need a table in memory, and X of shape \(80, 3\) is so large.*column of 0 and 1"
    with pytest.raises(ValueError, match=message):
        model.predict(mapped)
    with pytest.raises(ValueError, match=message):
        VaDEClustering(2, categorical_features=[0]).fit(mapped)
    assert np.array_equal(model.predict(X), model.labels_)


def test_columns_may_be_named_by_numbers(columns, tmp_path):
    """As pandas names those of a file without a header."""
    frame = make_pandas(columns)[["age", "height", "grade"]].set_axis([0, 1, 2], axis=1)
    model = VaDEClustering(2, max_iter=0, random_state=0).fit(frame)
    model.save(tmp_path / "model.safetensors")
    for each in (model, VaDEClustering.load(tmp_path / "model.safetensors")):
        drawn = each.sample(5, random_state=0)[0]
        assert drawn.columns.tolist() == [0, 1, 2] and drawn[0].dtype == "int64"
        assert each.reconstruct(frame).columns.tolist() == [0, 1, 2]


def test_draws_of_integers_are_whole_where_missing_values_have_made_them_floats(columns):
    frame = make_pandas(columns)[["age", "height", "grade"]]
    model = VaDEClustering(2, max_iter=0, random_state=0).fit(frame)
    (drawn,) = model.impute(frame.assign(age=frame["age"].astype(float).where(frame.index % 3 > 0)), n_draws=1)
    assert (drawn["age"] % 1.0 == 0.0).all()


def test_mixed_types_in_a_column_are_an_error(columns):
    frame = make_pandas(columns)[["age"]].assign(code=[1 if i % 3 else "x" for i in range(120)])
    with pytest.raises(ValueError, match="'code' mixes strings with numbers or booleans"):
        VaDEClustering(2).fit(frame)


@pytest.mark.parametrize("values", [[[1, 2]] * 119 + [[3]], [np.ones(2)] * 120, [{"x": 1}] * 120])
@pytest.mark.parametrize("categorical_features", ["from_dtype", None])
def test_several_values_in_a_cell_are_an_error(columns, values, categorical_features):
    pl = pytest.importorskip("polars")
    numbers = {"age": columns["age"]}
    model, message = VaDEClustering(2, max_iter=0, categorical_features=categorical_features), "a cell.*: 'tags'"
    for frame in (pd.DataFrame(numbers), pl.DataFrame(numbers)):
        fitted = clone(model).fit(frame)
        nested = frame.assign(tags=values) if hasattr(frame, "assign") else frame.with_columns(tags=pl.Series(values))
        with pytest.raises(ValueError, match=message):
            clone(model).fit(nested)
        with pytest.raises(ValueError, match=message):
            fitted.predict(nested)


def test_given_is_a_dict_or_a_row_of_single_values(columns):
    frame = make_pandas(columns)[["age", "grade"]].iloc[:50].dropna()
    model = VaDEClustering(2, max_iter=0, random_state=0).fit(frame)
    (of_row, _), (of_dict, _) = (
        model.sample(3, given=given, random_state=0) for given in (frame.iloc[0], frame.iloc[0].to_dict())
    )
    pd.testing.assert_frame_equal(of_row, of_dict)
    for given in (frame.iloc[:1], {"grade": LEVELS[:1]}, {"grade": np.array(LEVELS)}, {"age": [36.0]}):
        with pytest.raises(
            ValueError, match=r"given\['(age|grade)'\] must be a single value; got a (Series|list|ndarray)"
        ):
            model.sample(3, given=given)
    with pytest.raises(ValueError, match="given must be a dict"):
        model.sample(3, given=[36])


def test_integers_are_positions_whatever_the_labels_of_the_columns(columns):
    frame = make_pandas(columns)[["height", "day"]].set_axis([1, 0], axis=1)
    by_position = [{"categorical_features": [1]}, {"likelihood": {1: "categorical"}}]
    models = [VaDEClustering(2, max_iter=0, random_state=0, **parameters).fit(frame) for parameters in by_position]
    assert [model.likelihood_ for model in models] == [("gaussian", "categorical")] * 2
    drawn = models[0].sample(3, given={1: frame.iloc[0, 1]}, random_state=0)[0]
    assert drawn.columns.tolist() == [1, 0] and (drawn.iloc[:, 1] == frame.iloc[0, 1]).all()
    with pytest.raises(ValueError, match="likelihood names an unknown feature, 10; X has the indices 0 to 1$"):
        VaDEClustering(2, likelihood={10: "gaussian"}).fit(frame.set_axis([10, 20], axis=1))


def test_arrays_of_objects_with_pandas_na(columns):
    frame = make_pandas(columns)[["age", "height", "grade"]]
    model = VaDEClustering(2, max_iter=0, random_state=0).fit(frame)
    X = frame.to_numpy(dtype=object, na_value=pd.NA)
    of_objects = VaDEClustering(2, max_iter=0, random_state=0, categorical_features=[2]).fit(X)
    np.testing.assert_allclose(of_objects.score_samples(X), model.score_samples(frame))
    numbers = VaDEClustering(2, max_iter=0, random_state=0, categorical_features=[]).fit(X[:, :2])
    plain = frame[["age", "height"]].to_numpy()
    np.testing.assert_allclose(numbers.score_samples(X[:, :2]), numbers.score_samples(plain))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        drawn = model.impute(frame.to_numpy(), 2, random_state=0)
    assert [each.columns.tolist() for each in drawn] == [["age", "height", "grade"]] * 2


def test_one_name_makes_all_columns_categories(columns):
    frame = make_pandas(columns)[["age", "grade", "member"]]
    kinds = VaDEClustering(2, likelihood="categorical", max_iter=0).fit(frame).likelihood_
    assert kinds == ("categorical", "categorical", "bernoulli")
