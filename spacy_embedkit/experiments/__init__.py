"""Compare trainings: variants of a config, by amount of annotation and seed."""
