"""How long to train, in which batches and how carefully, by the size of the corpus."""

from dataclasses import dataclass

from .annotation import Annotation
from .draft import Draft

# Words below which a corpus is small.
FEW_WORDS = 50_000
# Passes over the corpus, and updates.
PASSES = 30
MIN_STEPS, MAX_STEPS = 1000, 20_000
# Of a transformer, which knows much already, and takes half a second for an update.
TUNING_PASSES, MAX_TUNING_STEPS = 10, 6000
MIN_EVAL, MAX_EVAL = 50, 1000
# Evaluations without a better score before training ends.
PATIENCE = 8
# Words of the largest batch, as spaCy has it, and of one in a small corpus.
BATCH_WORDS = 1000
MIN_BATCH_WORDS = 200
# A doc that takes too much memory in one batch; it is split between sentences.
LONG_DOC = 10_000


@dataclass(frozen=True)
class TrainingLength:
    """Updates, updates between evaluations, and the words of the largest batch."""

    max_steps: int
    eval_frequency: int
    batch_words: int


def plan_training(found: Annotation) -> TrainingLength:
    """Choose the number of steps of a network that starts from nothing."""
    size = _within(found.n_words // 50, MIN_BATCH_WORDS, BATCH_WORDS)
    return _plan(found.n_words, size, PASSES, MAX_STEPS)


def plan_fine_tuning(found: Annotation, batch_words: int) -> TrainingLength:
    """Choose the number of steps of a transformer."""
    return _plan(found.n_words, batch_words, TUNING_PASSES, MAX_TUNING_STEPS)


def _plan(n_words: int, size: int, passes: int, max_steps: int) -> TrainingLength:
    epoch = max(1, n_words // size)
    return TrainingLength(
        _within(_round(passes * epoch, 100), MIN_STEPS, max_steps),
        _within(_round(epoch, 50), MIN_EVAL, MAX_EVAL),
        size,
    )


def _within(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))


def _round(value: int, unit: int) -> int:
    return unit * round(value / unit)


def put_training(draft: Draft, found: Annotation, length: TrainingLength) -> None:
    """Set what depends on the size of the corpus."""
    passes = length.max_steps * length.batch_words / found.n_words
    why = f"About {passes:,.0f} passes over {found.n_words:,} words."
    draft.put("training.max_steps", length.max_steps, why)
    draft.put("training.eval_frequency", length.eval_frequency, "About once a pass.")
    draft.put("training.patience", PATIENCE * length.eval_frequency)
    sizes = draft.config["training"]["batcher"]["size"]
    if isinstance(sizes, dict):
        sizes["stop"] = length.batch_words
    draft.say(
        "training",
        f"up to {length.max_steps:,} steps, {passes:,.0f} passes; evaluated every "
        f"{length.eval_frequency}",
    )
    if found.n_words < FEW_WORDS and "parser" in draft.components:
        why = "Below spaCy's 30: in a small corpus, that would drop many labels."
        draft.put("components.parser.min_action_freq", 5, why)
    if found.longest > LONG_DOC and found.has_boundaries:
        why = "Longer documents are split into their sentences; they take much memory."
        draft.put("corpora.train.max_length", LONG_DOC, why)
        draft.say("max_length", f"{LONG_DOC:,}, as one document has {found.longest:,}")


def put_for_few_words(draft: Draft, found: Annotation) -> None:
    """Raise dropout in a small corpus."""
    if found.n_words < FEW_WORDS:
        why = f"Above spaCy's 0.1, as {found.n_words:,} words are few."
        draft.put("training.dropout", 0.3, why)
        draft.say("dropout", f"0.3, as {found.n_words:,} words are few")
