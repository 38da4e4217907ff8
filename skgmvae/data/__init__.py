"""Training data: validated samples with a summary of their features, lazy reading, batches."""
