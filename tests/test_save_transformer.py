"""`spacy embedkit save-transformer`: a pipeline's transformer in a folder."""

import numpy
import pytest
import spacy
import srsly
from typer.testing import CliRunner

from spacy_embedkit.checks import InputError
from spacy_embedkit.cli import embedkit_cli

torch = pytest.importorskip("torch", reason="needs the extra transformers")
pytest.importorskip("spacy_transformers", reason="needs the extra transformers")

from spacy_embedkit.pretraining.teacher.transformer_teacher import (  # noqa: E402
    Teacher,
    TeacherSettings,
)
from spacy_embedkit.transformer.pretrained import save_transformer  # noqa: E402

from .helpers.tiny_bert import make_bert  # noqa: E402
from .helpers.tiny_pipelines import make_pipeline, tagged  # noqa: E402

TEXT = "The cat sat. A dog ran."


@pytest.fixture
def pipeline(tmp_path):
    """A pipeline whose transformer has learned something."""
    nlp = make_pipeline(
        make_bert(tmp_path / "bert"),
        spans='@span_getters = "spacy-transformers.doc_spans.v1"',
        pipeline=("transformer", "tagger"),
    )
    optimizer = nlp.create_optimizer()
    for _ in range(3):
        nlp.update([tagged(nlp, TEXT)], sgd=optimizer)
    nlp.to_disk(tmp_path / "pipeline")
    return nlp


def rows(folder):
    """What a transformer teaches of a text."""
    teacher = Teacher(TeacherSettings(str(folder), [-1]))
    [found] = teacher([spacy.blank("en").make_doc(TEXT)])
    return found


def test_folder_teaches_what_the_pipeline_has_learned(pipeline, tmp_path):
    message = save_transformer(str(tmp_path / "pipeline"), tmp_path / "out", None)
    assert message == f"{tmp_path / 'out'}: a transformer of 3 layers, 16 wide"
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= files
    config = srsly.read_json(tmp_path / "out" / "config.json")
    before = srsly.read_json(tmp_path / "bert" / "config.json")
    assert config == before
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())
    before, after = rows(tmp_path / "bert"), rows(tmp_path / "out")
    assert not numpy.allclose(before, after, atol=1e-3)
    model = pipeline.get_pipe("transformer").model.transformer
    weights = model.state_dict()
    saved = type(model).from_pretrained(tmp_path / "out").state_dict()
    assert all(torch.equal(weights[name], saved[name]) for name in weights)


def test_full_disk_is_named_whichever_library_finds_it(pipeline, tmp_path, monkeypatch):
    def save(*args, **kwargs):
        # What tokenizers raises; its class is Exception.
        raise Exception("No space left on device (os error 28)")

    tokenizer = type(pipeline.get_pipe("transformer").model.tokenizer)
    for place, words in (
        ("save_pretrained", "could not write .*No space left on device.*free space"),
        ("from_pretrained", "pipeline: can't be loaded .*No space left on device"),
    ):
        monkeypatch.setattr(tokenizer, place, save)
        with pytest.raises(InputError, match=words):
            save_transformer(str(tmp_path / "pipeline"), tmp_path / "out", None)
    assert not any("out" in path.name for path in tmp_path.iterdir())


def test_transformer_that_a_component_holds_itself_is_found(pipeline, tmp_path):
    pipeline.replace_listeners("transformer", "tagger", ["model.tok2vec"])
    pipeline.remove_pipe("transformer")
    pipeline.to_disk(tmp_path / "alone")
    save_transformer(str(tmp_path / "alone"), tmp_path / "out", None)
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_one_of_several_has_to_be_named(pipeline, tmp_path):
    pipeline.replace_listeners("transformer", "tagger", ["model.tok2vec"])
    pipeline.to_disk(tmp_path / "two")
    out = tmp_path / "out"
    for component, reason in ((None, "none is named"), ("ner", "'ner' is not one")):
        words = f"transformer, tagger have a transformer, and {reason} of them"
        with pytest.raises(InputError, match=words):
            save_transformer(str(tmp_path / "two"), out, component)
    save_transformer(str(tmp_path / "two"), out, "tagger")
    assert out.is_dir()


def test_command_reports_errors_in_one_line(tmp_path):
    spacy.blank("en").to_disk(tmp_path / "blank")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    for pipeline, out, words in (
        ("blank", "out", "no component has a transformer"),
        ("no-such", "out", "can't be loaded"),
        ("blank", "full", "holds other files"),
    ):
        command = ["save-transformer", tmp_path / pipeline, tmp_path / out]
        result = CliRunner().invoke(embedkit_cli, list(map(str, command)))
        assert result.exit_code == 1
        [line] = result.output.splitlines()
        assert line.startswith("error: ")
        assert words in line
    assert not (tmp_path / "out").exists()
