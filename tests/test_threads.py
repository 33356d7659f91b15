"""spacy_embedkit.pipe against nlp.pipe."""

import threading

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Model, Shim

import spacy_embedkit
from spacy_embedkit.checks import InputError

TEXTS = [f"word{i} of text {i}" for i in range(50)]


THREADS: set[str] = set()


@Language.component("note_thread")
def note_thread(doc: Doc) -> Doc:
    """Note which thread has worked, and fail at "fail"."""
    THREADS.add(threading.current_thread().name)
    if doc[0].text == "fail":
        raise ValueError("this one")
    return doc


@pytest.fixture
def counted():
    """A pipeline, and the threads that work in it."""
    THREADS.clear()
    nlp = spacy.blank("en")
    nlp.add_pipe("note_thread")
    nlp.add_pipe("sentencizer")
    return nlp, THREADS


def test_docs_come_in_order_from_several_threads(counted):
    nlp, threads = counted
    docs = list(spacy_embedkit.pipe(nlp, iter(TEXTS), n_threads=3, batch_size=4))
    assert [doc.text for doc in docs] == TEXTS
    assert all(doc.has_annotation("SENT_START") for doc in docs)
    assert all(name.startswith("spacy-embedkit") for name in threads)


def test_contexts_docs_and_disabled_components(counted):
    nlp, threads = counted
    pairs = [(nlp.make_doc(text), i) for i, text in enumerate(TEXTS)]
    found = list(
        spacy_embedkit.pipe(
            nlp,
            pairs,
            n_threads=2,
            batch_size=3,
            as_tuples=True,
            disable=["note_thread"],
        )
    )
    assert [(doc.text, i) for doc, i in found] == [*zip(TEXTS, range(50), strict=True)]
    assert not threads


def test_error_is_raised_in_its_place_and_no_more_texts_are_read(counted):
    nlp, _ = counted
    read = []

    def texts():
        for i in range(10_000):
            read.append(i)
            yield "fail" if i == 8 else f"text {i}"

    docs = spacy_embedkit.pipe(nlp, texts(), n_threads=2, batch_size=4)
    assert [next(docs).text for _ in range(8)] == [f"text {i}" for i in range(8)]
    with pytest.raises(ValueError, match="this one"):
        next(docs)
    assert len(read) < 100
    # Those who stop early don't wait for the rest.
    docs = spacy_embedkit.pipe(nlp, TEXTS, n_threads=2, batch_size=1)
    assert next(docs).text == TEXTS[0]
    docs.close()


def test_handled_errors_leave_the_other_docs(counted):
    nlp, _ = counted
    failed = []
    nlp.set_error_handler(lambda name, pipe, docs, err: failed.extend(docs))
    texts = ["a", "fail", "b"]
    docs = spacy_embedkit.pipe(nlp, texts, n_threads=2, batch_size=2)
    assert [doc.text for doc in docs] == ["a", "b"]
    assert [doc.text for doc in failed] == ["fail"]


def test_one_thread_and_wrong_numbers(counted):
    nlp, threads = counted
    assert len(list(spacy_embedkit.pipe(nlp, TEXTS, n_threads=1))) == 50
    assert threads == {"MainThread"}
    assert len(list(spacy_embedkit.pipe(nlp, TEXTS))) == 50
    assert list(spacy_embedkit.pipe(nlp, [], n_threads=2)) == []
    with pytest.raises(InputError, match="n_threads is 0, but 1 or more"):
        spacy_embedkit.pipe(nlp, TEXTS, n_threads=0)
    with pytest.raises(InputError, match="batch_size is 0, but 1 or more"):
        spacy_embedkit.pipe(nlp, TEXTS, batch_size=0)


def test_models_of_other_libraries_stay_on_one_thread(counted):
    nlp, threads = counted
    nlp.add_pipe("tagger").model = Model(
        "torch", lambda model, X, is_train: (X, lambda dY: dY), shims=[Shim(None)]
    )
    docs = spacy_embedkit.pipe(nlp, TEXTS, n_threads=2, disable=["tagger"])
    assert len(list(docs)) == len(TEXTS)
    assert threads == {"MainThread"}
