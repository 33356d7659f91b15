"""Annotation setters: vectors, own attributes, released memory, chains."""

import gc
import pickle
import weakref

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose, assert_array_equal
from spacy.tokens import Doc, DocBin

from spacy_embedkit.annotation_setters import (
    add_vector_hooks,
    build_chain_v1,
    build_custom_attr_v1,
    build_doc_vectors_v1,
    build_release_v1,
    build_span_vectors_v1,
    build_token_vectors_v1,
)
from spacy_embedkit.transformer.release import Release

from .helpers.tiny_pipelines import NO_SETTER, TEXTS, make_pipeline

pytest.importorskip("spacy_transformers", reason="needs the extra transformers")
PREDICTING = ("sentencizer", "transformer")
LISTENING = ("sentencizer", "transformer", "tagger")
RELEASING = (*LISTENING, "embedkit_release")
CHAIN = """
@annotation_setters = "spacy-embedkit.chain.v1"

[components.transformer.set_extra_annotations.*.vectors]
@annotation_setters = "spacy-embedkit.doc_vectors.v1"

[components.transformer.set_extra_annotations.*.attr]
@annotation_setters = "spacy-embedkit.custom_attr.v1"
name = "pooled"
what = "pooler_output"

[components.transformer.set_extra_annotations.*.again]
@annotation_setters = "spacy-embedkit.release.v1"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from .helpers.tiny_bert import make_bert

    return make_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def plain(folder):
    """A transformer that sets trf_data alone, and a tagger that listens."""
    return make_pipeline(folder, pipeline=LISTENING)


def run(nlp, setter, texts=TEXTS):
    """Docs of a pipeline whose transformer has another setter, and no listeners."""
    transformer = nlp.get_pipe("transformer")
    before, transformer.set_extra_annotations = (
        transformer.set_extra_annotations,
        setter,
    )
    try:
        return list(nlp.pipe(texts, disable=["tagger"]))
    finally:
        transformer.set_extra_annotations = before


def rows_of(doc):
    """Mean wordpiece row of each token, spelled out."""
    data = doc._.trf_data
    if not len(doc):
        return numpy.zeros((0, 0), dtype="f")
    flat = data.model_output.last_hidden_state.reshape(-1, 16)
    return numpy.asarray(
        [
            flat[data.align[i].dataXd.reshape(-1)].mean(axis=0)
            if data.align.lengths[i]
            else numpy.zeros(16)
            for i in range(len(doc))
        ]
    )


@pytest.mark.parametrize(
    ("build", "hooked"),
    [
        (build_token_vectors_v1, {"token"}),
        (build_span_vectors_v1, {"token", "span"}),
        (build_doc_vectors_v1, {"token", "span", "doc"}),
    ],
)
def test_vectors_are_hooked_to_what_the_name_says(plain, build, hooked):
    for doc in run(plain, build()):
        rows = rows_of(doc)
        assert_allclose(doc._.token_vectors, rows, atol=1e-5)
        if not len(doc):
            continue
        parts = {"token": doc[0], "span": doc[:2], "doc": doc}
        means = {"token": rows[0], "span": rows[:2].mean(0), "doc": rows.mean(0)}
        for kind, part in parts.items():
            if kind not in hooked:
                continue
            assert_allclose(part.vector, means[kind], atol=1e-5)
            assert part.vector.dtype == "float32"
            assert part.has_vector
            norm = numpy.linalg.norm(means[kind])
            assert part.vector_norm == pytest.approx(norm, rel=1e-4)
            assert part.similarity(part) == pytest.approx(1.0, rel=1e-4)
        assert bool(doc.user_hooks) == ("doc" in hooked)
        assert bool(doc.user_span_hooks) == ("span" in hooked)


def test_token_without_wordpieces_has_a_zero_vector(plain):
    [doc] = run(plain, build_doc_vectors_v1(), ["The  cat"])
    assert doc[1].is_space
    assert not doc[1].has_vector
    assert doc[0].has_vector
    assert doc[0].similarity(doc[1]) == 0.0


def test_similarity_is_the_cosine(plain):
    doc, other = run(plain, build_doc_vectors_v1(), ["The cat sat.", "A dog ran."])
    norms = numpy.linalg.norm(doc.vector) * numpy.linalg.norm(other.vector)
    expected = doc.vector @ other.vector / norms
    assert doc.similarity(other) == pytest.approx(expected, rel=1e-4)
    assert doc[0].similarity(doc[:1]) == pytest.approx(1.0, rel=1e-5)


def test_empty_doc_has_a_zero_vector(plain):
    empty, cat = run(plain, build_doc_vectors_v1(), ["", "cat"])
    # Alone in its batch it never meets the transformer.
    [alone] = run(plain, build_doc_vectors_v1(), [""])
    for doc in (empty, alone):
        assert not doc.has_vector
        assert doc.similarity(cat) == cat.similarity(doc) == 0.0
        assert doc.similarity(doc) == 0.0


def test_similarity_to_another_width_is_named(plain):
    other = spacy.blank("en")
    other.vocab.set_vector("cat", numpy.ones(4, dtype="f"))
    [doc] = run(plain, build_doc_vectors_v1(), ["cat"])
    with pytest.raises(ValueError, match="vectors 16 and 4 wide"):
        doc.similarity(other("cat"))


def test_stock_docs_have_no_vector(plain):
    doc = plain(TEXTS[0])
    assert doc.vector.shape == (0,)
    assert not doc.has_vector


def test_norm_is_not_that_of_older_vectors(plain):
    doc = plain.make_doc(TEXTS[0])
    assert doc.vector_norm == 0.0
    for name in PREDICTING:
        doc = plain.get_pipe(name)(doc)
    assert doc.vector_norm == 0.0
    doc._.token_vectors = rows_of(doc)
    assert add_vector_hooks(doc).vector_norm > 0


def test_vectors_of_other_tokens_are_refused(plain):
    [doc] = run(plain, build_doc_vectors_v1(), TEXTS[:1])
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[:2])
    with pytest.raises(ValueError, match="11 token vectors, but the doc has 10"):
        _ = doc.vector


def test_doc_of_a_span_has_no_vector(plain):
    [doc] = run(plain, build_doc_vectors_v1(), TEXTS[:1])
    assert doc[:3].has_vector
    assert not doc[:3].as_doc().has_vector


@pytest.mark.parametrize(
    "what", ["token_vectors", "span_means", "pooler_output", "last_hidden_state"]
)
def test_custom_attr_holds_what_was_asked_for(plain, what):
    name = f"got_{what}"
    docs = run(plain, build_custom_attr_v1(name, what))
    for doc in docs:
        data, value = doc._.trf_data, doc._.get(name)
        if not len(doc):
            assert not len(value)
        elif what == "token_vectors":
            assert_allclose(value, rows_of(doc), atol=1e-5)
            assert not doc.user_token_hooks
        elif what == "span_means":
            hidden, mask = data.model_output[0], data.wordpieces.attention_mask
            means = [h[m == 1].mean(axis=0) for h, m in zip(hidden, mask, strict=True)]
            assert_allclose(value, means, atol=1e-5)
        else:
            assert_array_equal(value, data.model_output[what])
            assert value.base is None


def test_custom_attr_keeps_trf_data_that_is_released(plain):
    setter = build_chain_v1(build_custom_attr_v1("all", "trf_data"), build_release_v1())
    [doc] = run(plain, setter, TEXTS[:1])
    assert doc._.all.model_output.last_hidden_state.shape[-1] == 16


@pytest.mark.parametrize("name", ["trf_data", "token_vectors", "a b", "", "1"])
def test_name_that_is_not_an_attribute_is_refused(name):
    with pytest.raises(ValueError, match=r"name is .*choose another"):
        build_custom_attr_v1(name)


def test_extension_that_computes_is_refused():
    Doc.set_extension("computed", getter=len)
    with pytest.raises(ValueError, match=r"doc\._\.computed .* computes its value"):
        build_custom_attr_v1("computed")


def test_output_the_model_lacks_is_named(plain):
    transformer = plain.get_pipe("transformer")
    docs = list(plain.pipe(TEXTS, disable=["tagger"]))
    batch = transformer.predict(docs)
    hidden = batch.model_output.last_hidden_state
    batch.model_output = type(batch.model_output)(last_hidden_state=hidden)
    with pytest.raises(ValueError, match=r"pooler_output, .* only last_hidden_state"):
        build_custom_attr_v1("pooled", "pooler_output")(docs, batch)


def test_stock_needs_the_extension_first_and_forgets_the_setter(folder):
    nlp = make_pipeline(folder, pipeline=PREDICTING)

    def setter(docs, batch):
        for doc in docs:
            doc._.undeclared = 1

    nlp.get_pipe("transformer").set_extra_annotations = setter
    with pytest.raises(AttributeError, match="E047"):
        nlp("cat")
    Doc.set_extension("undeclared", default=None)
    assert nlp("cat")._.undeclared == 1
    restored = spacy.util.load_model_from_config(nlp.config, auto_fill=True)
    restored.from_bytes(nlp.to_bytes())
    assert restored("cat")._.undeclared is None


def test_chain_calls_setters_in_order():
    calls = []
    setters = [lambda docs, batch, n=n: calls.append(n) for n in (3, 1, 2)]
    build_chain_v1(*setters)([], None)
    assert calls == [3, 1, 2]
    build_chain_v1()([], None)


def test_setters_survive_saving_in_order(folder, tmp_path):
    nlp = make_pipeline(folder, setter=CHAIN, pipeline=PREDICTING)
    expected = nlp(TEXTS[0])
    nlp.to_disk(tmp_path / "nlp")
    loaded = spacy.load(tmp_path / "nlp")
    *docs, empty = [loaded(TEXTS[0]), *loaded.pipe([TEXTS[0], ""])]
    for doc in docs:
        assert_allclose(doc.vector, expected.vector, atol=1e-5)
        assert_allclose(doc._.pooled, expected._.pooled, atol=1e-5)
        assert repr(doc._.trf_data) == "ReleasedData()"
    assert not len(empty._.pooled)


@pytest.mark.filterwarnings("ignore:.*W109")  # spaCy: hooks are not saved
@pytest.mark.parametrize("setter", [CHAIN, NO_SETTER])
def test_docs_are_saved_and_pickled(folder, setter):
    nlp = make_pipeline(folder, setter=setter, pipeline=PREDICTING)
    docs = list(nlp.pipe(TEXTS))
    copies = {
        "bytes": [Doc(nlp.vocab).from_bytes(doc.to_bytes()) for doc in docs],
        "bin": DocBin(docs=docs, store_user_data=True).get_docs(nlp.vocab),
        "pickle": pickle.loads(pickle.dumps(docs)),
    }
    for kind, others in copies.items():
        for doc, other in zip(docs, others, strict=True):
            if setter == NO_SETTER:
                assert_array_equal(rows_of(other), rows_of(doc))
                continue
            assert_array_equal(other._.token_vectors, doc._.token_vectors)
            assert_array_equal(other._.pooled, doc._.pooled)
            assert bool(other.user_hooks) == (kind == "pickle")
            assert_array_equal(add_vector_hooks(other).vector, doc.vector)


@pytest.mark.filterwarnings("ignore:.*W109")
def test_processes_send_what_was_set(folder):
    nlp = make_pipeline(
        folder,
        architecture="spacy-embedkit.TransformerModel.v1",
        setter=CHAIN,
        pipeline=PREDICTING,
    )
    sent = nlp.pipe(TEXTS, n_process=2, batch_size=2)
    for doc, other in zip(nlp.pipe(TEXTS), sent, strict=True):
        if len(doc):
            assert_allclose(add_vector_hooks(other).vector, doc.vector, atol=1e-5)


def arrays_in(value):
    """All arrays in the user data of a doc."""
    if isinstance(value, numpy.ndarray):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from arrays_in(part)
    elif hasattr(value, "dataXd"):
        yield from (value.data, value.lengths)
    elif hasattr(value, "wordpieces"):
        if repr(value) != "ReleasedData()":
            yield from arrays_in(vars(value))
    elif hasattr(value, "input_ids"):
        yield from arrays_in(vars(value))


KEPT = {"nothing": 0, "token_vectors": 1, "last_hidden_state": 1}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("keep", KEPT)
@pytest.mark.parametrize("as_component", [False, True])
def test_release_keeps_what_was_asked_for_and_not_the_batch(
    plain, keep, dtype, as_component
):
    expected = [rows_of(doc) for doc in plain.pipe(TEXTS)]
    batches = []
    setters = [lambda docs, batch: batches.append(weakref.ref(batch))]
    if not as_component:
        setters.append(build_release_v1(keep, dtype))
    docs = run(plain, build_chain_v1(*setters))
    if as_component:
        docs = [Release("release", keep, dtype, "cpu")(doc) for doc in docs]
    gc.collect()
    assert [batch() for batch in batches] == [None] * len(batches)
    for doc, rows in zip(docs, expected, strict=True):
        arrays = list(arrays_in(doc.user_data))
        # A view of more than itself would keep the arrays of the batch.
        bases = [array if array.base is None else array.base for array in arrays]
        assert sum(a.nbytes for a in bases) == sum(a.nbytes for a in arrays)
        floats = [array for array in arrays if array.dtype == dtype]
        if not len(doc):
            continue
        if keep == "token_vectors":
            assert_allclose(doc._.token_vectors, rows, atol=0.01)
            assert doc._.token_vectors.dtype == dtype
            assert add_vector_hooks(doc)[0].vector.dtype == "float32"
        if keep == "last_hidden_state":
            assert_allclose(rows_of(doc), rows, atol=0.01)
            assert list(doc._.trf_data.model_output) == ["last_hidden_state"]
            assert doc._.trf_data.model_output.last_hidden_state.dtype == dtype
        else:
            with pytest.raises(ValueError, match="trf_data was released"):
                _ = doc._.trf_data.model_output
        assert bool(floats) == (KEPT[keep] > 0)


def test_listeners_read_before_the_component_releases(folder, plain):
    nlp = make_pipeline(folder, pipeline=RELEASING, release='keep = "token_vectors"')
    tagger = nlp.get_pipe("tagger")
    nlp.get_pipe("transformer").from_bytes(plain.get_pipe("transformer").to_bytes())
    tagger.from_bytes(plain.get_pipe("tagger").to_bytes())
    texts = TEXTS * 5
    for batch_size in (1, 3, 100):
        docs = list(nlp.pipe(texts, batch_size=batch_size))
        for doc, other in zip(docs, plain.pipe(texts), strict=True):
            assert [t.tag_ for t in doc] == [t.tag_ for t in other]
            assert_allclose(doc._.token_vectors, rows_of(other), atol=1e-5)
            assert repr(doc._.trf_data) == "ReleasedData()"
            assert doc.to_bytes()


def test_component_is_saved_with_its_settings(folder):
    nlp = make_pipeline(
        folder,
        pipeline=RELEASING,
        release='keep = "last_hidden_state"\ndtype = "float16"',
    )
    restored = spacy.util.load_model_from_config(nlp.config, auto_fill=True)
    restored.from_bytes(nlp.to_bytes())
    hidden = restored("cat")._.trf_data.model_output.last_hidden_state
    assert hidden.dtype == "float16"


@pytest.mark.parametrize("keep", ["nothing", "token_vectors"])
def test_listener_after_a_release_gets_the_remedy(plain, keep):
    [doc] = run(plain, build_release_v1(keep), TEXTS[:1])
    with pytest.raises(ValueError, match="put the component embedkit_release after"):
        plain.get_pipe("tagger")(doc)


def test_stock_listener_takes_missing_data_for_zeros(plain):
    """Why released data is an object of its own, not None."""
    doc = plain(TEXTS[0])
    doc._.trf_data = None
    assert plain.get_pipe("tagger")(doc)


def test_training_with_the_component_last(folder):
    from .helpers.tiny_pipelines import tagged

    nlp = make_pipeline(folder, pipeline=RELEASING)
    examples = [tagged(nlp, text) for text in TEXTS[:1]]
    for _ in range(2):
        nlp.update(examples, annotates=["sentencizer"], losses=(losses := {}))
        nlp.evaluate(examples)
    assert losses["tagger"] > 0


def test_release_of_docs_without_data(plain):
    doc = plain.make_doc("cat")
    release = Release("release", "token_vectors", "float32", "cpu")
    assert release(release(doc)) is doc
    assert doc._.trf_data is None


def test_docs_that_are_kept_take_no_more_memory_than_their_tokens(folder):
    """Bytes of arrays that 200 docs hold on to; stock keeps every batch."""
    nlp = make_pipeline(folder, pipeline=RELEASING)
    texts = [TEXTS[0]] * 200
    kept = list(nlp.pipe(texts, batch_size=50))
    assert sum(a.nbytes for doc in kept for a in arrays_in(doc.user_data)) == 0
    with nlp.select_pipes(disable="embedkit_release"):
        stock = list(nlp.pipe(texts, batch_size=50))
    arrays = [a for doc in stock for a in arrays_in(doc.user_data)]
    assert sum(a.nbytes for a in arrays) > 200 * 1000


def test_gpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("spacy_embedkit.transformer.release.has_cupy_gpu", False)
    with pytest.raises(ValueError, match=r"release\.v1: device is gpu, but there is"):
        build_release_v1(device="gpu")
    with pytest.raises(ValueError, match="embedkit_release: device is gpu"):
        spacy.blank("en").add_pipe("embedkit_release", config={"device": "gpu"})


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:.*W109")
def test_gpu_arrays_are_moved(folder):
    cupy = pytest.importorskip("cupy", reason="needs cupy and a GPU")
    spacy.require_gpu()
    try:
        for release, kind in (("cpu", numpy.ndarray), ("gpu", cupy.ndarray)):
            nlp = make_pipeline(
                folder,
                pipeline=RELEASING,
                release=f'keep = "token_vectors"\ndevice = "{release}"',
            )
            doc = nlp(TEXTS[0])
            assert isinstance(doc._.token_vectors, kind)
            loaded = Doc(nlp.vocab).from_bytes(doc.to_bytes())
            assert isinstance(loaded._.token_vectors, numpy.ndarray)
    finally:
        spacy.require_cpu()
