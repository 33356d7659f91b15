"""Transformers of two or three layers with random weights, for tests."""

import torch
import transformers


def make_bert(folder, width=16, layers=3, seed=0, **settings):
    """A BERT whose pieces are letters and some words; 東 it does not know."""
    letters = [chr(i) for i in range(33, 127)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", *letters]
    pieces += [f"##{letter}" for letter in letters]
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "vocab.txt").write_text("\n".join(pieces))
    vocab = str(folder / "vocab.txt")
    transformers.BertTokenizerFast(vocab).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(pieces),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        # A large range, so that a word's context matters.
        **{"max_position_embeddings": 64, "initializer_range": 0.5, **settings},
    )
    torch.manual_seed(seed)
    transformers.BertModel(config).save_pretrained(folder, safe_serialization=True)
    return str(folder)
