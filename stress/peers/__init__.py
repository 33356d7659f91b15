"""The suites of spaCy, thinc and spacy-transformers, with our parts in place.

`suites.py` says what is run and what may differ, `plugin.py` runs in pytest and notes
what happened, `spacy_parts.py`, `thinc_parts.py` and `transformers_parts.py` put our
parts in place, and `command.py` compares each variant with stock.
"""
