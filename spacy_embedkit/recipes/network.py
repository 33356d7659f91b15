"""The network of our layers, and the callbacks that make pipelines faster."""

from typing import Any, Dict

from .draft import Draft, walk_blocks

WIDTH, DEPTH = 96, 4
# On one thread, tagger and parser predict 1.9 times as fast as stock's of 96 x 4, a
# tagger alone 1.35 times; at 256 x 6, a tagger alone falls below stock's.
LARGE_WIDTH, LARGE_DEPTH, LARGE_ROWS = 192, 6, 50_000
ROWS = 20_000
LISTENER = {
    "@architectures": "spacy.Tok2VecListener.v1",
    "width": "${components.tok2vec.model.encode.width}",
    "upstream": "*",
}
TOK2VEC = "tok2vec"
MODEL = f"components.{TOK2VEC}.model"
# Their vectors come from the tok2vec component; the stock one has its own tiny network.
SENTER = "senter"
WHY_EMBED = (
    "Words by their character n-grams, beside spaCy's hashed attributes: forms that "
    "training never saw share n-grams with forms that it saw. It runs once per word "
    "type, and its rows are cached in prediction."
)
WHY_ENCODE = (
    "spaCy's convolutions, with the same weights, several times faster on a CPU."
)
WHY_LARGE = (
    "Wider and deeper than spaCy's efficiency network (96, 4), and as fast, by faster "
    "layers and components."
)
WHY_ACCELERATE = "The components predict faster, with the same weights."
WHY_NULL = (
    " Set it to null to load the trained pipeline where spacy-embedkit is missing."
)
WHY_OPS = "Matrix products by an OpenBLAS with kernels for this processor, in training."


def put_network(draft: Draft, *, has_vectors: bool, is_large: bool) -> None:
    """Give a config of stock's our embedding and encoding layers."""
    width, depth = (LARGE_WIDTH, LARGE_DEPTH) if is_large else (WIDTH, DEPTH)
    if TOK2VEC not in draft.pipeline:
        draft.pipeline.insert(0, TOK2VEC)
    draft.put(f"components.{TOK2VEC}", {"factory": TOK2VEC})
    draft.put(MODEL, {"@architectures": "spacy.Tok2Vec.v2"})
    embed = embed_block(LARGE_ROWS if is_large else ROWS, has_vectors)
    why_vectors = " The static vectors are features, too." if has_vectors else ""
    draft.put(f"{MODEL}.embed", embed, WHY_EMBED + why_vectors)
    encode = {
        "@architectures": "spacy-embedkit.MaxoutWindowEncoder.v1",
        "width": width,
        "depth": depth,
        "window_size": 1,
        "maxout_pieces": 3,
    }
    draft.put(f"{MODEL}.encode", encode, WHY_LARGE if is_large else WHY_ENCODE)
    if SENTER in draft.components:
        draft.put(
            f"components.{SENTER}.model.tok2vec",
            dict(LISTENER),
            "It listens to the tok2vec component, as the others do.",
        )
    rows = f"n-grams in {embed['rows']:,} rows, {width} wide, {depth} convolutions"
    draft.say("network", rows + (", static vectors" if has_vectors else ""))


def embed_block(rows: int, has_vectors: bool) -> Dict[str, Any]:
    """Settings of the embedding layer."""
    return {
        "@architectures": "spacy-embedkit.SubwordHashEmbed.v1",
        "width": f"${{{MODEL}.encode.width}}",
        "rows": rows,
        "min_n": 3,
        "max_n": 5,
        "n_hashes": 2,
        "attrs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"],
        "attr_rows": [5000, 1000, 2500, 2500],
        "include_static_vectors": has_vectors,
    }


def put_callbacks(draft: Draft, *, trains_fast: bool) -> None:
    """Accelerate prediction, and matrix products in training."""
    accelerate = {"@callbacks": "spacy-embedkit.accelerate.v1"}
    why = WHY_ACCELERATE + ("" if trains_fast else WHY_NULL)
    draft.put("nlp.after_pipeline_creation", accelerate, why)
    if trains_fast:
        callback = {"@callbacks": "spacy-embedkit.fast_ops.v1"}
        draft.put("nlp.before_creation", callback, WHY_OPS)


def put_stock_vectors(draft: Draft) -> None:
    """Let stock's embedding layers use static vectors."""
    for name, block in walk_blocks(draft.components, "components"):
        if "include_static_vectors" in block:
            draft.put(f"{name}.include_static_vectors", True, "Of paths.vectors.")
