"""The objectives against stock: steps of `spacy pretrain`, and what they learn."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

import numpy
from spacy.ml.models import MaxoutWindowEncoder, MultiHashEmbed, build_Tok2Vec_model
from spacy.ml.models.multi_task import (
    create_pretrain_characters,
    create_pretrain_vectors,
)
from spacy.tokens import Doc
from spacy.training.pretrain import make_update
from spacy.util import OOV_RANK
from spacy.vectors import Vectors
from thinc.api import (
    Adam,
    Model,
    NumpyOps,
    Ops,
    Optimizer,
    fix_random_seed,
    get_current_ops,
    set_current_ops,
    set_dropout_rate,
)
from tqdm import tqdm

from spacy_embedkit.architectures import (
    build_maxout_window_encoder_v1,
    build_multi_hash_embed_v1,
)
from spacy_embedkit.backend import EmbedkitOps
from spacy_embedkit.pretraining.masked_model import HeadLoss, Prediction
from spacy_embedkit.pretraining.masking import TokenMasking, WordSample
from spacy_embedkit.pretraining.objectives import (
    build_pretrain_characters_v1,
    build_pretrain_vectors_v1,
    characters_loss,
    vectors_loss,
)

from .embed import Build, efficiency_embed
from .texts import batches, join_docs
from .timing import Figure, Row, Setting, compare

BATCH_WORDS = 3000
TIMED_BATCHES = 4
# Of the table that vectors are learned from, which is random.
VECTORS_SHAPE = (20_000, 300)
SEEDS = 3
# Passes over the text before the held-out loss is taken, and the held-out share.
PASSES, HELD_OUT = 3, 5

Masked = tuple[list[Doc], Any]


@dataclass(frozen=True)
class Side:
    """What a model is made of: objective, layers, backend."""

    create: Callable
    embed: Build = MultiHashEmbed
    encode: Callable = MaxoutWindowEncoder
    ops: type[Ops] = NumpyOps


@dataclass(frozen=True)
class Case:
    """An objective, with the defaults of `spacy init fill-config --pretraining`."""

    name: str
    settings: dict[str, object]
    stock: Callable
    ours: Callable
    loss: HeadLoss

    def sides(self) -> dict[str, Side]:
        """Everything of ours, then what the parts bring."""
        layers = (build_multi_hash_embed_v1, build_maxout_window_encoder_v1)
        return {
            "all of ours": Side(self.ours, *layers, EmbedkitOps),
            "objective alone": Side(self.ours),
            "objective and layers": Side(self.ours, *layers),
            "fast ops alone": Side(self.stock, ops=EmbedkitOps),
        }


HEAD: dict[str, object] = {"maxout_pieces": 3, "hidden_size": 300}
CASES = [
    Case(
        "characters",
        {**HEAD, "n_characters": 4},
        create_pretrain_characters,
        build_pretrain_characters_v1,
        partial(characters_loss, n_characters=4),
    ),
    Case(
        "vectors",
        {**HEAD, "loss": "cosine"},
        create_pretrain_vectors,
        build_pretrain_vectors_v1,
        partial(vectors_loss, distance="cosine"),
    ),
]


def run(setting: Setting) -> list[Row | Figure]:
    """Speed, own masks on either side; then the loss on held-out text."""
    documents = join_docs(setting.docs, 10)
    add_vectors(documents)
    n_docs = max(1, BATCH_WORDS * len(documents) // sum(map(len, documents)))
    parts = batches(documents, n_docs)
    rows: list[Row | Figure] = []
    for case in CASES:
        rows += speed(case, parts[:TIMED_BATCHES], setting.repeats)
    for case in CASES:
        rows += held_out_loss(case, parts)
    return rows


def speed(case: Case, parts: list[list[Doc]], repeats: int) -> list[Row]:
    """Time the stock objective, layers and backend against each side."""
    n_words = sum(len(doc) for docs in parts for doc in docs)
    stock = build(parts[0], case, Side(case.stock))
    return [
        compare(
            f"{case.name}, {what}",
            n_words,
            partial(epoch, stock, parts),
            partial(epoch, build(parts[0], case, side), parts),
            repeats,
        )
        for what, side in case.sides().items()
    ]


def held_out_loss(case: Case, parts: list[list[Doc]]) -> list[Figure]:
    """Loss of a masked word after the same words; the same held-out masks for all."""
    n_held = max(1, len(parts) // HELD_OUT)
    held, rest = parts[:n_held], parts[n_held:] or parts
    fix_random_seed(0)
    masks = {id(docs[0]): TokenMasking()(docs, sample_of(docs)) for docs in held}
    sides = {"stock": Side(case.stock), "ours": case.sides()["all of ours"]}
    figures = []
    for what, side in sides.items():
        losses = []
        for seed in tqdm(range(SEEDS), desc=f"{case.name}, {what}", leave=False):
            model, optimizer = build(rest[0], case, side, seed)
            for _ in range(PASSES):
                epoch((model, optimizer), rest)
            with model.use_params(optimizer.averages or {}), same_masks(masks):
                losses.append(loss_per_word(case, model, held, masks))
        label = f"{case.name}, held-out loss a masked word, {what}: mean; least, most"
        spread = float(min(losses)), float(max(losses))
        figures.append(Figure(label, float(numpy.mean(losses)), "", *spread))
    return figures


def loss_per_word(
    case: Case, model: Model, parts: list[list[Doc]], masks: dict[int, Masked]
) -> float:
    """Mean loss of the masked words, by one function for stock and ours."""
    total, n_masked = 0.0, 0
    for docs in parts:
        positions = masks[id(docs[0])][1]
        Y = model.predict(docs)
        Y = Y[0].data if isinstance(Y, list) else Y[positions]
        prediction = Prediction(Y, model.ops.asarray1i(positions), sum(map(len, docs)))
        total += case.loss(model.ops, docs, prediction)[0]
        n_masked += len(positions)
    return total / max(1, n_masked)


def add_vectors(docs: list[Doc]) -> None:
    """Give the words of the docs, and others, random vectors."""
    vocab = docs[0].vocab
    words = list(dict.fromkeys(token.text for doc in docs for token in doc))
    words += [f"word-{i}" for i in range(VECTORS_SHAPE[0] - len(words))]
    words = words[: VECTORS_SHAPE[0]]
    data = numpy.random.default_rng(0).normal(size=VECTORS_SHAPE).astype("f")
    vocab.vectors = Vectors(strings=vocab.strings, data=data, keys=words)
    for lexeme in vocab:
        # As spaCy does where it loads vectors.
        lexeme.rank = vocab.vectors.key2row.get(lexeme.orth, OOV_RANK)


def sample_of(docs: list[Doc]) -> WordSample:
    """Sample the words of docs."""
    sample = WordSample()
    sample.add([token.text for doc in docs for token in doc])
    return sample


def build(
    docs: list[Doc], case: Case, side: Side, seed: int = 0
) -> tuple[Model, Optimizer]:
    """Build the efficiency network with an objective on top, and its optimizer."""
    before = get_current_ops()
    set_current_ops(side.ops())
    fix_random_seed(seed)
    tok2vec = build_Tok2Vec_model(
        efficiency_embed(side.embed), side.encode(96, 1, 3, 4)
    ).initialize(X=docs)
    model = side.create(**case.settings)(docs[0].vocab, tok2vec).initialize(X=docs)
    set_dropout_rate(model, 0.2)
    set_current_ops(before)
    return model, Adam(0.001, L2=0.01, grad_clip=1.0, use_averages=True)


def epoch(model_and_optimizer: tuple[Model, Optimizer], parts: list[list[Doc]]) -> None:
    """Update on each batch."""
    model, optimizer = model_and_optimizer
    for docs in parts:
        make_update(model, docs, optimizer, model.attrs["loss"])


@contextmanager
def same_masks(masks: dict[int, Masked]) -> Iterator[None]:
    """Let both objectives take the given masks, by batch, in place of their own."""

    def for_ours(masking: object, docs: list[Doc], *args: object) -> Masked:
        return masks[id(docs[0])]

    def for_stock(
        docs: list[Doc], *args: object, **kwargs: object
    ) -> tuple[Any, list[Doc]]:
        masked, chosen = for_ours(None, docs)
        is_kept = numpy.ones(sum(map(len, docs)), dtype=bool)
        is_kept[chosen] = False
        return is_kept, masked

    with (
        mock.patch("spacy.ml.models.multi_task._apply_mask", for_stock),
        mock.patch.object(TokenMasking, "__call__", for_ours),
    ):
        yield
