"""Pretraining on raw text: its corpus, objective and number of steps."""

from dataclasses import dataclass
from typing import Any, Dict, Optional

from ..pretraining.default_block import BATCH_WORDS, make_block
from .draft import Draft
from .found_files import RawText

# Of the whole corpus; the rest is held out.
TRAINED = 0.98
# Words a second on one core, of the objectives here, with the network of 96 x 4.
WORDS_PER_SECOND = 12_000
LARGE_SLOWDOWN = 4
# Words of a text that was not looked at.
UNKNOWN_WORDS = 1_000_000
MAX_EPOCHS = 100
# Tokens of a doc of RawText.v1.
MAX_LENGTH = 500
WHY_OBJECTIVE = {
    "subwords": (
        "Predicts the n-grams and the identity of masked words, without a softmax. At "
        "50 annotated documents it brought most of the objectives that need raw text "
        "alone."
    ),
    "transformer": (
        "Predicts the token vectors of the transformer, which runs once over the text: "
        "cache_dir keeps what it gave, 2 bytes per number."
    ),
}
WHY_RATE = (
    "High, and down to 0 at the end of all epochs: without dropout, the held-out loss "
    "falls much faster than with the usual 0.001."
)
WHY_CHECK = (
    "Raises an error if the pretrained weights of initialize.init_tok2vec do not fit."
)


@dataclass(frozen=True)
class Budget:
    """How long to pretrain: epochs, updates, the minutes they take, docs to read.

    limit: Docs of an epoch, 0 for all.
    """

    epochs: int
    steps: int
    minutes: float
    limit: int


def plan_budget(raw: Optional[RawText], minutes: float, is_large: bool) -> Budget:
    """Choose the number of epochs that take about so many minutes."""
    found = raw or RawText(UNKNOWN_WORDS // MAX_LENGTH, UNKNOWN_WORDS)
    speed = WORDS_PER_SECOND / (LARGE_SLOWDOWN if is_large else 1)
    affordable = minutes * 60 * speed
    n_words, limit = found.n_words, 0
    if n_words > 1.5 * affordable:
        n_docs = max(found.n_texts, n_words // MAX_LENGTH)
        limit = max(1, round(n_docs * affordable / n_words))
        n_words = round(affordable)
    epochs = max(1, min(MAX_EPOCHS, round(affordable / n_words)))
    seen = epochs * n_words * TRAINED
    steps = max(1, round(seen / BATCH_WORDS))
    return Budget(epochs, steps, seen / speed / 60, limit)


def put_pretraining(
    draft: Draft, paths: Any, objective: Dict[str, Any], kind: str, budget: Budget
) -> None:
    """Add the blocks that pretrain the tok2vec component.

    paths: Of the raw text; None if they are not known. kind: Of WHY_OBJECTIVE.
    """
    draft.put("paths.raw_text", paths)
    reader = {
        "@readers": "spacy-embedkit.RawText.v1",
        "path": "${paths.raw_text}",
        "max_length": MAX_LENGTH,
        "limit": budget.limit,
    }
    why = "Raw text of any kind: long texts are split, short ones joined."
    if budget.limit:
        why += " limit: the first docs, as all would take too long; 0 for all."
    draft.put("corpora.pretrain", reader, why)
    block = make_block(
        objective,
        epochs=budget.epochs,
        steps=budget.steps,
        warmup_steps=max(1, budget.steps // 10),
    )
    draft.put("pretraining", block)
    draft.comments["pretraining"] = (
        "For spacy embedkit pretrain. Training reads it too, to find the layer of the "
        "weights."
    )
    draft.comments["pretraining.objective"] = WHY_OBJECTIVE[kind]
    draft.comments["pretraining.optimizer.learn_rate"] = WHY_RATE
    check = {"@callbacks": "spacy-embedkit.check_tok2vec.v1"}
    draft.put("initialize.before_init", check, WHY_CHECK)
