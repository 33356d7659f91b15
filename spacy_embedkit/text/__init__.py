"""Raw text in: out of files, cut into tokens, as the corpus of a pretraining."""
