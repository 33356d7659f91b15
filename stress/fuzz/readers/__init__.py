"""What is fuzzed: one class for each kind of file, by name.

The modules import the package when a reader is made, so that its lines can be counted.
"""

from importlib import import_module
from pathlib import Path
from typing import Dict

from ..base import Reader

# Name of a reader: its module and class.
NAMES: Dict[str, str] = {
    "vectors-text": "text_vectors:TextVectors",
    "vectors-text-skip-bad": "text_vectors:SkippingTextVectors",
    "vectors-word2vec": "binary_vectors:Word2vecBinary",
    "vectors-fasttext": "binary_vectors:FastText",
    "vectors-floret": "binary_vectors:Floret",
    "vectors-npy": "array_vectors:Npy",
    "vectors-npz": "array_vectors:Npz",
    "vectors-safetensors": "array_vectors:Safetensors",
    "vectors-parquet": "array_vectors:Parquet",
    "vectors-model2vec": "folder_vectors:Model2vec",
    "vectors-spacy": "folder_vectors:SpacyVectors",
    "vectors-any-file": "folder_vectors:AnyFile",
    "vectors-archive": "folder_vectors:Archive",
    "vectors-words": "folder_vectors:WordLists",
    "table-folder": "tables:TableFolder",
    "table-bytes": "tables:TableBytes",
    "table-pipeline": "tables:TablePipeline",
    "raw-text": "texts:RawText",
    "raw-text-gzip": "texts:GzippedText",
    "raw-text-parquet": "texts:ParquetText",
    "docs-cache": "texts:CachedDocs",
    "target-store": "pretraining:Store",
    "target-store-file": "pretraining:StoreFile",
    "checkpoint": "pretraining:Checkpoint",
    "weights": "pretraining:Weights",
    "layers": "pipelines:Layers",
    "configs": "pipelines:Configs",
    "transformer-bytes": "transformers:TransformerBytes",
    "transformer-folder": "transformers:TransformerFolder",
    "wordpiece-tokenizer": "transformers:WordpieceTokenizer",
    "annotations": "transformers:Annotations",
}


def make_reader(name: str, folder: Path) -> Reader:
    """Make a reader that writes to a folder."""
    module, _, kind = NAMES[name].partition(":")
    return getattr(import_module(f".{module}", __package__), kind)(folder)
