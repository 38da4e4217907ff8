"""Training data: validated samples with a summary of their features, lazy reading, batches."""

__all__: list[str] = []
