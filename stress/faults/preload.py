"""Imported once by the process that all others come from: what commands import."""

from pathlib import Path
from tempfile import TemporaryDirectory

import spacy
import spacy_transformers  # noqa: F401
import transformers
from spacy.cli import app  # noqa: F401

import spacy_embedkit.cli
import spacy_embedkit.experiments.worker
import spacy_embedkit.pretraining.run.command
import spacy_embedkit.pretraining.teacher.transformer_teacher
import spacy_embedkit.transformer.pretrained
import spacy_embedkit.vectors.build.convert
import spacy_embedkit.vectors.build.distill
import spacy_embedkit.vectors.build.learn  # noqa: F401
from tests.helpers.tiny_bert import make_bert

# transformers imports the modules of all its models then.
with TemporaryDirectory() as folder:
    make_bert(Path(folder))
    transformers.AutoModel.from_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(folder)
spacy.blank("en")
