"""The transformer, what it gives to components, and how it is trained."""

from typing import Any, Dict, Optional

from .draft import Draft, walk_blocks

TRANSFORMER = "transformer"
RELEASE = "embedkit_release"
STOCK_LISTENER = "spacy-transformers.TransformerListener.v1"
SENTER = "senter"
MAX_WORDPIECES = 128
BATCH_WORDS = 300
LEARN_RATE = 0.002
# Updates of all per one of the warmup.
WARMUP_SHARE = 80
WHY_MODEL = (
    "Encodes spans of like lengths together, so that little is padded. It learns with "
    "a tenth of the optimizer's rate, as it has learned before and the components have "
    "not."
)
WHY_FROZEN = " Its embeddings stay as they are."
WHY_SPANS = "As few spans as possible, cut between sentences or words."
WHY_LISTENER = "A mean of the layers, whose weights each component learns for itself."
WHY_RATE = "For the new components; the transformer gets learn_rate_factor of it."
WHY_RELEASE = "Frees what the transformer gave, which docs would keep."
WHY_PATIENCE = "0: training does not stop before the learning rate is down to 0."


def put_transformer(draft: Draft, name: str, n_layers: Optional[int]) -> None:
    """Give a config of stock's our transformer and listeners.

    name: Of the transformer. n_layers: How many it has, None if that isn't known.
    """
    if TRANSFORMER not in draft.pipeline:
        draft.pipeline.insert(0, TRANSFORMER)
    draft.pipeline.append(RELEASE)
    draft.put("paths.transformer", name)
    draft.put(
        f"components.{TRANSFORMER}",
        {"factory": TRANSFORMER, "model": _model(n_layers)},
    )
    model = f"components.{TRANSFORMER}.model"
    draft.comments[model] = WHY_MODEL + (WHY_FROZEN if n_layers else "")
    draft.comments[f"{model}.get_spans"] = WHY_SPANS
    draft.put(f"components.{RELEASE}", {"factory": RELEASE}, WHY_RELEASE)
    if SENTER in draft.components:
        draft.components[SENTER]["model"]["tok2vec"] = {
            "@architectures": STOCK_LISTENER
        }
    why: Optional[str] = WHY_LISTENER
    for block_name, block in walk_blocks(draft.components, "components"):
        if block.get("@architectures") == STOCK_LISTENER:
            draft.put(block_name, _listener(), why)
            why = None
    trained = f"its {n_layers} layers" if n_layers else "all of it"
    draft.say(
        "transformer", f"{name}; {trained} trained, new components ten times as fast"
    )


def put_fine_tuning(draft: Draft, max_steps: int) -> None:
    """Set the learning rate and batches of fine-tuning."""
    rate = {
        "@schedules": "warmup_linear.v1",
        "initial_rate": LEARN_RATE,
        "warmup_steps": max(1, max_steps // WARMUP_SHARE),
        "total_steps": "${training.max_steps}",
    }
    draft.put("training.optimizer.learn_rate", rate, WHY_RATE)
    draft.put("training.accumulate_gradient", 1)
    draft.put("training.patience", 0, WHY_PATIENCE)
    batcher = {
        "@batchers": "spacy.batch_by_words.v1",
        "size": BATCH_WORDS,
        "discard_oversize": False,
        "tolerance": 0.2,
        "get_length": None,
    }
    draft.put("training.batcher", batcher)


def _model(n_layers: Optional[int]) -> Dict[str, Any]:
    return {
        "@architectures": "spacy-embedkit.TransformerModel.v1",
        "name": "${paths.transformer}",
        "tokenizer_config": {"use_fast": True},
        "transformer_config": {"output_hidden_states": True},
        "grad_scaler_config": {},
        "trained_layers": n_layers,
        "learn_rate_factor": 0.1,
        "get_spans": {
            "@span_getters": "spacy-embedkit.wordpiece_spans.v1",
            "max_wordpieces": MAX_WORDPIECES,
        },
    }


def _listener() -> Dict[str, Any]:
    return {
        "@architectures": "spacy-embedkit.TransformerListener.v1",
        "grad_factor": 1.0,
        "layers": "mix",
        "upstream": "*",
        "pooling": {"@layers": "spacy-embedkit.reduce_mean.v1"},
    }
