"""Targets of tokens: a teacher's rows, reduced and kept on disk."""

from functools import cached_property
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, TypeVar

import numpy
from numpy.typing import NDArray
from spacy.attrs import ORTH, SPACY
from spacy.tokens import Doc
from spacy.util import logger
from tqdm import tqdm

from ...checks import InputError
from .database import DamagedStoreError, StoreError, set_aside
from .reduction import Reduction, ReductionSettings, fit
from .store import TargetStore
from .transformer_teacher import Teacher

# Words that the teacher encodes before anything is written: they are sorted by length.
# The reduction is fitted to the first group.
GROUP_WORDS = 50_000

T = TypeVar("T")


class Targets:
    """What is to be predicted for each token, for docs in any order.

    teacher: Gives rows. reduction: How they are reduced.
    cache_dir: Folder that keeps targets from one epoch or run to the next, in a folder
        of its own for each teacher and setting. None: they are computed each time.
    max_bytes: Of all targets kept; those beyond are computed each time.
    Raises: InputError, if the settings do not fit the teacher; later, as TargetStore.
    """

    def __init__(
        self,
        teacher: Teacher,
        reduction: ReductionSettings,
        cache_dir: Optional[Path] = None,
        max_bytes: int = 1 << 40,
    ) -> None:
        self.teacher = teacher
        self.settings = reduction
        self.width = reduction.out_width(teacher.width)
        if self.width > teacher.width:
            raise InputError(
                f"width is {self.width}, but {teacher.settings.transformer} is "
                f"{teacher.width} wide; take that or less"
            )
        self._cache_dir = cache_dir
        self._max_bytes = max_bytes
        self._reduction: Optional[Reduction] = None

    @cached_property
    def store(self) -> Optional[TargetStore]:
        """What is kept on disk; None if nothing is, or no longer.

        A damaged one is set aside. One that fails later than here is given up, for a
        run needs no cache to go on.
        """
        if self._cache_dir is None:
            return None
        try:
            return self._open(self._cache_dir)
        except DamagedStoreError as err:
            logger.warning("%s", err)
            set_aside(self._folder(self._cache_dir))
            return self._open(self._cache_dir)

    def _folder(self, cache_dir: Path) -> Path:
        name = Path(self.teacher.settings.transformer).resolve().name
        digest = sha256(self._about.encode()).hexdigest()[:16]
        return cache_dir / f"{name}-{digest}"

    @property
    def _about(self) -> str:
        return f"{self.teacher.identity} {self.settings}"

    def _open(self, cache_dir: Path) -> TargetStore:
        folder = self._folder(cache_dir)
        return TargetStore(folder, self.width, self._about, self._max_bytes)

    def _attempt(self, action: Callable[[TargetStore], T], otherwise: T) -> T:
        """Do something with the store, if there is one and it lets us."""
        if self.store is None:
            return otherwise
        try:
            return action(self.store)
        except DamagedStoreError as err:
            logger.warning("%s", err)
            self._renew(self.store)
        except StoreError as err:
            logger.warning("%s; targets are computed each time", err)
            self.store = None
        return otherwise

    def _renew(self, store: TargetStore) -> None:
        """Put a new store in the place of a damaged one, for the same reduction."""
        store.close()
        known, self.store = self._reduction, None
        try:
            set_aside(store.folder)
            new = self._open(store.folder.parent)
            if known is not None:
                new.set_reduction(known)
            # Another process may have been faster, and have another one.
            if known is None or known.is_same(new.reduction):
                self.store = new
        except InputError as err:
            logger.warning("%s; targets are computed each time", err)

    @property
    def reduction(self) -> Optional[Reduction]:
        """The fitted reduction, if there is one yet."""
        if self._reduction is None:
            self._reduction = self._attempt(self._read_reduction, None)
        return self._reduction

    def _read_reduction(self, store: TargetStore) -> Optional[Reduction]:
        found = store.reduction
        if found is not None and len(found.mean) != self.teacher.width:
            raise DamagedStoreError(
                f"{store.folder}: has a reduction of {len(found.mean)} numbers, but "
                f"the teacher gives {self.teacher.width}; it is fitted anew"
            )
        return found

    def prepare(self, docs: Iterable[Doc]) -> str:
        """Fit the reduction to the first docs, and keep the targets of all on disk.

        docs: The whole corpus; they are read as far as there is something to do.
        Interrupted and called again with the same docs, it continues where it was, and
        what it keeps is the same to the bit, on one machine and number of threads.
        Progress goes to standard error if that is a terminal.
        Returns: A hash of the reduction, which the targets depend on.
        """
        if self.store is None and self.reduction is not None:
            return self._fingerprint()
        with tqdm(desc="teacher", unit=" words", unit_scale=True, disable=None) as bar:
            for group in self._groups(docs):
                self._compute(group, bar.update)
                if self.store is None or self.store.is_full:
                    break
        return self._fingerprint()

    def _fingerprint(self) -> str:
        found = self.reduction
        if found is None:
            return ""
        return sha256(found.mean.tobytes() + found.axes.tobytes()).hexdigest()[:16]

    def __call__(self, docs: List[Doc]) -> NDArray:
        """Return the targets of all tokens, (N, width) float32, from disk if possible.

        Tokens without a row from the teacher get NaN. A reduction that is not fitted
        yet is fitted to these docs.
        """
        docs = [doc for doc in docs if len(doc)]
        keys = [hash_doc(doc) for doc in docs]
        by_key = dict(zip(keys, docs, strict=True))
        found: Dict[int, NDArray] = {}
        if self.reduction is not None:
            found = self._attempt(lambda store: store.read(list(by_key)), {})
        missing = {
            key: doc
            for key, doc in by_key.items()
            if key not in found or len(found[key]) != len(doc)
        }
        found.update(self._compute(missing))
        empty = numpy.zeros((0, self.width), dtype="float16")
        return numpy.concatenate([empty, *(found[key] for key in keys)]).astype("f")

    def _groups(self, docs: Iterable[Doc]) -> Iterator[Dict[int, Doc]]:
        """Yield docs by their hashes, those that have no targets yet.

        One by one: what a group leaves on disk decides which docs the next one has, so
        that groups are the same after an interruption.
        """
        group: Dict[int, Doc] = {}
        n_words = 0
        for doc in docs:
            key = hash_doc(doc)
            if not len(doc) or key in group or self._has(key):
                continue
            group[key] = doc
            n_words += len(doc)
            if n_words >= GROUP_WORDS:
                yield group
                group, n_words = {}, 0
        if group:
            yield group

    def _has(self, key: int) -> bool:
        if self.reduction is None:
            return False
        return self._attempt(lambda store: key in store, False)

    def _compute(
        self, docs: Dict[int, Doc], advance: Callable[[int], Any] = lambda n: None
    ) -> Dict[int, NDArray]:
        """Run the teacher, and keep the targets: (tokens, width) float16 by hash."""
        if not docs:
            return {}
        rows = self.teacher(list(docs.values()), advance)
        reduction = self.reduction or self._fit(numpy.concatenate(rows))
        if reduction is None:
            nothing = numpy.float16(numpy.nan)
            return {
                key: numpy.full((len(doc), self.width), nothing)
                for key, doc in docs.items()
            }
        targets = {key: reduction(array) for key, array in zip(docs, rows, strict=True)}
        self._attempt(lambda store: self._keep(store, targets), None)
        return targets

    def _fit(self, rows: NDArray) -> Optional[Reduction]:
        """Fit the reduction to rows, and keep it; None if there are none."""
        rows = rows[~numpy.isnan(rows[:, 0])]
        if not len(rows):
            return None
        fitted = fit(rows, self.settings)
        self._attempt(lambda store: store.set_reduction(fitted), None)
        # That of another process, if it was faster.
        self._reduction = self.reduction or fitted
        return self._reduction

    def _keep(self, store: TargetStore, targets: Dict[int, NDArray]) -> None:
        if not store.is_full:
            store.add(targets)
            self._warn_if_full(store)

    def _warn_if_full(self, store: TargetStore) -> None:
        if store.is_full:
            logger.warning(
                "%s: holds %.3g GB of targets, all that max_cache_gb allows; others "
                "are computed each time",
                store.folder,
                self._max_bytes / 1e9,
            )


def hash_doc(doc: Doc) -> int:
    """Return a hash of a doc's words and spaces, 64 bits."""
    tokens = doc.to_array([ORTH, SPACY]).astype("<u8").tobytes()
    return int.from_bytes(blake2b(tokens, digest_size=8).digest(), "little")
