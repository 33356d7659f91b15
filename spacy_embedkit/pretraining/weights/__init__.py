"""Pretrained weights in a training: whether they fit, and when they may change."""
