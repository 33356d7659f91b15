"""Every name in setup.cfg, from config text, in a process that never imported us."""

import json
import os
import subprocess
import sys

import pytest
from spacy.util import registry
from thinc.api import Config, ConfigValidationError

from .helpers.checkout import NAMES, entry_modules
from .helpers.hidden_packages import HIDE

CONFIGS = {
    "spacy-embedkit.MultiHashEmbed.v1": """
        width = 8
        attrs = ["NORM", "SHAPE"]
        rows = [20, 10]
        include_static_vectors = false""",
    "spacy-embedkit.SubwordHashEmbed.v1": """
        width = 8
        rows = 100
        min_n = 2
        max_n = 4
        n_hashes = 3
        boundaries = false
        attr = "LOWER"
        attrs = ["NORM"]
        attr_rows = [20]
        include_static_vectors = true""",
    "spacy-embedkit.StaticHashEmbed.v1": """
        output_width = 8
        vector_width = 6
        embed_rows = 10
        key2row = {"the": 1, "2024": 2}
        unseen_row = 3
        attr = "LOWER\"""",
    "spacy-embedkit.StaticVectors.v1": """
        width = 8
        vector_width = 6
        learn_unseen = true""",
    "spacy-embedkit.MaxoutWindowEncoder.v1": """
        width = 8
        window_size = 1
        maxout_pieces = 2
        depth = 2""",
    "spacy-embedkit.PretrainVectors.v1": """
        maxout_pieces = 2
        hidden_size = 8
        loss = "L2\"""",
    "spacy-embedkit.PretrainCharacters.v1": """
        maxout_pieces = 2
        hidden_size = 8
        n_characters = 4""",
    "spacy-embedkit.PretrainSubwords.v1": """
        maxout_pieces = 2
        hidden_size = 8
        n_bits = 64""",
    "spacy-embedkit.PretrainTransformer.v1": """
        transformer = "owner/name"
        maxout_pieces = 2
        hidden_size = 8
        layers = [1, 2]
        targets = "pca"
        width = 4
        loss = "cosine\"""",
    "spacy-embedkit.PretrainMulti.v1": """
        weights = {"chars": 2.0}
        [block.objectives]
        [block.objectives.chars]
        @architectures = "spacy-embedkit.PretrainCharacters.v1"
        maxout_pieces = 2
        hidden_size = 8
        n_characters = 4""",
    "spacy-embedkit.token_masking.v1": "mask_rate = 0.2",
    "spacy-embedkit.span_masking.v1": "entities = true",
    "spacy-embedkit.RawText.v1": "path = null",
    "spacy-embedkit.accelerate.v1": """
        cache_rows = 100
        fast_ops = false""",
    "spacy-embedkit.fast_ops.v1": "",
    "spacy-embedkit.check_tok2vec.v1": "",
    "spacy-embedkit.freeze_tok2vec.v1": "steps = 10",
    "spacy-embedkit.Vectors.v1": 'unseen = "mean"',
    "spacy-embedkit.TransformerModel.v1": """
        name = "anything"
        get_spans = {"@span_getters":"spacy-embedkit.sent_spans.v1","max_length":9}
        trained_layers = 2
        layer_decay = 0.9
        learn_rate_factor = 0.05""",
    "spacy-embedkit.TransformerListener.v1": """
        pooling = {"@layers":"reduce_mean.v1"}
        grad_factor = 0.5
        layers = [0, -1]""",
    "spacy-embedkit.Tok2VecTransformer.v1": """
        name = "anything"
        get_spans = {"@span_getters":"spacy-embedkit.sent_spans.v1","max_length":9}
        layers = "mix"
        """,
    "spacy-embedkit.reduce_mean.v1": "",
    "spacy-embedkit.reduce_sum.v1": "",
    "spacy-embedkit.reduce_max.v1": "",
    "spacy-embedkit.reduce_first.v1": "",
    "spacy-embedkit.reduce_last.v1": "",
    "spacy-embedkit.reduce_attention.v1": "nO = 8",
    "spacy-embedkit.unfreeze.v1": "frozen_steps = 100",
    "spacy-embedkit.sent_spans.v1": "max_length = 10\npack = 20",
    "spacy-embedkit.paragraph_spans.v1": "max_length = 10\npack = 20",
    "spacy-embedkit.wordpiece_spans.v1": """
        max_wordpieces = 64
        tokenizer = "owner/name"
        context = 4
        tokenizer_config = {"add_prefix_space":true}""",
    "spacy-embedkit.token_vectors.v1": "",
    "spacy-embedkit.span_vectors.v1": "",
    "spacy-embedkit.custom_attr.v1": 'name = "pooled"\nwhat = "pooler_output"',
    "spacy-embedkit.release.v1": """
        keep = "token_vectors"
        dtype = "float16"
        device = "cpu"
        """,
    "spacy-embedkit.chain.v1": """
        [block.*.first]
        @annotation_setters = "spacy-embedkit.doc_vectors.v1"
        [block.*.second]
        @annotation_setters = "spacy-embedkit.release.v1"
        """,
    "spacy-embedkit.doc_vectors.v1": "",
}

# Resolves blocks of config text, each in a fork that has imported spaCy alone.
RESOLVE = """
import json, multiprocessing, sys, spacy
from spacy.util import registry
from thinc.api import Config

def resolve(text):
    try:
        block = registry.resolve(Config().from_str(text))["block"]
        assert callable(block) or hasattr(block, "__next__") or block.name
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"kind": type(block).__name__}

spacy.blank("en")
context = multiprocessing.get_context("fork")
with context.Pool(1, maxtasksperchild=1) as pool:
    texts = json.load(sys.stdin)
    json.dump(pool.map(resolve, texts, chunksize=1), sys.stdout)
"""
KINDS = {
    "function",
    "generator",
    "partial",
    "Model",
    "RawTextCorpus",
    "SpanMasking",
    "TokenMasking",
    "TransformerModel",
    "WordpieceSpans",
}


# Architectures that are made of torch: they resolve where it is, and say what to
# install where it is not.
NEED_TORCH = {
    f"spacy-embedkit.{name}.v1"
    for name in ("TransformerModel", "TransformerListener", "Tok2VecTransformer")
}


def block(group, name):
    """Config text of a block that names a registered function."""
    lines = "\n".join(line.strip() for line in CONFIGS[name].splitlines())
    return f'[block]\n@{group} = "{name}"\n{lines}\n'


@pytest.fixture(scope="module", params=["", HIDE], ids=["with_torch", "without_torch"])
def resolved(request):
    """Whether torch is hidden, and what each name resolves to."""
    run = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", request.param + RESOLVE],
        input=json.dumps([block(group, name) for group, name in NAMES]),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    names = [name for _, name in NAMES]
    return bool(request.param), dict(zip(names, json.loads(run.stdout), strict=True))


NO_TRANSFORMERS = "needs pip install 'spacy-embedkit[transformers]'"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
@pytest.mark.parametrize("name", [name for _, name in NAMES])
def test_name_resolves_in_a_fresh_process(name, resolved):
    is_hidden, results = resolved
    if is_hidden and name in NEED_TORCH:
        assert "pip install 'spacy-embedkit[transformers]'" in results[name]["error"]
    else:
        if name in NEED_TORCH:
            pytest.importorskip("spacy_transformers", reason=NO_TRANSFORMERS)
        assert results[name].get("kind") in KINDS, results[name]


def test_every_config_is_declared():
    assert set(CONFIGS) == {name for _, name in NAMES}


def test_import_needs_no_optional_package():
    code = HIDE + (
        f"import {', '.join(entry_modules())}\n"
        "import sys, json\n"
        "print(json.dumps(sorted(m for m in sys.modules if '.' not in m)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(run.stdout))
    assert "spacy_embedkit" in loaded
    optional = {"torch", "transformers", "spacy_transformers", "cupy"}
    assert not loaded & (optional | {"floret", "gensim", "pyarrow", "safetensors"})


@pytest.mark.parametrize(
    ("group", "name", "old", "new", "message"),
    [
        ("architectures", "SubwordHashEmbed", "100", '"many"', "block -> rows"),
        ("span_getters", "sent_spans", "max_length", "maxlength", "maxlength"),
    ],
)
def test_wrong_setting_is_refused_by_the_config(group, name, old, new, message):
    text = block(group, f"spacy-embedkit.{name}.v1").replace(old, new)
    with pytest.raises(ConfigValidationError, match=message):
        registry.resolve(Config().from_str(text))


def test_spacy_cli_works_beside_the_plugin():
    run = subprocess.run(
        [sys.executable, "-c", HIDE + "from spacy.cli import app; app(['info'])"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "spaCy version" in run.stdout
