"""Layers over word types, and the bridge from docs to types and back to tokens."""
