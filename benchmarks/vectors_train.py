"""Accuracy of a tagger on quantised vectors, against full ones."""

import tempfile
from pathlib import Path

import numpy
import spacy
import typer
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.training.initialize import load_vectors_into_model
from spacy.util import minibatch
from thinc.api import fix_random_seed
from tqdm import tqdm

from spacy_embedkit.vectors.build.convert import ConvertSettings, convert

from .texts import data_folder, load_docs
from .timing import Figure, Row, Setting
from .wordsim import STORES, sources

SEEDS = 3
WIDTH, BATCH = 96, 32
CONFIG = {
    "model": {
        "@architectures": "spacy.Tagger.v2",
        "tok2vec": {
            "@architectures": "spacy.Tok2Vec.v2",
            "embed": {
                "@architectures": "spacy-embedkit.StaticVectors.v1",
                "width": WIDTH,
            },
            "encode": {
                "@architectures": "spacy-embedkit.MaxoutWindowEncoder.v1",
                "width": WIDTH,
                "window_size": 1,
                "maxout_pieces": 3,
                "depth": 4,
            },
        },
    }
}


def run(setting: Setting) -> list[Row | Figure]:
    """Train on EWT with GloVe in each store, and score on its test part."""
    treebank = data_folder("ud_english_ewt")
    train, test = (
        load_docs(treebank / f"en_ewt-ud-{part}.conllu") for part in ("train", "test")
    )
    title, _ = next(iter(sources()), (None, None))
    if title is None:
        raise typer.BadParameter("no table of vectors is installed")
    figures: list[Row | Figure] = []
    with tempfile.TemporaryDirectory() as name:
        for store in STORES:
            _, source = next(sources())
            folder = Path(name) / store
            convert(source, folder, "en", ConvertSettings(dtype=store, forms=True))  # type: ignore[arg-type]
            accuracies = [tag(folder, train, test, seed) for seed in range(SEEDS)]
            what = (
                f"tagger on {title}, {store}: accuracy, lowest and highest of {SEEDS}"
            )
            mean = float(numpy.mean(accuracies))
            figures.append(Figure(what, mean, "", min(accuracies), max(accuracies)))
    return figures


def tag(folder: Path, train: list[Doc], test: list[Doc], seed: int) -> float:
    """Train one epoch and return the accuracy on the test part."""
    vectors = {"@vectors": "spacy-embedkit.Vectors.v1"}
    nlp = spacy.blank("en", config={"nlp": {"vectors": vectors}})
    load_vectors_into_model(nlp, folder)
    nlp.add_pipe("tagger", config=CONFIG)
    fix_random_seed(seed)
    examples = [example(nlp, doc) for doc in train]
    optimizer = nlp.initialize(lambda: examples)
    order = numpy.random.default_rng(seed).permutation(len(examples))
    chosen = [examples[i] for i in order]
    for batch in minibatch(tqdm(chosen, f"{folder.name}, {seed}", leave=False), BATCH):
        nlp.update(batch, sgd=optimizer, drop=0.1)
    return float(nlp.evaluate([example(nlp, doc) for doc in test])["tag_acc"])


def example(nlp: Language, doc: Doc) -> Example:
    """Make an example with the words of the treebank in the pipeline's vocabulary."""
    words = [token.text for token in doc]
    gold = Doc(nlp.vocab, words=words, tags=[token.tag_ for token in doc])
    return Example(Doc(nlp.vocab, words=words), gold)
