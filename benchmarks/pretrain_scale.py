"""`spacy embedkit pretrain` on fifty times the text: words a second, and memory."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy
import typer
from spacy.util import load_model_from_config
from thinc.api import Config
from tqdm import tqdm

from .processes import run_python
from .texts import DATA
from .timing import Figure, Setting

TIMES = 50
# Of the small corpus, about: an epoch of the large one is then a million words.
CHARACTERS = 100_000
# Of the large corpus. The command reads it once more before.
EPOCHS = 3

CONFIG = """
[paths]
raw_text = null

[nlp]
lang = "en"
pipeline = ["tok2vec"]

[nlp.before_creation]
@callbacks = "spacy-embedkit.fast_ops.v1"

[components]

[components.tok2vec]
factory = "tok2vec"

[components.tok2vec.model]
@architectures = "spacy.Tok2Vec.v2"

[components.tok2vec.model.embed]
@architectures = "spacy-embedkit.MultiHashEmbed.v1"
width = 96
attrs = ["NORM", "PREFIX", "SUFFIX", "SHAPE"]
rows = [5000, 1000, 2500, 2500]
include_static_vectors = false

[components.tok2vec.model.encode]
@architectures = "spacy-embedkit.MaxoutWindowEncoder.v1"
width = 96
depth = 4
window_size = 1
maxout_pieces = 3

[corpora]

[corpora.pretrain]
@readers = "spacy-embedkit.RawText.v1"
path = ${paths.raw_text}
# What the small corpus fills as well.
shuffle = 100

[pretraining]
max_epochs = 1
dropout = 0.2
n_save_every = null
n_save_epoch = null
component = "tok2vec"
layer = ""
corpus = "corpora.pretrain"

[pretraining.batcher]
@batchers = "spacy.batch_by_words.v1"
size = 3000
discard_oversize = false
tolerance = 0.2
get_length = null

[pretraining.optimizer]
@optimizers = "Adam.v1"

[pretraining.objective]
@architectures = "spacy-embedkit.PretrainCharacters.v1"
maxout_pieces = 3
hidden_size = 300
n_characters = 4

[embedkit]

[embedkit.pretrain]
eval_every = 50000
max_held_out_words = 400
report = false
"""


def run(setting: Setting) -> list[Figure]:
    """Learn from as many words of both, so TIMES the epochs of the small corpus.

    A small corpus is the first 1/TIMES of the novels that the large one is. Whole
    commands, their start and first pass over the text included.
    """
    books = DATA / "books_en" / "books_en.jsonl"
    if not books.exists():
        raise typer.BadParameter(f"{books} is needed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size, limit in (("1x", CHARACTERS), ("50x", TIMES * CHARACTERS)):
            lines = "".join(first_lines(books, limit))
            (folder / f"{size}.jsonl").write_text(lines, encoding="utf8")
        config = Config().from_str(CONFIG, interpolate=False)
        nlp = load_model_from_config(config, auto_fill=True)
        nlp.config.to_disk(folder / "config.cfg")
        pairs = [
            [
                pretrain(folder, "1x", EPOCHS * TIMES),
                pretrain(folder, "50x", EPOCHS),
            ]
            for _ in tqdm(range(setting.repeats), desc="pretrain", leave=False)
        ]
    values = numpy.asarray(pairs)
    return [
        *figures("words/s", "1x", "50x", values[:, :, 0], "1/s"),
        *figures("peak memory", "1x", "50x", values[:, :, 1], "MB"),
    ]


def first_lines(path: Path, n_characters: int) -> Iterator[str]:
    """Yield the lines of a file, up to so many characters."""
    with path.open(encoding="utf8") as file:
        for line in file:
            n_characters -= len(line)
            if n_characters < 0:
                return
            yield line


def pretrain(folder: Path, size: str, epochs: int) -> tuple[float, float]:
    """Return words learned from a second of CPU time, and the peak memory in MB."""
    out = folder / size
    usage = run_python(
        *("-m", "spacy", "embedkit", "pretrain", str(folder / "config.cfg"), str(out)),
        *("--force", "--paths.raw_text", str(folder / f"{size}.jsonl")),
        *("--pretraining.max_epochs", str(epochs)),
    )
    *_, last = (out / "log.jsonl").read_text(encoding="utf8").splitlines()
    return json.loads(last)["words"] / usage.cpu, usage.peak


def figures(
    what: str, small: str, large: str, values: numpy.ndarray, unit: str
) -> list[Figure]:
    """Make figures of pairs: (pairs, 2), the small corpus and the large."""
    ratios = values[:, 1] / values[:, 0]
    columns = [(f"{what}, {small}", values[:, 0], unit)]
    columns += [(f"{what}, {large}", values[:, 1], unit)]
    columns += [(f"{what}, {large} against {small}", ratios, "x")]
    result = []
    for title, column, its_unit in columns:
        lower, median, upper = map(float, numpy.quantile(column, [0.25, 0.5, 0.75]))
        result.append(Figure(title, median, its_unit, lower, upper))
    return result
