"""Attribute rulers and lemmatizers that keep what they found, against spaCy's own."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.lang.en.lemmatizer import EnglishLemmatizer
from spacy.lang.fr.lemmatizer import FrenchLemmatizer
from spacy.lookups import Lookups
from spacy.pipeline import AttributeRuler, Lemmatizer
from spacy.tokens import Doc

from spacy_embedkit.acceleration import accelerate
from spacy_embedkit.components import accelerate_component, restore_component
from spacy_embedkit.components.attribute_ruler import CachedAttributeRuler
from spacy_embedkit.components.lemmatizer import CachedLemmatizer

NLP = spacy.blank("en")
WORDS = ["Cats", "cats", "sat", "sit", "the", " ", "3", "东京", "n't"]
TAGS, POS = ["NN", "VBD", "DT", ""], ["NOUN", "VERB", "PROPN", ""]
MORPHS = ["", "Number=Plur", "Number=Sing", "VerbForm=Inf"]
ANNOTATION = ["TAG", "POS", "MORPH", "LEMMA", "DEP", "NORM"]

words = st.lists(
    st.tuples(*map(st.sampled_from, (WORDS, TAGS, POS, MORPHS))), max_size=12
)
conditions = st.one_of(
    st.fixed_dictionaries({"TAG": st.sampled_from(TAGS[:3])}),
    st.fixed_dictionaries({"LOWER": st.sampled_from(["cats", "sat", "unseen"])}),
    st.fixed_dictionaries(
        {
            "TEXT": st.fixed_dictionaries(
                {"IN": st.lists(st.sampled_from(WORDS), max_size=2)}
            ),
            "POS": st.sampled_from(POS[:3]),
        }
    ),
    st.fixed_dictionaries(
        {"LOWER": st.sampled_from([{"REGEX": "^s"}, {"NOT_IN": ["cats"]}])}
    ),
    st.fixed_dictionaries({"IS_SPACE": st.booleans(), "MORPH": st.just(MORPHS[1])}),
    st.just({"LENGTH": 3}),
)
effects = st.dictionaries(
    st.sampled_from(["POS", "LEMMA", "TAG", "MORPH", "NORM", "DEP"]),
    st.just(None),
    min_size=1,
)
VALUES = {"POS": "ADJ", "LEMMA": "x", "TAG": "T", "MORPH": "Case=Nom", "NORM": "n"}
rules = st.lists(
    st.tuples(
        st.lists(st.lists(conditions, min_size=1, max_size=3), min_size=1, max_size=2),
        effects,
        st.sampled_from([0, 0, -1]),
    ),
    min_size=1,
    max_size=6,
)


def make_doc(rows):
    doc = Doc(NLP.vocab, words=[row[0] for row in rows])
    for token, (_, tag, pos, morph) in zip(doc, rows, strict=True):
        token.tag_, token.pos_ = tag, pos
        if morph:
            token.set_morph(morph)
    return doc


def add_rules(ruler, made):
    for nth, (patterns, attrs, index) in enumerate(made):
        values = {name: VALUES.get(name, "dep") for name in attrs}
        if "LEMMA" in values:
            values["LEMMA"] += str(nth)
        ruler.add(patterns, values, index)


def annotation(docs):
    return [doc.to_array(ANNOTATION).tolist() for doc in docs]


@given(rules, st.lists(words, max_size=4))
def test_ruler_sets_what_that_of_spacy_sets(made, texts):
    stock, ours = AttributeRuler(NLP.vocab), AttributeRuler(NLP.vocab)
    add_rules(stock, made)
    add_rules(ours, made)
    assert accelerate_component(ours).changed
    expected = annotation(list(stock.pipe([make_doc(text) for text in texts])))
    # Twice, as the second time all is known.
    for _ in range(2):
        docs = [make_doc(text) for text in texts]
        assert annotation(list(ours.pipe(docs, batch_size=3))) == expected
    assert annotation([ours(make_doc(text)) for text in texts]) == expected


def test_rules_that_change_count_from_the_next_doc_on():
    ruler = AttributeRuler(NLP.vocab)
    ruler.add([[{"TAG": "NN"}]], {"LEMMA": "one"})
    accelerate_component(ruler)
    rows = [("cats", "NN", "NOUN", "")]
    assert ruler(make_doc(rows))[0].lemma_ == "one"
    ruler.add([[{"TAG": "NN"}]], {"LEMMA": "two"})
    assert ruler(make_doc(rows))[0].lemma_ == "two"
    other = AttributeRuler(NLP.vocab)
    other.add([[{"TAG": "NN"}]], {"LEMMA": "three"})
    ruler.from_bytes(other.to_bytes())
    assert ruler(make_doc(rows))[0].lemma_ == "three"
    ruler.clear()
    with pytest.warns(UserWarning, match="W036"):
        assert ruler(make_doc(rows))[0].lemma_ == ""
    # One that only the matcher of spaCy knows.
    ruler.add([[{"TAG": "NN", "OP": "+"}]], {"LEMMA": "four"})
    assert ruler(make_doc(rows))[0].lemma_ == "four"


@pytest.mark.parametrize(
    ("pattern", "attrs", "reason"),
    [
        ([{"TAG": "NN", "OP": "+"}], {"POS": "X"}, "rule 0 asks for OP"),
        ([{"LENGTH": {">=": 2}}], {"POS": "X"}, "rule 0 asks for >="),
        ([{"ENT_TYPE": "ORG"}], {"POS": "X"}, "rule 0 asks for ENT_TYPE"),
        ([{}], {"POS": "X"}, "rule 0 has a pattern for any token"),
        ([{"TAG": "NN"}], {"ENT_TYPE": "X"}, "rule 0 sets ENT_TYPE"),
    ],
)
def test_other_rules_are_left_to_spacy(pattern, attrs, reason):
    ruler = AttributeRuler(NLP.vocab)
    ruler.add([pattern], attrs)
    assert accelerate_component(ruler).reason == reason
    assert type(ruler) is AttributeRuler


def test_rule_of_a_token_outside_its_pattern_is_left_to_spacy():
    ruler = AttributeRuler(NLP.vocab)
    ruler.add([[{"TAG": "NN"}]], {"POS": "X"}, index=1)
    assert accelerate_component(ruler).reason == "rule 0 sets token 1 of 1"


def test_error_of_a_doc_goes_to_the_handler_and_the_others_go_on():
    ruler = AttributeRuler(NLP.vocab)
    ruler.add([[{"TAG": "NN"}]], {"POS": "X"})
    accelerate_component(ruler)
    failed = []
    ruler.set_error_handler(lambda name, pipe, docs, err: failed.extend(docs))
    rows = [("cats", "NN", "NOUN", "")]
    docs = [make_doc(rows) for _ in range(3)]
    docs[1].from_array(["MORPH"], numpy.asarray([[0]], dtype="uint64"))
    broken = docs[1]
    ruler.add([[{"TAG": "NN"}]], {"MORPH": "Case=Nom"})
    ruler.attrs[-1][next(iter(ruler.attrs[-1]))] = 12345  # No such string.
    assert list(ruler.pipe(docs)) == []
    assert broken in failed


def test_doc_with_a_tag_that_is_no_string_fails_alone():
    ruler = AttributeRuler(NLP.vocab)
    ruler.add([[{"TAG": {"REGEX": "N"}}]], {"POS": "X"})
    accelerate_component(ruler)
    failed = []
    ruler.set_error_handler(lambda name, pipe, docs, err: failed.extend(docs))
    docs = [make_doc([("cats", "NN", "NOUN", "")]) for _ in range(3)]
    docs[1].from_array(["TAG"], numpy.asarray([12345], dtype="uint64"))
    broken = docs[1]
    done = list(ruler.pipe(docs))
    assert failed == [broken]
    assert [doc[0].pos_ for doc in done if doc is not None] == ["X", "X"]


def lookups(**more):
    tables = Lookups()
    tables.add_table("lemma_lookup", {"cats": "cat", "sat": "sit", **more})
    tables.add_table("lemma_index", {"noun": ["cat"], "verb": ["sit"]})
    tables.add_table("lemma_exc", {"verb": {"sat": ["sit"]}, "noun": {}})
    tables.add_table("lemma_rules", {"noun": [["s", ""]], "verb": [["at", "it"]]})
    return tables


def make_lemmatizer(kind, mode, *, overwrite=False, tables=None):
    lemmatizer = kind(NLP.vocab, None, mode=mode, overwrite=overwrite)
    lemmatizer.initialize(lookups=tables or lookups())
    return lemmatizer


LEMMATIZERS = [
    (Lemmatizer, "lookup"),
    (Lemmatizer, "rule"),
    (EnglishLemmatizer, "rule"),
    (FrenchLemmatizer, "rule"),
]


@pytest.mark.filterwarnings("ignore:.W108")
@pytest.mark.parametrize(("kind", "mode"), LEMMATIZERS)
@given(texts=st.lists(words, max_size=4), overwrite=st.booleans())
def test_lemmas_are_those_of_spacy(kind, mode, texts, overwrite):
    stock = make_lemmatizer(kind, mode, overwrite=overwrite)
    ours = make_lemmatizer(kind, mode, overwrite=overwrite)
    assert accelerate_component(ours).changed
    docs = [make_doc(text) for text in texts]
    for doc in docs[1:]:
        for token in doc[:2]:
            token.lemma_ = "set before"
    copies = [doc.copy() for doc in docs]
    expected = annotation(list(stock.pipe(docs)))
    for _ in range(2):
        again = [doc.copy() for doc in copies]
        assert annotation(list(ours.pipe(again, batch_size=3))) == expected
    assert annotation([ours(doc) for doc in copies]) == expected


def test_lookups_that_change_count_at_once():
    lemmatizer = make_lemmatizer(Lemmatizer, "lookup")
    accelerate_component(lemmatizer)
    rows = [("cats", "NN", "NOUN", "")]
    assert lemmatizer(make_doc(rows))[0].lemma_ == "cat"
    lemmatizer.lookups.get_table("lemma_lookup")["cats"] = "feline"
    assert lemmatizer(make_doc(rows))[0].lemma_ == "feline"


def test_rules_are_applied_again_once_their_cache_is_cleared():
    lemmatizer = make_lemmatizer(EnglishLemmatizer, "rule")
    accelerate_component(lemmatizer)
    rows = [("cats", "NNS", "NOUN", "Number=Plur")]
    assert lemmatizer(make_doc(rows))[0].lemma_ == "cat"
    exceptions = lemmatizer.lookups.get_table("lemma_exc")["noun"]
    exceptions["cats"] = ["feline"]
    # As in spaCy, which keeps what it found.
    assert lemmatizer(make_doc(rows))[0].lemma_ == "cat"
    lemmatizer.cache.clear()
    assert lemmatizer(make_doc(rows))[0].lemma_ == "feline"
    lemmatizer.lookups = lookups()
    lemmatizer.cache = {}
    assert lemmatizer(make_doc(rows))[0].lemma_ == "cat"


def test_method_of_a_user_is_called_for_each_token():
    lemmatizer = make_lemmatizer(Lemmatizer, "lookup")
    accelerate_component(lemmatizer)
    lemmatizer.lemmatize = lambda token: [f"{token.text}{token.i}"]
    doc = lemmatizer(make_doc([("cats", "", "", ""), ("cats", "", "", "")]))
    assert [token.lemma_ for token in doc] == ["cats0", "cats1"]


@pytest.mark.parametrize("kind", [AttributeRuler, EnglishLemmatizer])
def test_classes_of_users_stay(kind):
    class Own(kind):
        pass

    args = (None,) if kind is EnglishLemmatizer else ()
    pipe = Own(NLP.vocab, *args)
    assert not accelerate_component(pipe).changed
    assert type(pipe) is Own


def make_pipeline():
    nlp = spacy.blank("en")
    nlp.add_pipe("attribute_ruler").add(
        [[{"LOWER": {"REGEX": "^c"}}], [{"LOWER": "the"}, {"LOWER": "mat"}]],
        {"POS": "NOUN", "MORPH": "Number=Plur", "LEMMA": "from a rule"},
        index=-1,
    )
    nlp.add_pipe("lemmatizer", config={"mode": "lookup"}).initialize(lookups=lookups())
    return nlp


TEXTS = ["The cats sat on the mat", "", "Cats of the mat", "unheard words cats"] * 5


def test_pipeline_is_the_same_object_and_saves_the_same():
    nlp = make_pipeline()
    expected = annotation(list(nlp.pipe(TEXTS)))
    pipes, before = dict(nlp.components), nlp.to_bytes()
    result = accelerate(nlp)
    assert result.changed.keys() == pipes.keys()
    assert not result.left_alone
    assert dict(nlp.components) == pipes
    assert annotation(list(nlp.pipe(TEXTS))) == expected
    assert nlp.to_bytes() == before
    result.undo()
    types = [type(pipe) for pipe in pipes.values()]
    assert types == [AttributeRuler, EnglishLemmatizer]
    assert annotation(list(nlp.pipe(TEXTS))) == expected


@pytest.mark.parametrize(
    "make_copy", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))]
)
def test_copies_are_fast_and_give_the_same(make_copy):
    nlp = make_pipeline()
    expected = annotation(list(nlp.pipe(TEXTS)))
    accelerate(nlp)
    list(nlp.pipe(TEXTS))
    for name, kind in [
        ("attribute_ruler", CachedAttributeRuler),
        ("lemmatizer", CachedLemmatizer),
    ]:
        copied = make_copy(nlp.get_pipe(name))
        assert isinstance(copied, kind)
        assert copied.name == name
        docs = [NLP.make_doc(text) for text in TEXTS]
        mine, theirs = ([d.copy() for d in docs] for _ in range(2))
        restored = make_copy(copied)
        restore_component(restored)
        assert annotation(list(copied.pipe(mine))) == annotation(
            list(restored.pipe(theirs))
        )
    assert annotation(list(nlp.pipe(TEXTS))) == expected


def test_strings_of_a_memory_zone_are_not_kept():
    nlp = make_pipeline()
    accelerate(nlp)
    for _ in range(2):
        with nlp.memory_zone():
            doc = nlp("neverheard cats")
            assert [token.lemma_ for token in doc] == ["neverheard", "from a rule"]
        assert "neverheard" not in nlp.vocab.strings


def test_threads_get_the_same():
    nlp = make_pipeline()
    expected = annotation([nlp(text) for text in TEXTS])
    accelerate(nlp)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert annotation(list(pool.map(nlp, TEXTS))) == expected


def test_processes_get_the_same():
    nlp = make_pipeline()
    expected = annotation(list(nlp.pipe(TEXTS)))
    accelerate(nlp)
    assert annotation(list(nlp.pipe(TEXTS, n_process=2, batch_size=4))) == expected


def test_doc_of_another_vocab_gets_the_strings():
    lemmatizer = make_lemmatizer(Lemmatizer, "lookup", tables=lookups(sat="never seen"))
    accelerate_component(lemmatizer)
    other = spacy.blank("en")
    doc = lemmatizer(other.make_doc("sat"))
    assert doc[0].lemma_ == "never seen"
