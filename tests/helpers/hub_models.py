"""A Hugging Face hub cache of tiny transformers with random weights.

They have the names and architectures that the tests of spacy-transformers load.
"""

import json
import struct

import torch
import transformers as tr
from tokenizers import (
    ByteLevelBPETokenizer,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
)
from tokenizers.processors import TemplateProcessing

REVISION = "0" * 40
LENGTH = 512
TEXTS = (
    "I like green eggs. Eat blue ham. We're interested at underwater basket weaving. "
    "This is awesome. This is a test. the cat sat on the mat. hello world. foo bar "
    "Hello world. This is spacy. You can use multiprocessing with pipe method. "
    "Please try! I'm so happy. I'm so angry some text ok first second third fourth"
)
WORDS = sorted({word for text in (TEXTS, TEXTS.lower()) for word in text.split()})
LETTERS = [chr(i) for i in range(33, 127)]
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    # Room for the families whose positions start after that of padding.
    "max_position_embeddings": LENGTH + 2,
}


def make_hub(folder):
    """Write all models to a hub cache, as downloads would have."""
    for name, make in MODELS.items():
        top = folder / f"models--{name.replace('/', '--')}"
        snapshot = top / "snapshots" / REVISION
        snapshot.mkdir(parents=True)
        (top / "refs").mkdir()
        (top / "refs" / "main").write_text(REVISION)
        torch.manual_seed(0)
        make(snapshot).save_pretrained(snapshot, safe_serialization=True)


def make_distilbert(folder, kind=tr.DistilBertModel):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS]
    pieces += [f"##{letter}" for letter in LETTERS]
    pieces += [word for word in WORDS if word.isalpha() and len(word) > 1]
    vocab = folder / "vocab.txt"
    vocab.write_text("\n".join(pieces))
    make = tr.DistilBertTokenizerFast
    make(str(vocab), model_max_length=LENGTH).save_pretrained(folder)
    settings = {"n_layers": 2, "n_heads": 2, "dim": 16, "hidden_dim": 24}
    return kind(tr.DistilBertConfig(vocab_size=len(pieces), **settings))


def make_classifier(folder):
    return make_distilbert(folder, tr.DistilBertForSequenceClassification)


def make_bytes(folder, make, special):
    """Save a tokenizer of byte-level pairs; return its number of pieces."""
    pairs = ByteLevelBPETokenizer()
    pairs.train_from_iterator(
        WORDS, vocab_size=320, special_tokens=special, show_progress=False
    )
    pairs.save_model(str(folder))
    files = str(folder / "vocab.json"), str(folder / "merges.txt")
    make(*files, model_max_length=LENGTH).save_pretrained(folder)
    return pairs.get_vocab_size()


def make_roberta(folder):
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    size = make_bytes(folder, tr.RobertaTokenizerFast, special)
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    return tr.RobertaModel(tr.RobertaConfig(vocab_size=size, **ids, **SMALL))


def make_gpt2(folder):
    size = make_bytes(folder, tr.GPT2TokenizerFast, ["<|endoftext|>"])
    ids = {"bos_token_id": 0, "eos_token_id": 0}
    settings = {"n_positions": LENGTH, "n_embd": 16, "n_layer": 2, "n_head": 2}
    return tr.GPT2Model(tr.GPT2Config(vocab_size=size, **ids, **settings))


def make_albert(folder):
    special = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    shape = "[CLS]:0 $A:0 [SEP]:0"
    size = make_unigram(folder, tr.AlbertTokenizerFast, special, shape)
    config = tr.AlbertConfig(vocab_size=size, embedding_size=8, **SMALL)
    return tr.AlbertModel(config)


def make_xlnet(folder):
    special = ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>"]
    special += ["<eod>", "<eop>"]
    shape = "$A:0 <sep>:0 <cls>:2"
    size = make_unigram(folder, tr.XLNetTokenizerFast, special, shape)
    settings = {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24}
    return tr.XLNetModel(tr.XLNetConfig(vocab_size=size, **settings))


def make_xlm_roberta(folder):
    """With the slow tokenizer only, whose ids start from another number."""
    pieces = unigram_pieces(["<unk>", "<s>", "</s>"])
    path = folder / "sentencepiece.bpe.model"
    path.write_bytes(sentencepiece_model(pieces, 3))
    settings = {
        "tokenizer_class": "XLMRobertaTokenizer",
        "model_max_length": LENGTH,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = tr.XLMRobertaConfig(vocab_size=len(pieces) + 2, **SMALL)
    return tr.XLMRobertaModel(config)


def unigram_pieces(special):
    """Pairs of piece and score; whole words are better than their letters."""
    words = [f"▁{word}" for word in WORDS]
    return [
        *((piece, 0.0) for piece in special),
        *((word, -5.0) for word in words),
        *((letter, -10.0) for letter in ["▁", *LETTERS]),
    ]


def make_unigram(folder, make, special, shape):
    """Save a tokenizer of SentencePiece's kind; return its number of pieces."""
    pieces = unigram_pieces(special)
    ids = {piece: i for i, piece in enumerate(special)}
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=ids["<unk>"]))
    steps = [normalizers.NFKD(), normalizers.StripAccents()]
    # Spaces at the ends would be pieces of no token.
    steps += [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = TemplateProcessing(
        single=shape, special_tokens=list(ids.items())
    )
    vocab = folder / "spiece.model"
    vocab.write_bytes(sentencepiece_model(pieces, len(special)))
    make(
        str(vocab), tokenizer_object=tokenizer, model_max_length=LENGTH
    ).save_pretrained(folder)
    return len(pieces)


def sentencepiece_model(pieces, n_special):
    """Write a ModelProto, the file format of SentencePiece, without its library."""
    normal, unknown, control = 1, 2, 3
    written = []
    for i, (piece, score) in enumerate(pieces):
        kind = normal if i >= n_special else control
        kind = unknown if piece == "<unk>" else kind
        text = piece.encode("utf8")
        # Fields by number: 1 the text, 2 the score as a float, 3 the kind.
        item = b"\x0a" + bytes([len(text)]) + text
        item += b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind])
        written.append(b"\x0a" + bytes([len(item)]) + item)
    return b"".join(written)


MODELS = {
    "albert-base-v2": make_albert,
    "distilbert-base-uncased": make_distilbert,
    "hf-internal-testing/tiny-random-DistilBertModel": make_distilbert,
    "hf-internal-testing/tiny-random-gpt2": make_gpt2,
    "hf-internal-testing/tiny-random-xlnet": make_xlnet,
    "hf-internal-testing/tiny-xlm-roberta": make_xlm_roberta,
    "roberta-base": make_roberta,
    "sgugger/tiny-distilbert-classification": make_classifier,
}
