"""What TransformerModel.v1 predicts, against that of stock."""

import signal
import sys
from multiprocessing import active_children

import numpy
import pytest

torch = pytest.importorskip(
    "torch", reason="needs pip install 'spacy-embedkit[transformers]'"
)
pytest.importorskip(
    "spacy_transformers", reason="needs pip install 'spacy-embedkit[transformers]'"
)

from .helpers.tiny_pipelines import train  # noqa: E402
from .helpers.transformer_pipelines import (  # noqa: E402
    assert_same_vectors,
    make,
    ours,
    stock,
    transformer,
    vectors,
)


@pytest.mark.parametrize("batch_pieces", [1, 16, 2048])
def test_same_vectors_as_stock_whatever_the_batches(batch_pieces) -> None:
    nlp, _ = make(ours(f"batch_pieces = {batch_pieces}"))
    assert_same_vectors(vectors(nlp), vectors(make(stock())[0]))


@pytest.mark.parametrize("name", ["layer_decay", "learn_rate_factor"])
def test_rates_have_to_be_above_0(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0.0, but it must be above 0"):
        make(ours(f"{name} = 0.0"))


def test_missing_hidden_layers_name_the_setting() -> None:
    config = ours(listener="layers = [1]")
    config["components"]["transformer"]["model"]["transformer_config"] = {}
    with pytest.raises(ValueError, match="output_hidden_states = true"):
        make(config)[0]("the cat")


@pytest.mark.parametrize("keep", [0, 4])
def test_layers_to_keep_are_checked(keep) -> None:
    with pytest.raises(ValueError, match=f"keep_layers is {keep}.*give 1 to 3"):
        make(ours(f"keep_layers = {keep}"))


def test_layers_above_are_dropped() -> None:
    nlp, _ = make(ours("keep_layers = 2"))
    hidden = make(ours())[0]("the cat")._.trf_data.model_output.hidden_states[2]
    last = nlp("the cat")._.trf_data.model_output.last_hidden_state
    numpy.testing.assert_allclose(last, hidden, atol=1e-5)
    assert len(nlp.get_pipe("transformer").model.transformer.encoder.layer) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="there is no alarm")
def test_processes_predict_what_one_does() -> None:
    """With threads of torch in the parent, which a forked process lacks."""
    nlp, examples = make(ours())
    train(nlp, examples)
    before = torch.get_num_threads()
    torch.set_num_threads(2)

    def stop(number, frame):
        for process in active_children():
            process.kill()
        raise TimeoutError("the processes hang")

    handler = signal.signal(signal.SIGALRM, stop)
    signal.alarm(30)
    try:
        # Large enough for two threads, so that there are some when it is forked.
        texts = ["the cat sat on a mat " * 100] * 8 + ["the", "", "a cat"]
        expected = [[token.tag_ for token in doc] for doc in nlp.pipe(texts)]
        found = nlp.pipe(texts, n_process=2, batch_size=4)
        assert [[token.tag_ for token in doc] for doc in found] == expected
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        torch.set_num_threads(before)


def test_layers_that_share_weights_cannot_be_dropped(tmp_path) -> None:
    from transformers import AlbertConfig, AlbertModel, AutoTokenizer

    AlbertModel(
        AlbertConfig(
            vocab_size=300,
            embedding_size=8,
            hidden_size=8,
            num_hidden_layers=3,
            num_attention_heads=2,
            intermediate_size=8,
        )
    ).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(transformer()).save_pretrained(tmp_path)
    config = ours("keep_layers = 2")
    config["components"]["transformer"]["model"]["name"] = str(tmp_path)
    with pytest.raises(ValueError, match="can't be taken apart"):
        make(config)
