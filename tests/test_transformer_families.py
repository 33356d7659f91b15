"""TransformerModel.v1 against that of stock for transformers of other families."""

import numpy
import pytest
import spacy
from thinc.api import fix_random_seed

torch = pytest.importorskip(
    "torch", reason="needs pip install 'spacy-embedkit[transformers]'"
)
pytest.importorskip(
    "spacy_transformers", reason="needs pip install 'spacy-embedkit[transformers]'"
)

TEXTS = ["the cat sat on the mat", "hello world", "This", "foo bar ok some text"]
ATTENTIONS = {"output_attentions": True, "output_hidden_states": True}


@pytest.fixture(params=["albert", "distilbert", "gpt2", "roberta", "xlnet"])
def arguments(request, tmp_path):
    """Name, span getter and tokenizer settings for a model of each family."""
    from spacy_transformers.span_getters import get_doc_spans

    from .helpers import hub_models

    torch.manual_seed(0)
    make = getattr(hub_models, f"make_{request.param}")
    make(tmp_path).save_pretrained(tmp_path)
    padding = {"pad_token": "<|endoftext|>"} if request.param == "gpt2" else {}
    return str(tmp_path), get_doc_spans, padding


def build(kind, arguments, **settings):
    """Build the model of stock or of ours, with its weights."""
    from spacy_transformers.layers import TransformerModel

    from spacy_embedkit.transformer.builders import build_transformer_model_v1

    fix_random_seed(0)
    make = {"stock": TransformerModel, "ours": build_transformer_model_v1}[kind]
    model = make(*arguments, **settings)
    model.initialize()
    return model


@pytest.fixture
def docs():
    nlp = spacy.blank("en")
    return [nlp.make_doc(text) for text in TEXTS]


def test_same_outputs_as_stock(arguments, docs):
    outputs = [
        build("stock", arguments, transformer_config=dict(ATTENTIONS)).predict(docs),
        build(
            "ours", arguments, transformer_config=dict(ATTENTIONS), batch_pieces=12
        ).predict(docs),
    ]
    stock, ours = (batch.model_output for batch in outputs)
    used = torch.from_numpy(outputs[0].wordpieces.attention_mask) > 0
    pairs = used[:, None, :, None] & used[:, None, None, :]
    assert_same(stock.last_hidden_state, ours.last_hidden_state, used)
    for one, other in zip(stock.hidden_states, ours.hidden_states, strict=True):
        assert_same(one, other, used)
    for one, other in zip(stock.attentions, ours.attentions, strict=True):
        assert_same(one, other, pairs.expand(one.shape))


def assert_same(one, other, used):
    """Compare all but padding."""
    numpy.testing.assert_allclose(one[used].numpy(), other[used].numpy(), atol=1e-5)


def test_outputs_that_were_not_asked_for_are_none(arguments, docs):
    output = build("ours", arguments).predict(docs).model_output
    assert output.hidden_states is None
    assert output.attentions is None


def test_learns(arguments, docs):
    from thinc.api import Adam

    model = build("ours", arguments, batch_pieces=12)
    optimizer = Adam(0.01)
    losses = []
    for _ in range(10):
        full, backprop = model.begin_update(docs)
        rows = [data.model_output.last_hidden_state for data in full.doc_data]
        # Each row should begin with a 2, whatever the dropout.
        gradients = [numpy.zeros_like(row) for row in rows]
        for gradient, row in zip(gradients, rows, strict=True):
            gradient[..., 0] = row[..., 0] - 2
        losses.append(sum(float((gradient**2).sum()) for gradient in gradients))
        backprop(full.unsplit_by_doc([[gradient] for gradient in gradients]))
        model.finish_update(optimizer)
    assert losses[-1] < 0.5 * losses[0]
