"""What is run of each peer, what has to run in it, and what may differ."""

from dataclasses import dataclass, field
from fnmatch import fnmatch

BACKEND, LAYERS, ACCELERATE, ALL = "backend", "layers", "accelerate", "all"


@dataclass(frozen=True)
class Excuse:
    """Tests that may differ from stock, in some variants, and why.

    test: Name of the tests; * stands for anything.
    """

    test: str
    variants: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Suite:
    """The tests of a peer.

    tests: The package that has them.
    variants: What of ours can be put in place.
    n_tests: Tests that there are at least.
    counts: For each note of the plugin, tests that have it at least, by variant.
    pairs: For each note of a layer of stock, that of ours in its place, by variant: a
        test that has the one with stock has the other with ours, and not the first.
    excuses: What may differ.
    always_full: Whether stock always runs every test.
    left_out: Tests that only the option --full runs.
    """

    tests: str
    variants: tuple[str, ...]
    n_tests: int
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    pairs: dict[str, dict[str, str]] = field(default_factory=dict)
    excuses: tuple[Excuse, ...] = ()
    always_full: bool = False
    left_out: tuple[str, ...] = ()

    def excuse(self, variant: str, test: str) -> Excuse | None:
        """Return why a test may differ from stock, if it may."""
        for excuse in self.excuses:
            if variant in excuse.variants and fnmatch(test, excuse.test):
                return excuse
        return None


def ours(*names: str) -> dict[str, str]:
    """Pair what is noted when stock is built with what is when ours is."""
    return {name: f"our {name}" for name in names}


REDUCTIONS = [f"reduce_{kind}" for kind in ("first", "last", "max", "mean", "sum")]
EMBEDDING = ("MultiHashEmbed", "MaxoutWindowEncoder", "StaticVectors")
SUITES = {
    "spacy": Suite(
        tests="spacy.tests",
        variants=(BACKEND, LAYERS, ACCELERATE, ALL),
        n_tests=1600,
        # Tokenizers, without a model.
        left_out=("lang/*", "tokenizer/test_explain.py::*fuzzy*"),
        counts={
            BACKEND: {"EmbedkitOps": 10},
            LAYERS: {"MultiHashEmbed ran": 10, "MaxoutWindowEncoder ran": 10},
            ACCELERATE: {
                "accelerated MultiHashEmbed": 10,
                "accelerated MaxoutWindowEncoder": 10,
            },
            ALL: {
                "EmbedkitOps": 10,
                "our MultiHashEmbed": 5,
                "accelerated MultiHashEmbed": 5,
                "accelerated MaxoutWindowEncoder": 5,
            },
        },
        pairs={LAYERS: ours(*EMBEDDING, *REDUCTIONS)},
    ),
    "thinc": Suite(
        tests="thinc.tests",
        variants=(BACKEND, LAYERS, ALL),
        n_tests=1300,
        # They fail with stock as well, slowly, where numpy and mypy are new.
        left_out=("*::test_compare_activations_to_torch*", "mypy/*"),
        counts={
            BACKEND: {"EmbedkitOps": 150},
            LAYERS: {"pool_rows ran": 10},
            ALL: {"EmbedkitOps": 150, "pool_rows ran": 10},
        },
        pairs={LAYERS: ours(*REDUCTIONS)},
        excuses=(
            Excuse(
                "backends/test_ops.py::test_use_ops",
                (BACKEND, ALL),
                'wants the name "numpy" of what it gets by that name, which is ours',
            ),
        ),
    ),
    "spacy-transformers": Suite(
        tests="spacy_transformers.tests",
        variants=(LAYERS,),
        n_tests=79,
        always_full=True,
        counts={LAYERS: {"spacy_embedkit.transformer.model": 50}},
        pairs={
            LAYERS: {
                "spacy_transformers.layers.transformer_model": (
                    "spacy_embedkit.transformer.model"
                ),
                "spacy_transformers.layers.trfs2arrays": (
                    "spacy_embedkit.transformer.listener"
                ),
            }
        },
    ),
}
