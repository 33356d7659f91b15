"""Moves a config to the layers of this package that load and save the same weights."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from spacy.language import Language
from thinc.api import Config

from .config_text import ConfigText
from .draft import walk_blocks
from .stock_parts import make_blank

KINDS = ("@architectures", "@layers", "@span_getters", "@readers", "@vectors")
ENCODER = "spacy-embedkit.MaxoutWindowEncoder.v1"
EMBED = "spacy-embedkit.MultiHashEmbed.v1"
MODEL = "spacy-embedkit.TransformerModel.v1"
LISTENER = "spacy-embedkit.TransformerListener.v1"
TOK2VEC = "spacy-embedkit.Tok2VecTransformer.v1"
# Stock layers, and ours of the same weights and meaning.
RENAMED = {
    "spacy.MultiHashEmbed.v2": EMBED,
    "spacy.MaxoutWindowEncoder.v2": ENCODER,
    "spacy.PretrainCharacters.v1": "spacy-embedkit.PretrainCharacters.v1",
    "spacy.PretrainVectors.v1": "spacy-embedkit.PretrainVectors.v1",
    **{f"spacy-transformers.TransformerModel.v{n}": MODEL for n in (1, 2, 3)},
    **{f"spacy-transformers.Tok2VecTransformer.v{n}": TOK2VEC for n in (1, 2, 3)},
    "spacy-transformers.TransformerListener.v1": LISTENER,
}
POOLERS = ("spacy-transformers.TransformerListener.", "spacy-transformers.Tok2VecTr")
POOLINGS = {
    f"reduce_{kind}.v1": f"spacy-embedkit.reduce_{kind}.v1"
    for kind in ("mean", "sum", "max", "first", "last")
}
NO_COUNTERPART = "no layer of this package loads its weights"
LEFT = {
    "spacy.CharacterEmbed.v1": NO_COUNTERPART,
    "spacy.CharacterEmbed.v2": NO_COUNTERPART,
    "spacy.MishWindowEncoder.v1": NO_COUNTERPART,
    "spacy.MishWindowEncoder.v2": NO_COUNTERPART,
    "spacy.TorchBiLSTMEncoder.v1": NO_COUNTERPART,
    "spacy-transformers.strided_spans.v1": (
        "spacy-embedkit.wordpiece_spans.v1 encodes less text, but other spans give "
        "other vectors"
    ),
    "spacy-transformers.sent_spans.v1": (
        "spacy-embedkit.wordpiece_spans.v1 pads less, but spans matter to vectors"
    ),
    "spacy.JsonlCorpus.v1": (
        "spacy-embedkit.RawText.v1 splits long texts where this one drops them, so it "
        "reads other documents"
    ),
}
CALLBACKS = {
    "before_creation": "spacy-embedkit.fast_ops.v1",
    "after_pipeline_creation": "spacy-embedkit.accelerate.v1",
}
# Settings of HashEmbedCNN by the layer that has them, and those that must be numbers.
CNN = ("spacy.HashEmbedCNN.v1", "spacy.HashEmbedCNN.v2")
CNN_ENCODE = ("width", "window_size", "maxout_pieces", "depth")
CNN_FIXED = {"embed_size": int, "subword_features": bool}


@dataclass
class Moved:
    """A config that was moved: its text, and lines for the user."""

    text: ConfigText
    config: Config
    changes: List[str] = field(default_factory=list)
    left: List[str] = field(default_factory=list)

    def rename(self, name: str, old: str, new: str) -> None:
        """Replace the registered name of a block."""
        self.text.rename(name, old, new)
        self.changes.append(f"{name}: {old} -> {new}")

    def leave(self, name: str, what: str, why: str) -> None:
        """Say why a block stays."""
        self.left.append(f"{name}: {what}: {why}")


def move(text: str, config: Config) -> Moved:
    """Replace the stock layers of a config; all else stays, comments too.

    config: What the text says, with its variables.
    """
    moved = Moved(ConfigText(text), config)
    for name, block in walk_blocks(config):
        for kind in KINDS:
            if isinstance(registered := block.get(kind), str):
                _move_block(moved, name, block, registered)
    _find_defaults(moved)
    _put_callbacks(moved)
    return moved


def _move_block(moved: Moved, name: str, block: Dict[str, Any], old: str) -> None:
    known = old.replace("spacy-legacy.", "spacy.")
    if known in CNN:
        _split_cnn(moved, name, block, old)
    elif known == "spacy.Tok2Vec.v1":
        _move_tok2vec(moved, name, block, old)
    elif known == "spacy.MultiHashEmbed.v1" and not block.get("include_static_vectors"):
        moved.rename(name, old, EMBED)
    elif known in RENAMED:
        moved.rename(name, old, RENAMED[known])
        if known.startswith(POOLERS):
            _move_pooling(moved, f"{name}.pooling", block.get("pooling"))
    elif known == "spacy.MultiHashEmbed.v1":
        moved.leave(
            name, old, "its static vectors are not those of v2; name that first"
        )
    elif known == "spacy.Vectors.v1":
        if moved.config.get("initialize", {}).get("vectors"):
            why = "convert the vectors by spacy embedkit vectors convert, then name "
            moved.leave(name, old, why + "spacy-embedkit.Vectors.v1")
    elif known in LEFT:
        moved.leave(name, old, LEFT[known])
    elif known.startswith("spacy-curated-transformers."):
        moved.leave(name, old, "the callback accelerate.v1 makes its prediction faster")


def _move_pooling(moved: Moved, name: str, block: Any) -> None:
    old = block.get("@layers") if isinstance(block, dict) else None
    if old in POOLINGS:
        moved.rename(name, old, POOLINGS[old])


def _move_tok2vec(moved: Moved, name: str, block: Dict[str, Any], old: str) -> None:
    """Move Tok2Vec.v1 together with its encoder, which differ from v2 by one layer."""
    encode = block.get("encode")
    encoder = encode.get("@architectures") if isinstance(encode, dict) else None
    if (
        str(encoder).replace("spacy-legacy.", "spacy.")
        != "spacy.MaxoutWindowEncoder.v1"
    ):
        moved.leave(name, old, f"its encoder, {encoder}, has no counterpart here")
        return
    moved.rename(name, old, "spacy.Tok2Vec.v2")
    moved.rename(f"{name}.encode", str(encoder), ENCODER)


def _split_cnn(moved: Moved, name: str, block: Dict[str, Any], old: str) -> None:
    """Write the embedding and the encoding layer of HashEmbedCNN as blocks."""
    if reason := _why_not_split(moved, name, block, old):
        moved.leave(name, old, reason)
        return
    rows = [block["embed_size"]]
    attrs = ["NORM"]
    if block["subword_features"]:
        attrs += ["PREFIX", "SUFFIX", "SHAPE"]
        rows += [block["embed_size"] // 2] * 3
    embed = {
        "@architectures": EMBED,
        "width": f"${{{name}.encode.width}}",
        "attrs": attrs,
        "rows": rows,
        "include_static_vectors": bool(block.get("pretrained_vectors")),
    }
    encode = {"@architectures": ENCODER, **{key: block[key] for key in CNN_ENCODE}}
    tok2vec = {"@architectures": "spacy.Tok2Vec.v2"}
    moved.text.replace(
        name, {name: tok2vec, f"{name}.embed": embed, f"{name}.encode": encode}
    )
    moved.changes.append(f"{name}: {old} -> spacy.Tok2Vec.v2 of {EMBED} and {ENCODER}")
    for key in CNN_ENCODE:
        if moved.text.refer(f"{name}.{key}", f"{name}.encode.{key}"):
            moved.changes.append(f"${{{name}.{key}}} -> ${{{name}.encode.{key}}}")


def _why_not_split(
    moved: Moved, name: str, block: Dict[str, Any], old: str
) -> Optional[str]:
    missing = [key for key in (*CNN_ENCODE, *CNN_FIXED) if key not in block]
    if missing:
        return f"{', '.join(missing)} not set; run spacy init fill-config first"
    variables = [key for key, kind in CNN_FIXED.items() if type(block[key]) is not kind]
    vectors = block.get("pretrained_vectors")
    if vectors is not None and not isinstance(vectors, bool):
        variables.append("pretrained_vectors")
    if variables:
        return f"{', '.join(variables)} is a variable; write its value here first"
    if vectors and old.endswith(".v1"):
        return "its static vectors are not those of v2; name that first"
    if moved.text.find(name).name != name:
        return "it is written in one line; write it as a section first"
    if any(f"${{{name}.{key}}}" in str(moved.text) for key in CNN_FIXED):
        return f"other settings refer to {' or '.join(CNN_FIXED)}; write values first"
    return None


def _find_defaults(moved: Moved) -> None:
    """Report components whose layers are not in the config."""
    nlp: Optional[Language] = None
    for name, block in moved.config.get("components", {}).items():
        where = f"components.{name}"
        if "source" in block:
            why = "its layers are those of that pipeline, which predict faster now"
            moved.leave(where, f"source = {block['source']}", why)
        elif "model" not in block and isinstance(block.get("factory"), str):
            nlp = nlp or make_blank(str(moved.config.interpolate()["nlp"]["lang"]))
            if nlp.has_factory(block["factory"]) and _has_network(
                nlp, block["factory"]
            ):
                why = "its default layers are stock's; run spacy init fill-config first"
                moved.leave(where, "no model", why)


def _has_network(nlp: Language, factory: str) -> bool:
    return "model" in (nlp.get_factory_meta(factory).default_config or {})


def _put_callbacks(moved: Moved) -> None:
    settings = moved.config.get("nlp", {})
    for key, callback in CALLBACKS.items():
        now = settings.get(key)
        if isinstance(now, dict) and now.get("@callbacks") == callback:
            continue
        if now is not None:
            moved.leave(f"nlp.{key}", str(now), "there is room for one only")
        else:
            moved.text.set_block("nlp", key, {"@callbacks": callback})
            moved.changes.append(f"nlp.{key}: null -> {callback}")
