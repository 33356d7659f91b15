"""Whether a checkpoint is one of the config at hand."""

from typing import Any, Dict, Iterator, Tuple

from thinc.api import Config

from ...checks import InputError

# What may change from one part of a run to the next: where things are, and how long
# it goes on.
FREE = (
    "pretraining.max_epochs",
    "pretraining.n_save_every",
    "pretraining.n_save_epoch",
    "embedkit.pretrain.max_minutes",
    "embedkit.pretrain.patience",
    "embedkit.pretrain.checkpoint_minutes",
    "embedkit.pretrain.report",
    "initialize.init_tok2vec",
)
PATHS = ("path", "paths", "vectors", "vocab_data", "cache_dir")


def relevant_settings(config: Config, corpus: str) -> Dict[str, Any]:
    """Return the settings that the weights depend on, by dotted name.

    corpus: Dotted name of the block of the corpus.
    """
    used = (
        *("nlp.", "components.", "pretraining.", "initialize.", "embedkit.pretrain."),
        "training.seed",
        f"{corpus}.",
    )
    return {
        name: value
        for name, value in _flatten(config)
        if name.startswith(used)
        and name not in FREE
        and name.rsplit(".", 1)[-1] not in PATHS
    }


def check_same(before: Dict[str, Any], now: Dict[str, Any]) -> None:
    """Raise InputError naming the first setting that differs, and both values."""
    for name in [*before, *(name for name in now if name not in before)]:
        old, new = (kept.get(name, "not set") for kept in (before, now))
        if old != new:
            raise InputError(
                f"the checkpoint is of another config: {name} was {old!r} and is "
                f"{new!r}; give the same settings, or a new folder"
            )


def _flatten(block: Any, prefix: str = "") -> Iterator[Tuple[str, Any]]:
    for name, value in block.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value
