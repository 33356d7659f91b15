"""The trainable lemmatizer that keeps what trees make of forms, against spaCy's own."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.pipeline import EditTreeLemmatizer
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import fix_random_seed

from spacy_embedkit import accelerate
from spacy_embedkit.components import accelerate_component, edit_tree_lemmatizer

FORMS = {"cats": "cat", "sat": "sit", "walked": "walk", "mice": "mouse", "the": "the"}
WORDS = [*FORMS, "dogs", "baked", "ice", "x", " ", "Über"]


@pytest.fixture(autouse=True)
def batches_of_any_size(monkeypatch):
    monkeypatch.setattr(edit_tree_lemmatizer, "MIN_TOKENS", 0)


def make_pipeline(**settings):
    """A pipeline whose trees are chosen by weights made up from a seed."""
    fix_random_seed(0)
    nlp = spacy.blank("en")
    config = {"min_tree_freq": 1, **settings}
    pipe = nlp.add_pipe("trainable_lemmatizer", config=config)
    reference = Doc(nlp.vocab, words=list(FORMS), lemmas=list(FORMS.values()))
    nlp.initialize(lambda: [Example(nlp.make_doc(reference.text), reference)])
    output = pipe.model.get_ref("output_layer")
    random = numpy.random.default_rng(0)
    output.set_param("W", random.normal(size=output.get_param("W").shape).astype("f"))
    return nlp


def lemmas(docs):
    return [[token.lemma_ for token in doc] for doc in docs]


def both(**settings):
    stock, ours = make_pipeline(**settings), make_pipeline(**settings)
    accelerate_component(ours.get_pipe("trainable_lemmatizer"))
    return stock, ours


PIPELINES = [
    both(backoff=backoff, overwrite=overwrite, top_k=top_k)
    for backoff in ("orth", "lower", None)
    for overwrite in (False, True)
    for top_k in (1, 2)
]


@pytest.mark.parametrize(("stock", "ours"), PIPELINES)
@given(texts=st.lists(st.lists(st.sampled_from(WORDS), max_size=9), max_size=5))
def test_lemmas_are_those_of_spacy(stock, ours, texts):
    found = []
    for nlp in (stock, ours):
        docs = [Doc(nlp.vocab, words=words) for words in texts]
        for doc in docs[1:]:
            for token in doc[:2]:
                token.lemma_ = "set before"
        pipe = nlp.get_pipe("trainable_lemmatizer")
        trees = pipe.predict([doc.copy() for doc in docs]) if docs else []
        found.append(
            ([tree.tolist() for tree in trees], lemmas(pipe.pipe(docs, batch_size=3)))
        )
    assert found[0] == found[1]


TEXTS = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))] * 4


@pytest.fixture
def pair():
    return both()


def check(stock, ours):
    expected = lemmas(stock.pipe(TEXTS))
    assert len({lemma for doc in expected for lemma in doc}) > len(WORDS)
    assert lemmas(ours.pipe(TEXTS)) == expected


class Watched(dict):
    """A dict that notes new keys."""

    def __init__(self, known, new):
        super().__init__(known)
        self.new = new

    def __setitem__(self, key, value):
        self.new.append(key)
        super().__setitem__(key, value)


def test_trees_are_applied_once(pair, monkeypatch):
    stock, ours = pair
    check(stock, ours)
    applied = []
    memo = ours.get_pipe("trainable_lemmatizer").__dict__[edit_tree_lemmatizer.MEMO]
    monkeypatch.setattr(memo, "lemmas", Watched(memo.lemmas, applied))
    check(stock, ours)
    assert not applied
    list(ours.pipe(["unheardof", "unheardof unheardof"]))
    assert len(applied) <= 3


def test_new_labels_count_at_once(pair):
    stock, ours = pair
    check(stock, ours)
    for nlp in (stock, ours):
        pipe = nlp.get_pipe("trainable_lemmatizer")
        data = pipe.label_data
        # The same numbers mean other trees.
        for tree in data["trees"]:
            if "subst" in tree:
                tree["subst"] = f"{tree['subst']}new"
        pipe._add_labels(data)
    check(stock, ours)
    assert any("new" in lemma for doc in lemmas(ours.pipe(TEXTS)) for lemma in doc)


def test_saving_loading_and_undoing(pair, tmp_path):
    stock, _ = pair
    ours = make_pipeline()
    list(ours.pipe(TEXTS))
    before = ours.to_bytes()
    result = accelerate(ours)
    assert "annotation cached" in result.changed["trainable_lemmatizer"]
    check(stock, ours)
    assert ours.to_bytes() == before
    pipe = ours.get_pipe("trainable_lemmatizer")
    ours.from_bytes(before)
    check(stock, ours)
    ours.to_disk(tmp_path)
    check(spacy.load(tmp_path), ours)
    result.undo()
    assert type(pipe) is EditTreeLemmatizer
    assert not [name for name in pipe.__dict__ if "embedkit" in name]
    check(stock, ours)


def test_copies_are_fast_and_give_the_same(pair):
    stock, ours = pair
    check(stock, ours)
    copied = pickle.loads(pickle.dumps(ours))
    kind = type(copied.get_pipe("trainable_lemmatizer"))
    assert kind is edit_tree_lemmatizer.CachedEditTreeLemmatizer
    # Lemmas are not part of it.
    memo = copied.get_pipe("trainable_lemmatizer").__dict__
    assert memo[edit_tree_lemmatizer.MEMO] is None
    check(stock, copied)


def test_training_goes_on(pair):
    stock, ours = pair
    for nlp in (stock, ours):
        reference = Doc(nlp.vocab, words=["went", "ate"], lemmas=["go", "eat"])
        optimizer = nlp.create_optimizer()
        for _ in range(3):
            example = Example(nlp.make_doc(reference.text), reference)
            nlp.update([example], sgd=optimizer)
    check(stock, ours)


def test_strings_of_a_memory_zone_are_not_kept(pair):
    _, ours = pair
    for _ in range(2):
        with ours.memory_zone():
            docs = list(ours.pipe(["unheardofs"] * 3))
            assert all(doc[0].lemma_.startswith("unheard") for doc in docs)
        assert "unheardofs" not in ours.vocab.strings


def test_threads_get_the_same(pair):
    stock, ours = pair
    expected = lemmas(stock.pipe(TEXTS))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert lemmas(pool.map(ours, TEXTS)) == expected


def test_memo_has_a_bound(pair, monkeypatch):
    monkeypatch.setattr(edit_tree_lemmatizer, "MAX_KEPT", 5)
    _, ours = pair
    pipe = ours.get_pipe("trainable_lemmatizer")
    for nth in range(20):
        ours(f"word{nth}")
        assert len(pipe.__dict__[edit_tree_lemmatizer.MEMO].lemmas) <= 6


def test_classes_of_users_stay():
    class Own(EditTreeLemmatizer):
        pass

    nlp = make_pipeline()
    pipe = Own(nlp.vocab, nlp.get_pipe("trainable_lemmatizer").model)
    assert not accelerate_component(pipe).changed
    assert type(pipe) is Own
