"""A run of pretraining: set up, trained, evaluated, kept and taken up again."""
