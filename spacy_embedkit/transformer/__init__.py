"""Transformers: for inference alone, and as a layer of a pipeline."""
