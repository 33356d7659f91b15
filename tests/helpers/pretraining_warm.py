"""What a fork server imports: all that a run needs, loaded by a run of its own."""

import tempfile
from pathlib import Path

from .pretraining_runs import make_config, own, run, sample_texts, write_jsonl

with tempfile.TemporaryDirectory() as _name:
    _corpus = write_jsonl(Path(_name) / "raw.jsonl", sample_texts(10))
    run(make_config(_corpus, **own(report=True)), Path(_name) / "out")
