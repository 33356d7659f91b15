"""Saved transformers, folders of them, their tokenizers, and what docs keep of them."""

import warnings
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, List

import numpy
import spacy
import torch
import transformers
from spacy.tokens import Doc
from spacy.vocab import Vocab
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from spacy_embedkit.annotation_setters import add_vector_hooks
from spacy_embedkit.span_getters import build_sent_spans_v1
from spacy_embedkit.transformer.model import TransformerModel
from spacy_embedkit.transformer.pretrained import load_pretrained
from spacy_embedkit.transformer.shim import TransformerSettings
from spacy_embedkit.transformer.token_vectors import TOKEN_VECTORS, declare_extension
from spacy_embedkit.transformer.wordpiece_spans import WordpieceSpans

from ..base import Reader, WrongNumberError
from ..packing import pack_folder
from .folder_vectors import FolderReader

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "s", "##s"]
TEXTS = ["the cats sat", "", "cat"]
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")


@cache
def folder() -> bytes:
    """Make the folder of a tiny transformer."""
    tokenizer = Tokenizer(
        models.WordPiece({p: i for i, p in enumerate(PIECES)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]"}
    fast: Any = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, sep_token="[SEP]", model_max_length=16, **names
    )
    config = transformers.BertConfig(
        vocab_size=len(PIECES),
        hidden_size=4,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=4,
        max_position_embeddings=16,
    )
    torch.manual_seed(0)
    with TemporaryDirectory() as name:
        fast.save_pretrained(name)
        transformers.BertModel(config).save_pretrained(name, safe_serialization=True)
        for path in Path(name).iterdir():
            if path.name not in FILES:
                path.unlink()
        return pack_folder(Path(name))


class TransformerFolder(FolderReader):
    """A folder of a transformer, as from a hub: code and pickles are never run."""

    max_bytes = 1 << 15

    def seeds(self) -> List[bytes]:
        """Make a tiny one."""
        return [folder()]

    def read(self, data: bytes) -> Any:
        """Load it, and encode a text."""
        self.write(data)
        tokenizer, model = load_pretrained(str(self.folder))
        return type(tokenizer), type(model)


class WordpieceTokenizer(FolderReader):
    """The tokenizer that spans are measured with."""

    documented = (ValueError,)
    max_bytes = 1 << 14

    def seeds(self) -> List[bytes]:
        """Take the tokenizer of the tiny one."""
        return [folder()]

    def read(self, data: bytes) -> Any:
        """Cut docs."""
        self.write(data)
        docs = list(spacy.blank("xx").pipe(TEXTS))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spans = WordpieceSpans(8, str(self.folder))(docs)
        if [sum(map(len, some)) for some in spans] != [*map(len, docs)]:
            raise WrongNumberError(f"spans: {spans}")
        return spans


class TransformerBytes(Reader):
    """A transformer that was saved with a pipeline."""

    documented = (ValueError, OSError)
    max_bytes = 1 << 15

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.nlp = spacy.blank("xx")
        self.nlp.add_pipe("sentencizer")

    def make(self, name: str) -> TransformerModel:
        """Make a model without weights."""
        spans = build_sent_spans_v1(max_length=5)
        return TransformerModel(TransformerSettings(name, spans))

    def seeds(self) -> List[bytes]:
        """Save a tiny one."""
        from ..packing import unpack, write_folder

        write_folder(unpack(folder()), self.folder)
        model = self.make(str(self.folder))
        model.initialize(X=list(self.nlp.pipe(TEXTS)))
        return [model.layers[0].shims[0].to_bytes()]

    def read(self, data: bytes) -> Any:
        """Load it, and predict."""
        model = self.make("none")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.layers[0].shims[0].from_bytes(data)
            if model.transformer is None:
                return None
            model.attrs["has_transformer"] = True
            return model.predict(list(self.nlp.pipe(TEXTS)))


class Annotations(Reader):
    """A saved doc with token vectors, that hooks read."""

    documented = (ValueError,)

    def seeds(self) -> List[bytes]:
        """Save docs with vectors and without."""
        found = []
        for rows in (numpy.ones((2, 3), "f"), None, numpy.zeros((2, 0), "f2")):
            declare_extension(TOKEN_VECTORS)
            doc = Doc(Vocab(), words=["the", "cat"])
            doc._.token_vectors = rows
            found.append(doc.to_bytes())
        return found

    def read(self, data: bytes) -> Any:
        """Load the doc, and ask for vectors."""
        try:
            doc = Doc(Vocab()).from_bytes(data)
        except Exception as err:
            # spaCy's own errors.
            raise ValueError("refused") from err
        add_vector_hooks(doc)
        found = [doc.vector, *(token.vector for token in doc), doc[:1].vector]
        with numpy.errstate(all="ignore"):
            return found, doc.vector_norm, doc.similarity(doc), doc.has_vector
