"""How a model is fitted: skorch's loop, batches, pretraining and starts."""
