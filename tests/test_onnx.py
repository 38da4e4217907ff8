"""ONNX graphs give what the estimator gives, up to float32; skipped without onnxruntime and onnxscript."""

import sys

import numpy as np
import pytest

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering

# of the exporter, about its own dependencies
pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("DeprecationWarning", "FutureWarning")]
pytestmark += [pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]
OUTPUTS = ("responsibilities", "transform", "reconstruct")


@pytest.mark.parametrize("Estimator", [GMVAEClustering, VaDEClustering, VAEEMClustering])
@pytest.mark.parametrize("settings", [{}, {"linear_path": True, "init_params": "kmeans"}], ids=["networks", "table"])
def test_graphs_agree_with_the_estimator(Estimator, settings, blobs, quick, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    X = blobs[0].astype(np.float32)
    model = Estimator(3, **{**quick, "max_iter": 2, **settings}).fit(X)
    path = tmp_path / "model.onnx"
    model.to_onnx(path, OUTPUTS)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = dict(zip(OUTPUTS, session.run(None, {"X": X}), strict=True))
    np.testing.assert_allclose(found["responsibilities"].sum(1), 1.0, atol=1e-5)
    noise = model._noise(8)
    q = model._over_chunks(lambda module, x: module.log_responsibilities(x, noise.to(x)).exp(), X)
    np.testing.assert_allclose(found["responsibilities"], q, atol=1e-5)
    for name in ("transform", "reconstruct"):
        expected = getattr(model, name)(X)
        np.testing.assert_allclose(found[name], expected, atol=1e-5 * np.abs(expected).max())
    (one, *_) = session.run(None, {"X": X[:1]})
    np.testing.assert_allclose(one, found["responsibilities"][:1], atol=1e-5)


def test_what_a_graph_cannot_contain_is_refused(blobs, quick, tmp_path, monkeypatch):
    model = VaDEClustering(3, **{**quick, "max_iter": 1}).fit(blobs[0])
    with pytest.raises(ValueError, match=r"got \['predict_proba'\]. predict_proba and score_samples search"):
        model.to_onnx(tmp_path / "model.onnx", ["transform", "predict_proba"])
    with pytest.raises(ValueError, match=r"outputs may contain .*; got \[\]"):
        model.to_onnx(tmp_path / "model.onnx", [])
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match="pip install 'skgmvae\\[onnx\\]'"):
        model.to_onnx(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
