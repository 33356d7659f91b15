"""The page on embeddings, executed: shared layers and static vectors."""

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose, assert_array_equal
from spacy.util import registry
from spacy.vectors import Vectors

from spacy_embedkit.architectures import build_static_vectors_v1

from .helpers.page_pipelines import (
    EMBED,
    LISTENER,
    NER,
    TAGGER,
    TOK2VEC,
    WIDTH,
    assert_saved,
    examples_of,
    head,
    make,
    nodes,
    own_tok2vec,
    spacy_command,
    weights,
)
from .helpers.tiny_pipelines import train
from .helpers.vector_tables import make_rows

WORDS = ["the", "cat", "sat", "on", "mat", "naïve", "🙂"]
SHARED = "".join(
    [
        head("tok2vec", "ner", "tagger"),
        TOK2VEC + own_tok2vec("components.tok2vec.model"),
        TAGGER + LISTENER.format(name="tagger"),
        NER + LISTENER.format(name="ner"),
    ]
)
INDEPENDENT = "".join(
    [
        head("tagger", "ner"),
        TAGGER + own_tok2vec("components.tagger.model.tok2vec"),
        NER + own_tok2vec("components.ner.model.tok2vec"),
    ]
)


@pytest.mark.parametrize(("name", "layer"), [("tagger", "tags"), ("ner", "entities")])
def test_shared_embedding_learns_from_every_component(name, layer, tmp_path):
    nlp, _ = make(SHARED)
    before = weights(nlp, "tok2vec")
    # Only one of the components has anything to learn.
    losses = train(nlp, examples_of(nlp, [layer]), 10)
    assert losses[-1][name] < losses[0][name]
    assert losses[-1]["tok2vec"] > 0
    assert weights(nlp, "tok2vec") != before
    assert not nodes(nlp, name, "hashembed")
    assert_saved(nlp, tmp_path)


def test_independent_components_do_without_each_other(tmp_path):
    nlp, examples = make(INDEPENDENT)
    before = weights(nlp, "tagger"), weights(nlp, "ner")
    with nlp.select_pipes(enable="ner"):
        losses = train(nlp, examples, 10)
    assert losses[-1]["ner"] < losses[0]["ner"]
    assert weights(nlp, "tagger") == before[0]
    assert weights(nlp, "ner") != before[1]
    found = nlp("the cat").ents
    nlp.remove_pipe("tagger")
    assert [e.text for e in nlp("the cat").ents] == [e.text for e in found]
    assert_saved(nlp, tmp_path)


def test_shared_pipeline_is_smaller():
    """As the running text promises."""
    sizes = [
        sum(len(weights(nlp, name)) for name in nlp.pipe_names)
        for nlp in (make(SHARED)[0], make(INDEPENDENT)[0])
    ]
    assert sizes[0] < 0.7 * sizes[1]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A table of vectors, converted by spaCy's command and by ours."""
    folder = tmp_path_factory.mktemp("tables")
    lines = [
        f"{word} {' '.join(map(repr, row.tolist()))}\n"
        for word, row in zip(WORDS, make_rows(len(WORDS)), strict=True)
    ]
    text = f"{len(WORDS)} {WIDTH}\n" + "".join(lines)
    (folder / "table.txt").write_text(text, encoding="utf8")
    spacy_command(folder, "init", "vectors", "en", "table.txt", "spacy")
    convert = ("embedkit", "vectors", "convert", "table.txt", "embedkit")
    spacy_command(folder, *convert, "--lang", "en")
    return folder


def with_vectors(text, folder):
    """Add the vectors of a folder to config text."""
    if folder.name == "embedkit":
        text += '\n[nlp.vectors]\n@vectors = "spacy-embedkit.Vectors.v1"\n'
    paths = f'\n[paths]\nvectors = "{folder}"\n'
    return text + paths + "\n[initialize]\nvectors = ${paths.vectors}\n"


@pytest.mark.parametrize("kind", ["spacy", "embedkit"])
def test_converted_vectors_are_looked_up_everywhere(kind, tables):
    """The running text promises it for Doc, Span, Token, Lexeme and Vocab."""
    nlp = spacy.load(tables / kind)
    doc, rows = nlp("the cat sat"), make_rows(len(WORDS))
    assert_allclose(doc.vector, rows[:3].mean(axis=0), atol=1e-6)
    assert_allclose(doc[1:].vector, rows[1:3].mean(axis=0), atol=1e-6)
    for word, row in zip(WORDS, rows, strict=True):
        found = (
            nlp.vocab.get_vector(word),
            nlp.vocab[word].vector,
            nlp(word)[0].vector,
        )
        for vector in found:
            assert_array_equal(vector, row)
    cosine = rows[1] @ rows[2] / numpy.prod(numpy.linalg.norm(rows[1:3], axis=1))
    pairs = [(doc[1], doc[2]), (doc[1:2], doc[2:]), (doc[1].lex, doc[2].lex)]
    for one, other in [*pairs, (nlp("cat"), nlp("sat"))]:
        assert one.similarity(other) == pytest.approx(cosine, abs=1e-5)


STATIC = EMBED.replace(
    "include_static_vectors = false", "include_static_vectors = true"
)


def tagger_with(embed):
    """Config of a tagger with its own embedding layer."""
    text = own_tok2vec("components.tagger.model.tok2vec", embed)
    return head("tagger") + TAGGER + text


def embedding(nlp):
    """The embedding layer of the tagger."""
    return nlp.get_pipe("tagger").model.get_ref("tok2vec").get_ref("embed")


@pytest.mark.parametrize("kind", ["spacy", "embedkit"])
def test_multi_hash_embed_takes_static_vectors(kind, tables, tmp_path):
    nlp, examples = make(with_vectors(tagger_with(STATIC), tables / kind))
    losses = train(nlp, examples, 10)
    assert losses[-1]["tagger"] < losses[0]["tagger"]
    # The table is the vocab's: it stays as it is, and the layer has no copy of it.
    assert_array_equal(nlp.vocab.vectors.get_batch(WORDS), make_rows(len(WORDS)))
    shapes = {
        node.get_param(name).shape
        for node in embedding(nlp).walk()
        for name in node.param_names
    }
    assert (len(WORDS), WIDTH) not in shapes
    docs = [nlp.make_doc("the zebra")]
    [before] = embedding(nlp).predict(docs)
    assert_saved(nlp, tmp_path)
    zeros = numpy.zeros((1, WIDTH), dtype="f")
    nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=zeros, keys=["the"])
    [after] = embedding(nlp).predict([nlp.make_doc("the zebra")])
    assert not numpy.allclose(after[0], before[0])
    assert_array_equal(after[1], before[1])


@registry.architectures("page.Embedding.v1")
def build_embedding(output_width: int):
    """A custom architecture around one of this package."""
    return build_static_vectors_v1(width=output_width)


@pytest.mark.parametrize("kind", ["spacy", "embedkit"])
@pytest.mark.parametrize(
    "settings",
    ['"spacy-embedkit.StaticVectors.v1"\nwidth', '"page.Embedding.v1"\noutput_width'],
)
def test_static_vectors_alone_are_an_embedding(settings, kind, tables, tmp_path):
    embed = f"\n[{{at}}.embed]\n@architectures = {settings} = {WIDTH}\n"
    nlp, examples = make(with_vectors(tagger_with(embed), tables / kind))
    docs = [nlp.make_doc("the cat zebra"), nlp.make_doc("")]
    before = embedding(nlp).predict(docs)
    assert [rows.shape for rows in before] == [(3, WIDTH), (0, WIDTH)]
    losses = train(nlp, examples, 10)
    assert losses[-1]["tagger"] < losses[0]["tagger"]
    after = embedding(nlp).predict(docs)
    assert not numpy.allclose(after[0][:2], before[0][:2])
    assert not after[0][2].any()
    assert_array_equal(nlp.vocab.vectors.get_batch(WORDS), make_rows(len(WORDS)))
    assert_saved(nlp, tmp_path)


SUM = """
[{at}.embed]
@architectures = "spacy-embedkit.StaticHashEmbed.v1"
output_width = 12
vector_width = 12
embed_rows = 4
key2row = {{"cat": 1, "dog": 1, "mat": 2}}
unseen_row = 3
"""


@pytest.mark.parametrize("kind", ["spacy", "embedkit"])
def test_static_vectors_add_up_with_a_learned_table(kind, tables, tmp_path):
    nlp, examples = make(with_vectors(tagger_with(SUM), tables / kind))
    [table] = nodes(nlp, "tagger", "word_table")
    [static] = nodes(nlp, "tagger", "static_vectors")
    start = table.get_param("E").copy()
    losses = train(nlp, examples, 10)
    assert losses[-1]["tagger"] < losses[0]["tagger"]
    E, W = table.get_param("E"), static.get_param("W")
    rows = dict(zip(WORDS, make_rows(len(WORDS)), strict=True))
    [Y] = embedding(nlp).predict([nlp.make_doc("cat mat the dog zebra")])
    expected = [E[1] + W @ rows["cat"], E[2] + W @ rows["mat"], E[3] + W @ rows["the"]]
    assert_allclose(Y, [*expected, E[1], E[3]], atol=1e-5)
    # No word has the first row, which decays.
    moved = abs(E - start).max(axis=1)
    assert moved[1:].min() > 5 * moved[0]
    assert_saved(nlp, tmp_path)


def test_static_vectors_of_another_width_are_refused(tables):
    """The running text leaves it open: the snippet has the setting, but ignores it."""
    wrong = SUM.replace("vector_width = 12", "vector_width = 300")
    with pytest.raises(ValueError, match="vectors 300 wide"):
        make(with_vectors(tagger_with(wrong), tables / "spacy"))
