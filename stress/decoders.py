"""Compare our decoding of random parsers and entity recognizers with spaCy's.

Each round makes a random transition system: labels, some of them odd, or without all of
their moves; a random network, with any number of feature tokens and of maxout pieces,
with and without an upper layer; and docs with random spaces, sentence starts, heads,
and entities that are set, blocked or missing. All weights are small integers, and so
are all sums: they are exact in any order, so that scores are equal where they are equal
for spaCy, which is often, and each token has to get the same annotation.
"""

import itertools
import random
from typing import Annotated, Any, Dict, List, Optional, Tuple, cast

import numpy
import spacy
import typer
from spacy.attrs import DEP, ENT_ID, ENT_IOB, ENT_KB_ID, ENT_TYPE, HEAD, SENT_START
from spacy.language import Language
from spacy.ml.models.parser import build_tb_parser_model
from spacy.tokens import Doc, Span
from spacy.training import Example
from thinc.api import Model
from tqdm import tqdm

from spacy_embedkit.components import accelerate_component

WORDS = ["a", "b", "New", "York", " ", "\n\n", "1999", "%", "-", "ß", "😀", "the"]
LABELS = ["A", "B", "nsubj", "GPE", "x-y", "é", "dep", "subtok", "a||b", "b||nsubj"]
ATTRS: Any = [ENT_IOB, ENT_TYPE, ENT_KB_ID, ENT_ID, SENT_START, HEAD, DEP]
WIDTH = 4
# Moves of spaCy's two systems that carry a label, by their numbers.
LABELLED = {"ner": (1, 2, 3, 4), "parser": (2, 3)}
DOCS_PER_ROUND = 24


def make_vectors(model: Model, docs: List[Doc], is_train: bool) -> Tuple[Any, Any]:
    """Give each token integers that depend on its word and its place."""
    out = []
    for doc in docs:
        seeds = [token.orth % 9973 + 31 * token.i for token in doc]
        rows = [numpy.random.RandomState(seed).randint(-3, 4, WIDTH) for seed in seeds]
        out.append(numpy.asarray(rows, dtype="f").reshape(len(doc), WIDTH))
    return out, lambda dY: []


def make_pipe(rng: random.Random, nlp: Language, kind: str, name: str) -> Any:
    """Add a component with random labels and random weights."""
    # Any number of feature tokens goes with any of the two.
    state_type: Any = rng.choice([kind, kind, "ner", "parser"])
    model = build_tb_parser_model(
        Model("integers", make_vectors, dims={"nO": WIDTH}),
        state_type,
        extra_state_tokens=rng.random() < 0.5,
        hidden_width=rng.choice([1, 3, 8, 17]),
        maxout_pieces=rng.choice([1, 2, 3]),
        use_upper=rng.random() < 0.7,
    )
    pipe: Any = nlp.add_pipe(kind, name=name)
    pipe.model = model
    pipe.cfg["learn_tokens"] = rng.random() < 0.2
    pipe.initialize(lambda: [make_example(nlp)], labels=make_labels(rng, kind))
    weights = numpy.random.RandomState(rng.randrange(1 << 30))
    for node in model.walk():
        for param in node.param_names:
            shape = cast(Any, node.get_param(param)).shape
            values = weights.randint(-2, 3, shape) * (weights.rand(*shape) < 0.5)
            node.set_param(param, cast(Any, values.astype("f")))
    return pipe


def make_example(nlp: Language) -> Example:
    """Make an example, which spaCy asks for."""
    doc = Doc(nlp.vocab, words=["a"], heads=[0], deps=["ROOT"], ents=["O"])
    return Example(doc, doc)


def make_labels(rng: random.Random, kind: str) -> Dict[int, Dict[str, int]]:
    """Choose labels for each move; rarely, a label lacks one."""
    labels = rng.sample(LABELS, rng.randint(1, 5))
    moves = {
        move: {label: rng.randint(1, 9) for label in labels if rng.random() < 0.97}
        for move in LABELLED[kind]
    }
    if kind == "ner":
        moves[4][""] = 1
        return {0: {}, **moves, 5: {"": 1}}
    shift = {"": 1, labels[0]: 1} if rng.random() < 0.1 else {"": 1}
    return {0: shift, 1: {"": 1}, **moves, 4: {"ROOT": 1}}


def make_docs(rng: random.Random, nlp: Language, labels: List[str]) -> List[Doc]:
    """Make docs, in some of which there is annotation already."""
    docs = []
    for _ in range(DOCS_PER_ROUND):
        size = rng.choice([0, 1, 2, rng.randint(3, 40), rng.randint(3, 40)])
        doc = Doc(nlp.vocab, words=[rng.choice(WORDS) for _ in range(size)])
        if size and rng.random() < 0.3:
            set_heads(rng, doc, labels)
        if size and rng.random() < 0.5:
            starts = [rng.choice([0, 0, 0, 1, -1]) for _ in doc]
            doc.from_array([SENT_START], as_attrs(starts))
        if size and rng.random() < 0.6:
            set_entities(rng, doc, labels)
        docs.append(doc)
    return docs


def as_attrs(*columns: List[int]) -> Any:
    """Make an array that from_array takes."""
    return numpy.asarray(
        [[n % (1 << 64) for n in column] for column in columns], "u8"
    ).T


def set_heads(rng: random.Random, doc: Doc, labels: List[str]) -> None:
    """Parse a doc into roots with random labels.

    With other heads, which tokens without an arc keep, there may be cycles in the end.
    """
    strings = doc.vocab.strings
    deps = [strings.add(rng.choice([*labels, "dep"])) for _ in doc]
    doc.from_array([HEAD, DEP], as_attrs([0] * len(doc), deps))


def set_entities(rng: random.Random, doc: Doc, labels: List[str]) -> None:
    """Set, block and forget entities, or write any IOB at all."""
    if rng.random() < 0.3:
        strings = doc.vocab.strings
        iob = [rng.choice([0, 0, 0, 1, 2, 3]) for _ in doc]
        types = [strings.add(rng.choice(["", "", *labels])) for _ in doc]
        doc.from_array([ENT_IOB, ENT_TYPE], as_attrs(iob, types))
        return
    chosen: Dict[str, List[Span]] = {"ents": [], "blocked": [], "missing": []}
    chosen["outside"] = []
    start = rng.randint(0, 5)
    while start < len(doc):
        end = min(len(doc), start + rng.randint(1, 4))
        span = Span(
            doc,
            start,
            end,
            label=rng.choice(labels),
            kb_id=rng.choice(["", "Q5"]),
            span_id=rng.choice(["", "id"]),
        )
        chosen[rng.choice(["ents", "ents", *chosen])].append(span)
        start = end + rng.randint(0, 6)
    default = rng.choice(["missing", "missing", "outside", "unmodified", "blocked"])
    doc.set_ents(chosen.pop("ents"), default=default, **chosen)  # type: ignore


def check_round(seed: int) -> Tuple[int, int, List[str]]:
    """Annotate the docs of one round by spaCy and by us.

    Returns (tokens, decoded, differences): how many tokens were compared, for how many
    of them our kernels were used, and a line for each doc that differs.
    """
    nlp = spacy.blank("en")
    kind = random.Random(seed).choice(["ner", "parser"])
    # Not one model for both: entities that are given may add labels to it.
    rng = random.Random(seed)
    stock = make_pipe(rng, nlp, kind, "stock")
    made = make_pipe(random.Random(seed), nlp, kind, "fast")
    fast, changed, reason = accelerate_component(made)
    labels = rng.sample(LABELS, 3) if rng.random() < 0.1 else list(stock.labels)
    docs = make_docs(rng, nlp, labels or ["A"])
    pairs = [(doc, doc.copy()) for doc in docs]
    size, lines, n_tokens, n_decoded = rng.choice([1, 2, 7, 256]), [], 0, 0
    # Twice: what was found before is given then. Heads of two parses may form cycles,
    # which spaCy never returns from.
    for _ in range(2 if kind == "ner" else 1):
        is_ours = changed and fast._find_reason() is None
        expected = list(stock.pipe([doc for doc, _ in pairs], batch_size=size))
        if size == 1:
            found = [fast(doc) for _, doc in pairs]
        else:
            found = list(fast.pipe([doc for _, doc in pairs], batch_size=size))
        for nth, (doc, other) in enumerate(zip(expected, found, strict=True)):
            n_tokens += len(doc)
            n_decoded += len(doc) if is_ours else 0
            if describe(doc) != describe(other):
                lines.append(f"round {seed}, doc {nth}: {kind}, {reason or 'decoded'}")
    return n_tokens, n_decoded, lines


def describe(doc: Doc) -> List[Any]:
    """Return all that a component may have changed."""
    edges = [(t.left_edge.i, t.right_edge.i, t.n_lefts, t.n_rights) for t in doc]
    return [[t.text for t in doc], doc.to_array(ATTRS).tolist(), edges]


def main(
    tokens: Annotated[
        int, typer.Option(help="Tokens to compare, in as many rounds as it takes.")
    ] = 20_000,
    seed: Annotated[int, typer.Option(help="Of the first round.")] = 0,
    round: Annotated[Optional[int], typer.Option(help="Run this round alone.")] = None,
) -> None:
    """Compare our decoding of random parsers and entity recognizers with spaCy's.

    Exits with 1 if a token differs.
    """
    n_tokens = n_decoded = n_rounds = 0
    lines: List[str] = []
    rounds = itertools.count(seed) if round is None else iter([round])
    with tqdm(total=tokens, unit=" tokens", disable=None) as bar:
        for nth in rounds:
            if n_tokens >= tokens:
                break
            n, decoded, differences = check_round(nth)
            n_tokens, n_decoded = n_tokens + n, n_decoded + decoded
            n_rounds += 1
            lines += differences
            bar.update(n)
    for line in lines[:20]:
        typer.echo(f"{line}; see --round")
    typer.echo(
        f"decoders: {n_rounds} rounds, {n_tokens:,} tokens, {n_decoded:,} of them by "
        f"our kernels; {len(lines)} docs differ"
    )
    raise typer.Exit(code=bool(lines))
