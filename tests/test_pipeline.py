"""Layers inside pipelines made from config text: training, saving, processes."""

import pickle

import pytest
import spacy
from numpy.testing import assert_allclose, assert_array_equal
from spacy.training import Example
from spacy.util import Config, load_model_from_config

from .helpers.tagger_configs import EMBEDS, HEAD

SENTENCES = [
    (["The", "cat", "sat", "on", "the", "mat"], ["D", "N", "V", "P", "D", "N"]),
    (["A", "dog", "ran"], ["D", "N", "V"]),
    (["cat"], ["N"]),
]
TEXTS = ["The cat sat on the mat", "", "cat", "A dog ran 🙂", "  "] * 20


@pytest.fixture(params=EMBEDS, ids=list(EMBEDS))
def config_text(request):
    return HEAD + EMBEDS[request.param]


@pytest.fixture
def trained(config_text, nlp):
    spacy.util.fix_random_seed(0)
    pipeline = load_model_from_config(Config().from_str(config_text), auto_fill=True)
    pipeline.vocab.vectors = nlp.vocab.vectors
    examples = [
        Example.from_dict(spacy.tokens.Doc(pipeline.vocab, words=words), {"tags": tags})
        for words, tags in SENTENCES
    ]
    optimizer = pipeline.initialize(lambda: examples)
    for _ in range(150):
        pipeline.update(examples, sgd=optimizer, drop=0.1)
    return pipeline


def tags_and_tensors(pipeline, **settings):
    docs = list(pipeline.pipe(TEXTS, **settings))
    return [[token.tag_ for token in doc] for doc in docs], [doc.tensor for doc in docs]


def test_pipeline_learns_its_sentences(trained):
    for words, tags in SENTENCES:
        doc = trained(spacy.tokens.Doc(trained.vocab, words=words))
        assert [token.tag_ for token in doc] == tags


def test_saved_pipeline_predicts_the_same(trained, tmp_path):
    tags, tensors = tags_and_tensors(trained)
    trained.to_disk(tmp_path / "nlp")
    from_bytes = load_model_from_config(trained.config).from_bytes(trained.to_bytes())
    for restored in (spacy.load(tmp_path / "nlp"), from_bytes):
        tags2, tensors2 = tags_and_tensors(restored)
        assert tags2 == tags
        for tensor, tensor2 in zip(tensors, tensors2, strict=True):
            assert_array_equal(tensor2, tensor)


def test_pickled_pipeline_predicts_the_same(trained, tmp_path):
    # Loaded first: spaCy cannot pickle a Tok2Vec component right after its update.
    trained.to_disk(tmp_path / "nlp")
    restored = pickle.loads(pickle.dumps(spacy.load(tmp_path / "nlp")))
    assert tags_and_tensors(restored)[0] == tags_and_tensors(trained)[0]


def test_two_processes_predict_the_same(trained):
    tags, tensors = tags_and_tensors(trained, batch_size=7)
    tags2, tensors2 = tags_and_tensors(trained, n_process=2, batch_size=7)
    assert tags2 == tags
    for tensor, tensor2 in zip(tensors, tensors2, strict=True):
        assert_allclose(tensor2, tensor, atol=1e-5)


@pytest.mark.parametrize("config_text", [HEAD + EMBEDS["multi_hash"]])
def test_pipeline_runs_with_the_stock_layer_in_its_place(trained, tmp_path):
    tags, _ = tags_and_tensors(trained)
    trained.to_disk(tmp_path / "nlp")
    path = tmp_path / "nlp" / "config.cfg"
    text = path.read_text().replace(
        "spacy-embedkit.MultiHashEmbed.v1", "spacy.MultiHashEmbed.v2"
    )
    text = text.replace("cache_rows = 20000\n", "")
    assert "embedkit" not in text
    path.write_text(text)
    assert tags_and_tensors(spacy.load(tmp_path / "nlp"))[0] == tags
