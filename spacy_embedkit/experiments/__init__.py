"""Trainings with and without pretrained weights, by amount of annotation and seed."""
