"""Wordpieces of spans and tokens, against those of spacy-transformers."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip(
    "torch", reason="needs pip install 'spacy-embedkit[transformers]'"
)
pytest.importorskip(
    "spacy_transformers", reason="needs pip install 'spacy-embedkit[transformers]'"
)

from spacy_transformers.align import (  # noqa: E402
    get_alignment,
    get_alignment_via_offset_mapping,
)
from spacy_transformers.data_classes import (  # noqa: E402
    FullTransformerBatch,
    WordpieceBatch,
)
from spacy_transformers.layers.transformer_model import (  # noqa: E402
    huggingface_tokenize,
)
from spacy_transformers.truncate import truncate_oversize_splits  # noqa: E402
from transformers import (  # noqa: E402
    BertTokenizer,
    BertTokenizerFast,
    PreTrainedTokenizerFast,
)
from transformers.file_utils import ModelOutput  # noqa: E402

from spacy_embedkit.text.boundaries import core_ranges  # noqa: E402
from spacy_embedkit.transformer.trf_data import HiddenLayersBatch  # noqa: E402
from spacy_embedkit.transformer.wordpieces import WordpieceReader  # noqa: E402

from .helpers.tiny_bert import make_bert  # noqa: E402
from .helpers.transformer_pipelines import make, ours  # noqa: E402

NLP = spacy.blank("en")
ODD = ["the", "cat", "don't", "naïve", ".", " ", "  ", "\n\n", "🙂", "東京", "\u200b"]
texts = st.lists(st.sampled_from(ODD), max_size=30).map("".join) | st.text(max_size=80)
docs_of_texts = st.lists(texts, min_size=1, max_size=4).map(
    lambda found: [NLP(text) for text in found]
)
KINDS = ["wordpieces", "bytes", "slow"]


@cache
def tokenizer(kind):
    """A tokenizer with offsets by wordpieces or bytes, or without any offsets."""
    if kind == "bytes":
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers

        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        vocab = {piece: i for i, piece in enumerate(["<pad>", *alphabet])}
        backend = Tokenizer(models.BPE(vocab, []))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        return PreTrainedTokenizerFast(
            tokenizer_object=backend, pad_token="<pad>", model_max_length=20
        )
    folder = make_bert(Path(mkdtemp()) / "bert")
    make = BertTokenizer if kind == "slow" else BertTokenizerFast
    return make(str(Path(folder) / "vocab.txt"), model_max_length=20)


def stock_pieces(kind, spans):
    """What TransformerModel.v3 makes of spans."""
    flat = [span for of_doc in spans for span in of_doc]
    encoded = huggingface_tokenize(tokenizer(kind), [span.text for span in flat])
    pieces = WordpieceBatch.from_batch_encoding(encoded)
    if "offset_mapping" in encoded:
        align = get_alignment_via_offset_mapping(flat, encoded["offset_mapping"])
    else:
        special = tokenizer(kind).all_special_tokens
        align = get_alignment(flat, pieces.strings, special)
    return truncate_oversize_splits(pieces, align, tokenizer(kind).model_max_length)


def strided(docs, window=5, stride=3):
    """Spans of each doc that overlap; none of a doc without tokens."""
    return [[d[i : i + window] for i in range(0, len(d), stride)] for d in docs]


def read(kind, spans, *, count_once=False):
    return WordpieceReader(tokenizer(kind))(spans, count_once=count_once)


def assert_same_align(align, expected):
    numpy.testing.assert_array_equal(align.lengths, expected.lengths)
    numpy.testing.assert_array_equal(
        align.dataXd.reshape(-1), expected.data.reshape(-1)
    )


@pytest.mark.parametrize("kind", KINDS)
@given(docs=docs_of_texts)
def test_pieces_of_each_token_are_those_of_stock(kind, docs):
    spans = strided(docs)
    if not any(spans):
        return
    pieces, align = read(kind, spans)
    expected, expected_align = stock_pieces(kind, spans)
    assert_same_align(align, expected_align)
    assert pieces.strings == expected.strings
    numpy.testing.assert_array_equal(pieces.input_ids, expected.input_ids)
    numpy.testing.assert_array_equal(pieces.attention_mask, expected.attention_mask)
    assert pieces.attention_mask.dtype == "float32"
    assert pieces.lengths == pieces.attention_mask.sum(axis=1).tolist()


@given(docs=docs_of_texts)
def test_docs_are_split_as_by_stock(docs):
    spans = strided(docs)
    if not any(spans):
        return
    pieces, align = read("wordpieces", spans)
    shape = (*pieces.input_ids.shape, 2)
    state = torch.arange(numpy.prod(shape), dtype=torch.float32).reshape(shape)
    output = ModelOutput(
        last_hidden_state=state,
        pooler_output=state[:, 0],
        hidden_states=(state, state + 1),
    )
    batches = [
        kind(spans=spans, wordpieces=pieces, model_output=output, align=align)
        for kind in (HiddenLayersBatch, FullTransformerBatch)
    ]
    for data, expected in zip(*(batch.doc_data for batch in batches), strict=True):
        assert_same_align(data.align, expected.align)
        assert data.wordpieces.strings == expected.wordpieces.strings
        assert [*data.model_output] == [*expected.model_output]
        for key, value in expected.model_output.items():
            numpy.testing.assert_array_equal(data.model_output[key], value)


@given(docs=docs_of_texts)
def test_a_token_that_counts_once_has_the_pieces_of_its_core_span(docs):
    docs = [doc for doc in docs if len(doc)]
    spans = strided(docs)
    if not spans:
        return
    pieces, align = read("wordpieces", spans, count_once=True)
    _, every = read("wordpieces", spans)
    length = pieces.input_ids.shape[1]
    sizes = [end - start for of_doc in spans for start, end in core_ranges(of_doc)]
    cores = numpy.repeat(numpy.arange(len(sizes)), sizes)
    assert len(cores) == len(align.lengths)
    for token, core in enumerate(cores):
        places = every[token].dataXd.reshape(-1)
        own = places[places // length == core]
        assert align[token].dataXd.reshape(-1).tolist() == own.tolist()


def test_context_counts_once_in_a_pipeline():
    config = ours()
    config["components"]["transformer"]["model"]["get_spans"] = {
        "@span_getters": "spacy-embedkit.wordpiece_spans.v1",
        "max_wordpieces": 12,
        "context": 3,
    }
    nlp, _ = make(config)
    doc = nlp("the cat the cat sat on the cat the cat the cat the cat")
    data = doc._.trf_data
    assert len(data.wordpieces) > 1
    assert sum(data.wordpieces.lengths) > len(doc) + 4
    assert data.align.lengths.tolist() == [1, 1, 1, 1, 3, 2, *[1] * 8]
