"""The characters objective against stock: one step of `spacy pretrain`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from unittest import mock

import numpy
from spacy.ml.models import MaxoutWindowEncoder, MultiHashEmbed, build_Tok2Vec_model
from spacy.ml.models.multi_task import create_pretrain_characters
from spacy.tokens import Doc
from spacy.training.pretrain import make_update
from thinc.api import Adam, Model, Optimizer, fix_random_seed

from spacy_embedkit.architectures import build_multi_hash_embed_v1
from spacy_embedkit.pretraining.masking import TokenMasking, WordSample
from spacy_embedkit.pretraining.objectives import build_pretrain_characters_v1

from .embed import Build, efficiency_embed
from .texts import batches, join_docs
from .timing import Row, Setting, compare

# The defaults of `spacy init fill-config --pretraining`.
OBJECTIVE = {"maxout_pieces": 3, "hidden_size": 300, "n_characters": 4}
BATCH_WORDS = 3000

Masked = tuple[list[Doc], numpy.ndarray]


def run(setting: Setting) -> list[Row]:
    """Same batches and masks for both; then each with its own masking."""
    documents = join_docs(setting.docs, 10)
    n_docs = max(1, BATCH_WORDS * len(documents) // sum(map(len, documents)))
    parts = batches(documents, n_docs)[:4]
    n_words = sum(len(doc) for docs in parts for doc in docs)
    masks = {id(docs[0]): TokenMasking()(docs, sample_of(docs)) for docs in parts}
    stock = build(parts[0], create_pretrain_characters, MultiHashEmbed)
    objective = build(parts[0], build_pretrain_characters_v1, MultiHashEmbed)
    both = build(parts[0], build_pretrain_characters_v1, build_multi_hash_embed_v1)
    step = partial(epoch, parts=parts)
    rows = []
    for what, model in (("objective", objective), ("objective and embed", both)):
        with same_masks(masks):
            rows.append(
                compare(
                    f"{what}, same masks",
                    n_words,
                    partial(step, stock),
                    partial(step, model),
                    setting.repeats,
                )
            )
        rows.append(
            compare(
                f"{what}, own masks",
                n_words,
                partial(step, stock),
                partial(step, model),
                setting.repeats,
            )
        )
    return rows


def sample_of(docs: list[Doc]) -> WordSample:
    """Sample the words of docs."""
    sample = WordSample()
    sample.add([token.text for doc in docs for token in doc])
    return sample


def build(docs: list[Doc], create: Callable, embed: Build) -> tuple[Model, Optimizer]:
    """Build the efficiency network with an objective on top, and its optimizer."""
    fix_random_seed(0)
    encode = MaxoutWindowEncoder(96, 1, 3, 4)
    tok2vec = build_Tok2Vec_model(efficiency_embed(embed), encode)
    model = create(**OBJECTIVE)(docs[0].vocab, tok2vec.initialize(X=docs))
    return model.initialize(X=docs), Adam(0.001)


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
    ) -> tuple[numpy.ndarray, list[Doc]]:
        masked, chosen = for_ours(None, docs)
        is_kept = numpy.ones(sum(map(len, docs)), dtype=bool)
        is_kept[chosen] = False
        return is_kept, masked

    with (
        mock.patch("spacy.ml.models.multi_task._apply_mask", for_stock),
        mock.patch.object(TokenMasking, "__call__", for_ours),
    ):
        yield
