"""Pretraining of an embedding and encoding layer on raw text."""
