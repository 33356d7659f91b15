"""The snippets of spaCy's page on embeddings, and the tests that run them, corrected.

The page, in an older and a newer version, is read from the folder that EMBEDKIT_SEEDS
names. Here are only its headings and one word of each snippet.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = os.environ.get("EMBEDKIT_SEEDS")
FENCE = re.compile(r"[>\s]*(?:```|~~~)")
HEADING = re.compile(r"#+ .*\{(?:id=\"|#)([\w-]+)\"?\}$")


@dataclass(frozen=True)
class Snippet:
    """A block between fences, on line `line` of a page, below the heading's anchor."""

    page: str
    heading: str
    line: int
    text: str


@dataclass(frozen=True)
class Entry:
    """A snippet, found by its heading and a word that no other one there has.

    pages: Versions of the page that have it, new, old or both. tests: Tests that run
    it, as module::name; none where `reason` says why it can't be run.
    """

    pages: str
    heading: str
    word: str
    tests: tuple[str, ...] = ()
    reason: str = ""

    def matches(self, snippet):
        return (
            snippet.page in self.pages.split()
            and snippet.heading == self.heading
            and self.word in snippet.text
        )


def snippets():
    """All snippets of all versions of the page, in order."""
    found = []
    for path in sorted(Path(FOLDER).glob("embeddings-transformers-*.txt")):
        page = path.stem.rpartition("-")[2]
        lines = path.read_text(encoding="utf8").splitlines()
        heading, start = "", None
        for i, line in enumerate(lines):
            if FENCE.match(line):
                if start is not None:
                    text = "\n".join(lines[start + 1 : i])
                    found.append(Snippet(page, heading, start + 1, text))
                start = i if start is None else None
            elif start is None and (match := HEADING.match(line)):
                heading = match[1]
        assert start is None, f"{path.name}: line {start} opens a block without end"
    return found


LAYERS = "test_documentation_layers::test_"
TRANSFORMERS = "test_documentation_transformers::test_"
PRETRAINING = "test_documentation_pretraining::test_"
INSTALLS = "installs packages, which needs a network"

BOTH = "new old"
ENTRIES = [
    Entry(
        *(BOTH, "embedding-layers-config", "Tok2VecListener"),
        (f"{LAYERS}shared_embedding_learns_from_every_component",),
    ),
    Entry(
        *(BOTH, "embedding-layers-config", "[components.ner.model.tok2vec.embed]"),
        (f"{LAYERS}independent_components_do_without_each_other",),
    ),
    Entry("new", "transformers-installation", "torch==", reason=INSTALLS),
    Entry(BOTH, "transformers-installation", "CUDA_PATH", reason=INSTALLS),
    Entry("new", "transformers-installation", "sentencepiece", reason=INSTALLS),
    Entry(
        *(BOTH, "transformers-runtime", "spacy download"),
        reason="downloads a pipeline; the tests load from a folder what they trained",
    ),
    Entry(
        *(BOTH, "transformers-runtime", "require_gpu"),
        (
            f"{TRANSFORMERS}token_vectors_are_there_at_run_time",
            f"{TRANSFORMERS}token_vectors_are_there_on_the_gpu",
        ),
    ),
    Entry(
        *(BOTH, "transformers-runtime", "custom_annotation_setter"),
        (f"{TRANSFORMERS}setter_fills_an_attribute_and_is_saved",),
    ),
    Entry(
        *(BOTH, "transformers-training", "from spacy_transformers"),
        (f"{TRANSFORMERS}component_from_python_is_that_of_the_config",),
    ),
    Entry(
        *(BOTH, "transformers-training", "[components.transformer]"),
        (f"{TRANSFORMERS}transformer_learns_and_is_saved",),
    ),
    Entry(
        *(BOTH, "transformers-training-custom-settings", "[components.transformer"),
        (f"{TRANSFORMERS}sentences_are_cut_and_none_is_lost",),
    ),
    Entry(
        *(BOTH, "transformers-training-custom-settings", "get_custom_sent_spans"),
        (
            f"{TRANSFORMERS}sentences_are_cut_and_none_is_lost",
            f"{TRANSFORMERS}train_command_takes_a_custom_span_getter",
        ),
    ),
    Entry(
        *(BOTH, "transformers-training-custom-settings", "spacy train"),
        (f"{TRANSFORMERS}train_command_takes_a_custom_span_getter",),
    ),
    Entry(
        *(BOTH, "training-custom-model", "[components.ner]"),
        (
            f"{TRANSFORMERS}listener_learns_from_tokens_without_wordpieces",
            f"{TRANSFORMERS}grad_factor_says_when_the_transformer_learns",
        ),
    ),
    Entry(
        *(BOTH, "word-vectors-models", "MultiHashEmbed"),
        (f"{LAYERS}multi_hash_embed_takes_static_vectors",),
    ),
    Entry(
        *(BOTH, "custom-embedding-layer", "def MyEmbedding"),
        (f"{LAYERS}static_vectors_alone_are_an_embedding",),
    ),
    Entry(
        *(BOTH, "custom-embedding-layer", "[tagger.model.tok2vec.embed]"),
        (f"{LAYERS}static_vectors_alone_are_an_embedding",),
    ),
    Entry(
        *(BOTH, "custom-embedding-layer", "def MyCustomVectors"),
        (f"{LAYERS}static_vectors_add_up_with_a_learned_table",),
    ),
    Entry(
        *(BOTH, "pretraining", '"text"'),
        (f"{PRETRAINING}readers_keep_every_word",),
    ),
    Entry(
        *(BOTH, "pretraining", "fill-config"),
        (f"{PRETRAINING}fill_config_adds_the_defaults",),
    ),
    Entry(
        *(BOTH, "pretraining", "./output"),
        (f"{PRETRAINING}pretrain_commands_write_weights",),
    ),
    Entry(
        *(BOTH, "pretraining", "default_config_pretraining"),
        (f"{PRETRAINING}fill_config_adds_the_defaults",),
    ),
    Entry(
        *(BOTH, "pretraining-configure", '"textcat"'),
        (f"{PRETRAINING}subnetwork_is_chosen_by_component_and_layer",),
    ),
    Entry(
        *("new", "pretraining-training", "init_tok2vec"),
        (f"{PRETRAINING}training_starts_from_the_weights",),
    ),
    *(
        Entry(page, heading, word, (f"{PRETRAINING}objectives_are_learned",))
        for page, heading in (
            ("new", "pretraining-objectives"),
            ("old", "pretraining-details"),
        )
        for word in ("n_characters", "cosine")
    ),
]
