"""The [pretraining] block that teaches a student's tok2vec what its teacher knows."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional

from spacy.util import dict_to_dot, load_model_from_config
from thinc.api import Config
from tqdm import tqdm

from ..pretraining.default_block import (
    BATCH_WORDS,
    make_block,
    subwords_objective,
)
from ..text.corpus import RawTextCorpus

KINDS = re.compile(
    r"(spacy-transformers|spacy-embedkit)\.(TransformerModel|Tok2VecTransformer)\."
)
# Of a text so long that one pass takes hours, one has to do.
MAX_EPOCHS, MAX_WORDS = 20, 10_000_000
TEACHER: Dict[str, Any] = {
    "@architectures": "spacy-embedkit.PretrainTransformer.v1",
    # Of a fine-tuned transformer, the layer that its components listen to.
    "transformer": None,
    "layers": [-1],
    "maxout_pieces": 3,
    "hidden_size": 300,
}
RAW_TEXT = {"@readers": "spacy-embedkit.RawText.v1"}
HELD_OUT = 0.02


@dataclass(frozen=True)
class Text:
    """Raw text to teach on.

    path: File, folder or pattern. n_words: Of all of it. passes: Epochs; None for as
        many as such a text needs.
    """

    path: str
    n_words: int
    passes: Optional[int] = None

    @property
    def epochs(self) -> int:
        """Passes over the text."""
        usual = MAX_WORDS // max(1, self.n_words)
        return self.passes or max(1, min(MAX_EPOCHS, usual))

    @property
    def steps(self) -> int:
        """Updates of pretraining in all."""
        return self.n_words * self.epochs // BATCH_WORDS + 1


def count_words(config: Config, raw: str) -> int:
    """Return the number of tokens of raw text, by the tokenizer of a config."""
    nlp = config["nlp"]
    blocks = {"nlp": {"lang": nlp["lang"], "pipeline": []}}
    if "tokenizer" in nlp:
        blocks["nlp"]["tokenizer"] = nlp["tokenizer"]
    blank = load_model_from_config(Config(blocks), auto_fill=True)
    with tqdm(desc="counting", unit=" words", unit_scale=True, disable=None) as bar:
        n_words = 0
        for doc in RawTextCorpus([raw])(blank):
            n_words += len(doc)
            bar.update(len(doc))
    return n_words


def has_transformer(config: Config) -> bool:
    """Return whether a pipeline of this config has a transformer that can teach."""
    found = dict_to_dot(config)
    return any(
        key.endswith("@architectures") and KINDS.match(str(value))
        for key, value in found.items()
    )


def add_pretraining(
    config: Config, text: Text, transformer: Optional[Path], cache: Path
) -> None:
    """Give a student's config what pretraining needs; keep what it says itself.

    transformer: Folder of the teacher's; None if it has none. cache: For its targets.
    """
    block = {
        **make_block(
            subwords_objective() if transformer is None else TEACHER,
            epochs=text.epochs,
            steps=text.steps,
            warmup_steps=text.steps // 8,
        ),
        **(config.get("pretraining") or {}),
    }
    config["pretraining"] = block
    if transformer is not None and "transformer" in block["objective"]:
        place = {"transformer": str(transformer), "cache_dir": str(cache)}
        block["objective"] = {**block["objective"], **place}
    name = block["corpus"].removeprefix("corpora.")
    reader = config["corpora"].setdefault(name, dict(RAW_TEXT))
    reader["path"] = text.path
    own = config.setdefault("embedkit", {}).setdefault("pretrain", {})
    own.setdefault("held_out", HELD_OUT)
