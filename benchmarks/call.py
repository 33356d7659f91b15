"""One text at a time through an accelerated pipeline, against the stock one."""

from functools import partial

from spacy.language import Language

from spacy_embedkit import accelerate

from .pipe import load
from .timing import Row, Setting, compare

# Words of a sentence that is neither short nor long.
LENGTHS = (8, 30)
MAX_TEXTS = 200


def run(setting: Setting) -> list[Row]:
    """Annotate single sentences."""
    stock, ours = load(setting.pipeline), load(setting.pipeline)
    print(accelerate(ours))
    docs = [doc for doc in setting.docs if LENGTHS[0] <= len(doc) <= LENGTHS[1]]
    texts = [" ".join(token.text for token in doc) for doc in docs[:MAX_TEXTS]]
    n_words = sum(len(stock.make_doc(text)) for text in texts)
    return [
        compare(
            "nlp(text), one sentence",
            n_words,
            partial(annotate, stock, texts),
            partial(annotate, ours, texts),
            setting.repeats,
        )
    ]


def annotate(nlp: Language, texts: list[str]) -> None:
    """Call the pipeline on each text."""
    for text in texts:
        nlp(text)
