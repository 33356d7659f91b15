"""The [pretraining] block that teaches a student's tok2vec what its teacher knows."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional

from spacy.language import DEFAULT_CONFIG_PRETRAIN_PATH
from spacy.util import dict_to_dot, load_config, load_model_from_config
from thinc.api import Config
from tqdm import tqdm

from ..text.corpus import RawTextCorpus

KINDS = re.compile(
    r"(spacy-transformers|spacy-embedkit)\.(TransformerModel|Tok2VecTransformer)\."
)
BATCH_WORDS = 2000
WARMUP_STEPS = 250
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
# Without a transformer, the words of the text are all there is to learn.
RAW_TEXT = {"@readers": "spacy-embedkit.RawText.v1"}
HELD_OUT = 0.02
WORDS: Dict[str, Any] = {
    "@architectures": "spacy-embedkit.PretrainSubwords.v1",
    "maxout_pieces": 3,
    "hidden_size": 300,
}


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
    default = load_config(DEFAULT_CONFIG_PRETRAIN_PATH, interpolate=False)
    block = {
        **default["pretraining"],
        "max_epochs": text.epochs,
        "dropout": 0.0,
        "component": "tok2vec",
        "layer": "",
        "corpus": "corpora.pretrain",
        "batcher": {
            "@batchers": "spacy.batch_by_words.v1",
            "size": BATCH_WORDS,
            "discard_oversize": False,
            "tolerance": 0.2,
        },
        "optimizer": {
            "@optimizers": "Adam.v1",
            "L2": 0.01,
            "learn_rate": {
                "@schedules": "warmup_linear.v1",
                "initial_rate": 0.02,
                "warmup_steps": min(WARMUP_STEPS, text.steps // 8),
                "total_steps": text.steps,
            },
        },
        "objective": WORDS if transformer is None else TEACHER,
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
