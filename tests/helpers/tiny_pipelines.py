"""Pipelines of a stock transformer with random weights, and a tagger that listens."""

import json

import spacy
from spacy.pipeline import TrainablePipe
from spacy.training import Example

CONFIG = """
[nlp]
lang = "en"
pipeline = {pipeline}

[components]

[components.sentencizer]
factory = "sentencizer"

[components.transformer]
factory = "transformer"

[components.transformer.model]
@architectures = "{architecture}"
name = {name}

[components.transformer.model.get_spans]
{spans}

[components.transformer.set_extra_annotations]
{setter}

[components.tagger]
factory = "tagger"

[components.tagger.model]
@architectures = "spacy.Tagger.v2"

[components.tagger.model.tok2vec]
@architectures = "spacy-transformers.TransformerListener.v1"
grad_factor = 1.0

[components.tagger.model.tok2vec.pooling]
@layers = "reduce_mean.v1"

[components.embedkit_release]
factory = "embedkit_release"
{release}
"""

NO_SETTER = '@annotation_setters = "spacy-transformers.null_annotation_setter.v1"'
SENTENCES = '@span_getters = "spacy-embedkit.sent_spans.v1"\nmax_length = 8'
TEXTS = ["The cat sat. A dog ran on the mat.", "", "The  cat", "dog ran. cat"]


def make_pipeline(
    folder,
    *,
    architecture="spacy-transformers.TransformerModel.v3",
    spans=SENTENCES,
    setter=NO_SETTER,
    release="",
    pipeline=("sentencizer", "transformer", "tagger"),
):
    """The pipeline, initialized; its config has only the blocks it needs."""
    blocks = CONFIG.format(
        architecture=architecture,
        name=json.dumps(str(folder)),
        pipeline=json.dumps(list(pipeline)),
        spans=spans,
        setter=setter,
        release=release,
    )
    config = spacy.util.Config().from_str(blocks)
    for name in set(config["components"]) - set(pipeline):
        del config["components"][name]
    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    nlp.initialize(lambda: [tagged(nlp, text) for text in TEXTS])
    return nlp


def tagged(nlp, text):
    """An example whose tokens are tagged by their length."""
    doc = nlp.make_doc(text)
    return Example.from_dict(doc, {"tags": [str(min(len(t), 2)) for t in doc]})


def train(nlp, examples, steps=3, optimizer=None, annotates=()):
    """Update some times, in the order of spaCy's training loop; return the losses."""
    optimizer = optimizer or nlp.create_optimizer()
    optimizer.learn_rate = 0.01
    found = []
    for _ in range(steps):
        found.append(nlp.update(examples, sgd=False, losses={}, annotates=annotates))
        for _, component in nlp.pipeline:
            if isinstance(component, TrainablePipe):
                component.finish_update(optimizer)
    return found
