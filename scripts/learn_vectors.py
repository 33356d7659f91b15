"""Learns floret vectors from raw text, cut in tokens by the pipeline's tokenizer."""

import json
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import spacy
from common import EXTRA, ProjectError, parser_for, positive, run_main, whole_output
from tqdm import tqdm


def import_floret() -> Any:
    """Import the library that learns the vectors, or say how to get it."""
    try:
        import floret
    except ImportError as err:
        raise ProjectError(f"the floret package is missing; {EXTRA}") from err
    return floret


def read_raw(path: Path) -> Iterator[str]:
    """Yield the texts of a raw.jsonl file."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)["text"]


def write_tokens(lang: str, raw: Path, target: Path) -> int:
    """Write one document per line, tokens apart by spaces; return their number."""
    tokenizer = spacy.blank(lang).tokenizer
    total = 0
    with target.open("w", encoding="utf-8") as file:
        for text in tqdm(list(read_raw(raw)), "tokenizing", unit=" documents"):
            words = [token.text for token in tokenizer(text) if not token.is_space]
            file.write(" ".join(words) + "\n")
            total += len(words)
    return total


def learn(args: Namespace, tokens: Path, target: Path) -> None:
    """Train the vectors and save them in floret's text format."""
    model = import_floret().train_unsupervised(
        str(tokens),
        model="cbow",
        mode="floret",
        hashCount=2,
        bucket=args.buckets,
        dim=args.width,
        minn=args.min_n,
        maxn=args.max_n,
        minCount=args.min_count,
        epoch=args.epochs,
        # More threads write into one table unordered: vectors differ on each run.
        thread=1,
        verbose=2,
    )
    model.save_floret_vectors(str(target))
    check_whole(target, args.buckets, args.width)


def check_whole(path: Path, buckets: int, width: int) -> None:
    """Refuse a table that was cut off: floret does not report a full disk."""
    with path.open(encoding="utf-8") as file:
        next(file, "")
        whole = [len(line.split()) == width + 1 and line[-1] == "\n" for line in file]
    if len(whole) != buckets or not all(whole):
        raise ProjectError(
            f"{path.name}: {sum(whole)} of {buckets} rows were written; "
            "check free space, then run again"
        )


def parse_args() -> Namespace:
    """Read the command line."""
    parser = parser_for(__doc__)
    add = parser.add_argument
    add("raw", type=Path, help="raw.jsonl of the corpus step")
    add("target", type=Path, help="text file to write")
    add("--lang", required=True, help="language code of the tokenizer")
    add("--buckets", type=positive, default=20000, help="rows of the table")
    add("--width", type=positive, default=100, help="numbers in a row")
    add("--min-n", type=positive, default=3, help="shortest character n-gram")
    add("--max-n", type=positive, default=5, help="longest character n-gram")
    add(
        "--min-count", type=positive, default=2, help="rarer words are not learned from"
    )
    add("--epochs", type=positive, default=5, help="passes over the text")
    args = parser.parse_args()
    if args.min_n > args.max_n:
        raise ProjectError(
            f"--min-n is {args.min_n} and --max-n {args.max_n}; make --min-n the "
            "smaller one"
        )
    return args


def main() -> None:
    """Do what the command line asks."""
    args = parse_args()
    import_floret()
    with whole_output(args.target) as target, tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder) / "tokens.txt"
        total = write_tokens(args.lang, args.raw, tokens)
        print(f"learning {args.buckets} x {args.width} from {total} tokens", flush=True)
        learn(args, tokens, target)
    print(f"{args.target}: written")


if __name__ == "__main__":
    run_main(main)
