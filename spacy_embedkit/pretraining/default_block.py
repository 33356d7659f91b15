"""The [pretraining] block of configs that are written for the user."""

from typing import Any, Dict

BATCH_WORDS = 2000
# Updates before the learning rate is at its highest.
WARMUP_STEPS = 250


def subwords_objective() -> Dict[str, Any]:
    """Settings of the objective that needs nothing but text."""
    return {
        "@architectures": "spacy-embedkit.PretrainSubwords.v1",
        "maxout_pieces": 3,
        "hidden_size": 300,
    }


def make_block(
    objective: Dict[str, Any], *, epochs: int, steps: int, warmup_steps: int
) -> Dict[str, Any]:
    """Return a complete block that pretrains tok2vec on batches of BATCH_WORDS.

    Without dropout, the held-out loss falls much faster with a high learning rate that
    goes down to 0 than with spaCy's 0.001.

    objective: Settings of it. epochs, steps: Passes over the text, and updates in all.
    warmup_steps: Updates in which the learning rate rises; WARMUP_STEPS at most.
    """
    return {
        "max_epochs": epochs,
        "dropout": 0.0,
        "n_save_every": None,
        "n_save_epoch": None,
        "component": "tok2vec",
        "layer": "",
        "corpus": "corpora.pretrain",
        "batcher": {
            "@batchers": "spacy.batch_by_words.v1",
            "size": BATCH_WORDS,
            "discard_oversize": False,
            "tolerance": 0.2,
            "get_length": None,
        },
        "objective": objective,
        "optimizer": {
            "@optimizers": "Adam.v1",
            "beta1": 0.9,
            "beta2": 0.999,
            "L2_is_weight_decay": True,
            "L2": 0.01,
            "grad_clip": 1.0,
            "use_averages": True,
            "eps": 1e-8,
            "learn_rate": {
                "@schedules": "warmup_linear.v1",
                "initial_rate": 0.02,
                "warmup_steps": min(WARMUP_STEPS, warmup_steps),
                "total_steps": steps,
            },
        },
    }
