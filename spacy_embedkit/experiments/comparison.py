"""What a plan found: each variant against another, by amount, set of docs and score."""

import statistics
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from .plan import Docs, Plan
from .trials import trial_name

Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """A score of one variant, in percent, against that of a base.

    values: Of each seed; base_values: those of the base, by seed too.
    """

    docs: Docs
    split: str
    set_name: str
    metric: str
    variant: str
    base: str
    values: Dict[int, float]
    base_values: Dict[int, float]
    n_planned: int

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.mean(self.values.values())

    @property
    def spread(self) -> Optional[float]:
        """Standard deviation over the seeds, None for one seed."""
        values = list(self.values.values())
        return statistics.stdev(values) if len(values) > 1 else None

    @property
    def seeds(self) -> List[int]:
        """Seeds that both have."""
        if self.variant == self.base:
            return []
        return [seed for seed in self.values if seed in self.base_values]

    @property
    def difference(self) -> Optional[float]:
        """Mean of this less the base, over the seeds that both have."""
        pairs = [(self.values[seed], self.base_values[seed]) for seed in self.seeds]
        return statistics.mean(a - b for a, b in pairs) if pairs else None

    @property
    def errors_removed(self) -> Optional[float]:
        """Percent of the base's errors; below 0 if there are more."""
        if self.difference is None:
            return None
        wrong = 100 - statistics.mean(self.base_values[seed] for seed in self.seeds)
        return 100 * self.difference / wrong if wrong > 0 else None

    @property
    def won(self) -> int:
        """Seeds that are better than the base with the same seed."""
        return sum(self.values[seed] > self.base_values[seed] for seed in self.seeds)

    @property
    def verdict(self) -> str:
        """Which is better, if its worst seed beats the other's best one."""
        if not self.seeds:
            return ""
        new, old = list(self.values.values()), list(self.base_values.values())
        if len(new + old) < 3:
            return "too few seeds"
        if min(new) > max(old):
            return "better"
        return "worse" if max(new) < min(old) else "within seed spread"

    def facts(self) -> Dict[str, Any]:
        """Return all that report.json has of it."""
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "mean": self.mean,
            "spread": self.spread,
            "difference": self.difference,
            "errors_removed": self.errors_removed,
            "seeds_won": self.won,
            "seeds_compared": len(self.seeds),
            "verdict": self.verdict,
        }


class Comparisons:
    """Looks up and compares the results of a plan."""

    def __init__(self, plan: Plan, results: Results) -> None:
        self.plan = plan
        self.results = results
        self.seeds: Dict[Tuple[str, Docs], List[int]] = {}
        for variant, amount, seed in plan.trials():
            self.seeds.setdefault((variant.name, amount.docs), []).append(seed)

    def tables(self) -> List[Tuple[str, str]]:
        """Return split and name of each set of docs, test first."""
        found: Dict[Tuple[str, str], None] = {}
        for split in ("test", "dev"):
            for result in self.results.values():
                found.update({(split, name): None for name in result["scores"][split]})
        return list(found)

    def last_amount(self) -> Docs:
        """Return the last amount of annotation of the plan that has results."""
        there = {result["docs"] for result in self.results.values()}
        amounts = [amount.docs for amount in self.plan.amounts]
        return [docs for docs in amounts if docs in there or not there][-1]

    def headline(self) -> List[str]:
        """Return the scores to report first."""
        if self.plan.metrics:
            return list(self.plan.metrics)
        weighed = {name for r in self.results.values() for name in r["weighed"]}
        return [name for name in self._found() if name in weighed]

    def metrics(self) -> List[str]:
        """Return all scores, those to report first before the others."""
        return list(dict.fromkeys([*self.headline(), *self._found()]))

    def _found(self) -> List[str]:
        found: Dict[str, None] = {}
        for result in self.results.values():
            for split in result["scores"].values():
                for scores in split.values():
                    found.update(dict.fromkeys(scores))
        return list(found)

    def values(
        self, variant: str, docs: Docs, split: str, set_name: str, metric: str
    ) -> Dict[int, float]:
        """Return a score by seed."""
        found = {}
        for seed in self.seeds.get((variant, docs), []):
            result = self.results.get(trial_name(variant, docs, seed))
            if result is not None:
                value = result["scores"][split].get(set_name, {}).get(metric)
                if value is not None:
                    found[seed] = value
        return found

    def compare(self, variant: str, base: str) -> Iterator[Comparison]:
        """Yield the comparisons of a variant by amount, set and score."""
        for amount in self.plan.amounts:
            for split, set_name in self.tables():
                for metric in self.metrics():
                    place = (amount.docs, split, set_name, metric)
                    values = self.values(variant, *place)
                    if values:
                        yield Comparison(
                            *place,
                            variant=variant,
                            base=base,
                            values=values,
                            base_values=self.values(base, *place),
                            n_planned=len(self.seeds[variant, amount.docs]),
                        )

    def with_baseline(self) -> List[Comparison]:
        """Compare all variants, in the order of the plan, with the baseline."""
        found = [
            row
            for variant in self.plan.variants
            for row in self.compare(variant.name, self.plan.baseline)
        ]
        amounts = [amount.docs for amount in self.plan.amounts]
        tables, metrics = self.tables(), self.metrics()
        return sorted(
            found,
            key=lambda row: (
                tables.index((row.split, row.set_name)),
                amounts.index(row.docs),
                metrics.index(row.metric),
            ),
        )

    def contributions(self) -> Dict[str, List[Comparison]]:
        """Compare on test, or else on dev, what each ingredient tells apart."""
        return {
            item.name: [
                row
                for row in self.compare(item.variant, item.base)
                if row.seeds and row.split == self.plan.judge[0]
            ]
            for item in self.plan.contributions
        }
