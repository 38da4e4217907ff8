"""Rows on their way in: what one pass tells of them, slices that are read when needed, batches."""
