"""The config of a student: the components of its teacher on a small, fast network."""

from typing import Any, Dict, Iterator, List, Tuple

from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab
from thinc.api import Config

from ..experiments.trials import fill_blocks

WIDTH = 96
LISTENER = {
    "@architectures": "spacy.Tok2VecListener.v1",
    "width": "${components.tok2vec.model.encode.width}",
}
# The network of spaCy's efficiency pipelines, in layers of ours.
TOK2VEC = {
    "@architectures": "spacy.Tok2Vec.v2",
    "embed": {
        "@architectures": "spacy-embedkit.MultiHashEmbed.v1",
        "width": "${components.tok2vec.model.encode.width}",
        "attrs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"],
        "rows": [5000, 1000, 2500, 2500],
        "include_static_vectors": False,
    },
    "encode": {
        "@architectures": "spacy-embedkit.MaxoutWindowEncoder.v1",
        "width": WIDTH,
        "depth": 4,
        "window_size": 1,
        "maxout_pieces": 3,
    },
}
TAGGER = {"@architectures": "spacy.Tagger.v2"}
TRANSITIONS = {
    "@architectures": "spacy.TransitionBasedParser.v2",
    "extra_state_tokens": False,
    "use_upper": True,
}
BOW = {
    "@architectures": "spacy.TextCatBOW.v3",
    "length": 262144,
    "ngram_size": 1,
    "no_output_layer": False,
}
TEXTCAT = {"@architectures": "spacy.TextCatEnsemble.v2"}
# The models of components that learn, by factory; all listen to one tok2vec.
MODELS: Dict[str, Dict[str, Any]] = {
    "tagger": TAGGER,
    "morphologizer": TAGGER,
    "senter": TAGGER,
    "trainable_lemmatizer": TAGGER,
    "parser": {
        **TRANSITIONS,
        "state_type": "parser",
        "hidden_width": 128,
        "maxout_pieces": 3,
    },
    "ner": {
        **TRANSITIONS,
        "state_type": "ner",
        "hidden_width": 64,
        "maxout_pieces": 2,
    },
    "textcat": {**TEXTCAT, "linear_model": {**BOW, "exclusive_classes": True}},
    "textcat_multilabel": {
        **TEXTCAT,
        "linear_model": {**BOW, "exclusive_classes": False},
    },
    "spancat": {
        "@architectures": "spacy.SpanCategorizer.v1",
        "reducer": {
            "@layers": "spacy.mean_max_reducer.v1",
            "hidden_size": 128,
        },
        "scorer": {"@layers": "spacy.LinearLogistic.v1"},
    },
}
# What a component learns from, as an attribute of tokens.
ATTRS = {
    "tagger": "TAG",
    "morphologizer": "MORPH",
    "senter": "SENT_START",
    "trainable_lemmatizer": "LEMMA",
    "parser": "DEP",
}
# Components that learn nothing are taken from the teacher as they are.
RULES = (
    "attribute_ruler",
    "entity_ruler",
    "lemmatizer",
    "sentencizer",
    "span_ruler",
    "merge_noun_chunks",
    "merge_entities",
    "merge_subtokens",
)
TRAINING: Dict[str, Any] = {
    "dropout": 0.3,
    "optimizer": {"@optimizers": "Adam.v1", "L2": 0.01, "use_averages": True},
    "batcher": {
        "@batchers": "spacy.batch_by_words.v1",
        "tolerance": 0.2,
        "discard_oversize": False,
        "size": {
            "@schedules": "compounding.v1",
            "start": 100,
            "stop": 1000,
            "compound": 1.001,
        },
    },
}
READER = {"@readers": "spacy.Corpus.v1", "path": None, "limit": 0}


def make_student(
    teacher: Config, name: str, docs: DocBin
) -> Tuple[Config, Dict[str, str]]:
    """Return the config of a student, and why components of the teacher are left out.

    teacher: Its config. name: Of its folder or package. docs: With the annotation that
    the student is to learn from.
    """
    found = list(docs.get_docs(Vocab()))
    components: Dict[str, Any] = {"tok2vec": {"factory": "tok2vec", "model": TOK2VEC}}
    left: Dict[str, str] = {}
    for pipe, block in _components(teacher):
        factory = block["factory"]
        if factory in RULES:
            components[pipe] = {"source": name}
        elif factory not in MODELS:
            left[pipe] = f"{factory} has no fast network here"
        elif not _is_annotated(block, found):
            left[pipe] = "the training documents have no annotation for it"
        else:
            components[pipe] = {**block, "model": _listening(MODELS[factory])}
    config = {
        "paths": {"train": None, "dev": None},
        "system": {"seed": 0, "gpu_allocator": None},
        "nlp": {
            "lang": teacher["nlp"]["lang"],
            "pipeline": list(components),
            "batch_size": 1000,
            "tokenizer": teacher["nlp"]["tokenizer"],
            "before_creation": {"@callbacks": "spacy-embedkit.fast_ops.v1"},
        },
        "components": components,
        "corpora": {"train": READER, "dev": READER},
        "training": TRAINING,
        "initialize": {},
    }
    return fill_blocks(Config(config).copy()), left


def _components(teacher: Config) -> Iterator[Tuple[str, Dict[str, Any]]]:
    """Yield name and block of each component, but for those that feed the others."""
    for name in teacher["nlp"]["pipeline"]:
        block = {"factory": "", **teacher["components"][name]}
        is_feeding = any(x in block["factory"] for x in ("tok2vec", "transformer"))
        is_disabled = name in teacher["nlp"].get("disabled", ())
        if not (is_feeding or is_disabled or block["factory"] == "embedkit_release"):
            yield name, block


def _listening(model: Dict[str, Any]) -> Dict[str, Any]:
    return {**model, "tok2vec": LISTENER}


def _is_annotated(block: Dict[str, Any], docs: List[Doc]) -> bool:
    factory = block["factory"]
    if factory.startswith("textcat"):
        return any(doc.cats for doc in docs)
    if factory == "spancat":
        return any(doc.spans.get(block.get("spans_key", "sc")) for doc in docs)
    if factory == "ner":
        return any(doc.ents for doc in docs)
    return any(doc.has_annotation(ATTRS[factory]) for doc in docs)
