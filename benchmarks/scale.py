"""Ten times the docs, and the memory that it takes: accelerated against stock."""

import json
import os
import subprocess
import sys
from functools import partial

from spacy_embedkit import accelerate

from .pipe import annotate, load
from .timing import Row, Setting, compare

# The peak of a process that annotates the texts on its standard input.
MEASURE = """
import json, resource, sys
import benchmarks
from benchmarks.pipe import annotate, load
from spacy_embedkit import accelerate
nlp = load(sys.argv[1])
if sys.argv[2] == "ours":
    accelerate(nlp)
annotate(nlp, json.load(sys.stdin), 1000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def run(setting: Setting) -> list[Row]:
    """Compare words/s at 1,000 docs ("stock") with that at 10,000 ("ours").

    The text starts again where it is too short, so give --texts 10,000 sentences. The
    peak memory of either pipeline is printed.
    """
    texts = [" ".join(token.text for token in doc) for doc in setting.docs]
    texts = (texts * (10_000 // len(texts) + 1))[:10_000]
    report_memory(setting.pipeline, texts)
    nlp = load(setting.pipeline)
    accelerate(nlp)
    n_words = sum(len(nlp.make_doc(text)) for text in texts)
    parts = [texts[i : i + 1000] for i in range(0, len(texts), 1000)]

    def annotate_parts() -> None:
        for part in parts:
            annotate(nlp, part, 1000)

    return [
        compare(
            "pipe, ten times 1,000 docs and once 10,000",
            n_words,
            annotate_parts,
            partial(annotate, nlp, texts, 1000),
            setting.repeats,
        )
    ]


def report_memory(pipeline: str, texts: list[str]) -> None:
    """Print the peak memory of a process, with the stock pipeline and with ours."""
    peaks = []
    for side in ("stock", "ours"):
        run = subprocess.run(
            [sys.executable, "-c", MEASURE, pipeline, side],
            input=json.dumps(texts),
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            text=True,
            check=True,
        )
        peaks.append(float(run.stdout))
    print(
        f"peak memory: stock {peaks[0]:.0f} MB, ours {peaks[1]:.0f} MB, "
        f"{peaks[1] / peaks[0]:.3f}x"
    )
