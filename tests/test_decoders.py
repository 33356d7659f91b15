"""The entity recognizer and the parser that take the place of spaCy's."""

import pickle
import threading

import numpy
import pytest
import spacy
from spacy.pipeline import DependencyParser, EntityRecognizer
from spacy.tokens import Doc
from spacy.training import Example

from spacy_embedkit.acceleration import accelerate
from spacy_embedkit.components import (
    FastDependencyParser,
    FastEntityRecognizer,
    accelerate_component,
    restore_component,
)
from stress.decoders import check_round, describe

TEXTS = [
    "Jane Doe went to New York . She likes it there , says Bob .",
    "",
    "The old cat sat on the mat of Mr Smith .",
    "No",
    "one two three four five six seven eight nine ten " * 3,
]
HEADS = [2, 0, 2, 2, 5, 3, 2, 8, 8, 8, 8, 8, 8, 14, 8, 8]


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_random_systems_decode_as_those_of_spacy(first):
    n_tokens = n_decoded = 0
    for seed in range(first, first + 20):
        tokens, decoded, differences = check_round(seed)
        assert not differences
        n_tokens, n_decoded = n_tokens + tokens, n_decoded + decoded
    # The rest has labels that were added, which is left to spaCy.
    assert n_decoded > n_tokens / 3


def make_pipeline():
    """A pipeline whose two components share a tok2vec, with random weights."""
    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec")
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 96}
    for name in ("parser", "ner"):
        more = {"min_action_freq": 1} if name == "parser" else {}
        pipe = nlp.add_pipe(name, config=more)
        pipe.model = nlp.create_pipe(
            name, config={"model": {"tok2vec": listener}}
        ).model
    nlp.initialize(lambda: make_examples(nlp))
    random = numpy.random.default_rng(0)
    for name in ("parser", "ner"):
        upper = nlp.get_pipe(name).model.get_ref("upper")
        for param in ("W", "b"):
            shape = upper.get_param(param).shape
            upper.set_param(param, random.normal(size=shape).astype("f"))
    return nlp


def make_examples(nlp):
    words = TEXTS[0].split()
    doc = Doc(nlp.vocab, words=words)
    ents = ["B-PER", "I-PER", "O", "O", "B-GPE", "I-GPE", *["O"] * 7, "B-PER", "O"]
    deps = [f"label{i % 4}" if i != head else "ROOT" for i, head in enumerate(HEADS)]
    given = Doc(
        nlp.vocab,
        words=words,
        ents=ents[: len(words)],
        heads=HEADS[: len(words)],
        deps=deps[: len(words)],
    )
    return [Example(doc, given)]


def annotate(nlp, **settings):
    return [describe(doc) for doc in nlp.pipe(TEXTS, **settings)]


@pytest.fixture
def pair():
    """A stock pipeline, and the same accelerated."""
    stock, ours = make_pipeline(), make_pipeline()
    ours.from_bytes(stock.to_bytes())
    accelerate(ours)
    assert [type(pipe) for _, pipe in ours.pipeline[1:]] == [
        FastDependencyParser,
        FastEntityRecognizer,
    ]
    return stock, ours


def test_annotation_is_the_same_one_by_one_in_batches_and_in_processes(pair):
    stock, ours = pair
    expected = annotate(stock)
    # Some of each kind: entities, heads on both sides.
    rows = [row for doc in expected for row in doc[1]]
    assert {row[0] for row in rows} == {1, 2, 3}
    assert {numpy.int64(numpy.uint64(row[5])) for row in rows} > {-1, 0, 1}
    assert annotate(ours) == expected
    assert annotate(ours, batch_size=2) == expected
    assert annotate(ours, n_process=2, batch_size=1) == expected
    assert [describe(ours(text)) for text in TEXTS] == expected


def test_threads_share_a_pipeline(pair):
    stock, ours = pair
    expected, found = annotate(stock), []

    def run():
        found.append(annotate(ours) == expected)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


def test_undo_restores_the_objects_as_they_would_be_by_now():
    nlp = make_pipeline()
    before, data = dict(nlp.components), nlp.to_bytes()
    result = accelerate(nlp)
    assert nlp.to_bytes() == data
    assert str(accelerate(nlp)) == str(result)
    nlp.get_pipe("ner").add_label("NEW")
    nlp.get_pipe("parser").cfg["beam_width"] = 2
    result.undo()
    assert all(pipe is before[name] for name, pipe in nlp.components)
    assert "NEW" in before["ner"].labels
    assert before["parser"].cfg["beam_width"] == 2


def test_references_taken_before_stay_valid(pair):
    _, ours = pair
    stock = restore_component(ours.get_pipe("ner"))
    assert type(stock) is EntityRecognizer
    docs = [ours.make_doc(text) for text in TEXTS]
    docs = list(ours.get_pipe("tok2vec").pipe(docs))
    copies = [doc.copy() for doc in docs]
    for doc, copy in zip(docs, copies, strict=True):
        copy.tensor = doc.tensor
    found = map(describe, ours.get_pipe("ner").pipe(docs))
    assert list(found) == list(map(describe, stock.pipe(copies)))


def test_pickles_and_files_annotate_the_same(pair, tmp_path):
    stock, ours = pair
    expected = annotate(stock)
    copy = pickle.loads(pickle.dumps(ours))
    assert isinstance(copy.get_pipe("ner"), FastEntityRecognizer)
    assert annotate(copy) == expected
    ours.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert type(loaded.get_pipe("parser")) is DependencyParser
    assert annotate(loaded) == expected


def test_config_alone_accelerates_an_installed_pipeline(pair, tmp_path):
    stock, _ = pair
    stock.to_disk(tmp_path)
    callback = {"@callbacks": "spacy-embedkit.accelerate.v1"}
    loaded = spacy.load(tmp_path, config={"nlp": {"after_pipeline_creation": callback}})
    assert isinstance(loaded.get_pipe("parser"), FastDependencyParser)
    # Weights came after that.
    assert loaded.get_pipe("parser")._find_reason() is None
    assert annotate(loaded) == annotate(stock)
    # Before there are any, it says so as spaCy's would.
    new = spacy.blank("en")
    new.add_pipe("ner")
    accelerate(new)
    with pytest.raises(ValueError, match="E109"):
        new("text")


def test_weights_that_were_trained_count_at_once(pair):
    stock, ours = pair
    optimizer, seen = ours.resume_training(), []
    for _ in range(3):
        ours.update(make_examples(ours), sgd=optimizer, drop=0.1)
        seen.append(annotate(ours))
        stock.from_bytes(ours.to_bytes())
        assert annotate(stock) == seen[-1]
    assert seen[0] != seen[2]


def test_weights_that_were_replaced_count_at_once(pair):
    stock, ours = pair
    upper = ours.get_pipe("ner").model.get_ref("upper")
    key = (upper.id, "W")
    old = annotate(ours)
    with ours.get_pipe("ner").model.use_params({key: -upper.get_param("W")}):
        assert annotate(ours) != old
    assert annotate(ours) == old
    pipe = make_pipeline().get_pipe("ner")
    upper = pipe.model.get_ref("upper")
    upper.set_param("b", upper.get_param("b")[::-1].copy())
    ours.get_pipe("ner").from_bytes(pipe.to_bytes())
    stock.get_pipe("ner").from_bytes(pipe.to_bytes())
    assert annotate(ours) == annotate(stock) != old


@pytest.mark.parametrize(
    ("ref", "name", "shape"),
    [
        ("lower", "b", (64, 1)),
        ("lower", "b", (32, 2)),
        ("lower", "pad", (1, 3, 2, 64)),
        ("upper", "W", (10, 63)),
        ("upper", "b", (9,)),
    ],
)
def test_weights_that_do_not_fit_are_refused(pair, ref, name, shape):
    pipe = pair[1].get_pipe("ner")
    node = pipe.model.get_ref(ref)
    node.set_param(name, numpy.zeros(shape, dtype="f"))
    with pytest.raises(ValueError, match="weights of parser_model don't fit"):
        pair[1](TEXTS[0])


def test_labels_that_were_exchanged_for_as_many_count_at_once(pair):
    _, ours = pair
    pipe = ours.get_pipe("ner")
    before = annotate(ours)
    actions = {
        move: {f"{label}_X" if label else "": n for label, n in labels.items()}
        for move, labels in pipe.moves.labels.items()
    }
    n_moves = pipe.moves.n_moves
    pipe.moves.initialize_actions(actions)
    assert pipe.moves.n_moves == n_moves
    labels = {ent.label_ for doc in ours.pipe(TEXTS) for ent in doc.ents}
    assert labels
    assert all(label.endswith("_X") for label in labels)
    assert before != annotate(ours)


def test_beams_new_labels_and_classes_of_users_are_left_to_spacy():
    nlp = make_pipeline()
    nlp.get_pipe("parser").cfg["beam_width"] = 2
    result = accelerate(nlp)
    assert result.left_alone["parser"].startswith("it searches with a beam of 2")
    assert type(nlp.get_pipe("parser")) is DependencyParser
    nlp = make_pipeline()
    accelerate(nlp)
    nlp.get_pipe("ner").add_label("NEW")
    assert nlp.get_pipe("ner")._find_reason() == (
        "it has labels that it wasn't trained on"
    )
    assert len(annotate(nlp)) == len(TEXTS)

    class Own(EntityRecognizer):
        pass

    pipe = nlp.get_pipe("ner")
    own = Own(nlp.vocab, pipe.model, "own", pipe.moves)
    assert accelerate_component(own).pipe is own


def test_docs_of_a_batch_that_fails_go_to_the_handler(pair):
    _, ours = pair
    pipe, failed = ours.get_pipe("ner"), []
    pipe.set_error_handler(lambda name, pipe, docs, err: failed.extend(docs))
    docs = [ours.make_doc(text) for text in TEXTS]
    # Vectors of the wrong width, instead of those of tok2vec.
    for doc in docs:
        doc.tensor = numpy.zeros((len(doc), 3), dtype="f")
    assert list(pipe.pipe(docs)) == []
    assert failed == docs
    assert pipe(docs[0]) is None


def test_entities_given_by_the_user_stay(pair):
    stock, ours = pair
    for nlp in pair:
        ruler = nlp.add_pipe("entity_ruler", before="ner")
        ruler.add_patterns([{"label": "PER", "pattern": "cat", "id": "tom"}])
    assert annotate(ours) == annotate(stock)
    doc = ours(TEXTS[2])
    assert ("cat", "PER", "tom") in [(e.text, e.label_, e.ent_id_) for e in doc.ents]


def test_long_docs_and_those_of_one_token(pair):
    stock, ours = pair
    texts = ["a b c d . " * 700, "a", " ", "\n\n", "a b c d . " * 120, ""]
    expected = [describe(doc) for doc in stock.pipe(texts)]
    assert [describe(doc) for doc in ours.pipe(texts)] == expected


def test_components_can_be_disabled_sourced_and_made_independent(pair):
    stock, ours = pair
    with stock.select_pipes(disable="parser"), ours.select_pipes(disable="parser"):
        assert annotate(ours) == annotate(stock)
    other = spacy.blank("en")
    for name in ours.pipe_names:
        other.add_pipe(name, source=ours)
    assert annotate(other) == annotate(stock)
    ours.replace_listeners("tok2vec", "ner", ["model.tok2vec"])
    assert annotate(ours) == annotate(stock)


def test_strings_of_a_memory_zone_are_not_kept(pair):
    stock, ours = pair
    for nth in range(3):
        text = f"Zone{nth} Doe went to New{nth} York ."
        with ours.memory_zone():
            found = describe(ours(text))
        assert found[1:] == describe(stock(text))[1:]
