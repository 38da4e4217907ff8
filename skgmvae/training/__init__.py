"""Training: configuration, pretraining, the skorch net and its callbacks, expectation-maximization."""

__all__: list[str] = []
