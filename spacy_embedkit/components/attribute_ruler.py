"""spaCy's AttributeRuler, which matches each combination of attributes once."""

from typing import Iterable, Iterator, List, Optional

from spacy.pipeline import AttributeRuler
from spacy.tokens import Doc
from spacy.util import minibatch

from .patterns import UnknownPatternError
from .rules import Change, RuleTable

TABLE = "_embedkit_table"


class CachedAttributeRuler(AttributeRuler):
    """An AttributeRuler that looks up what its rules do to a token.

    Rules that are added, loaded or cleared count from the next doc on. With a rule that
    RuleTable doesn't know it works as before.
    """

    def __call__(self, doc: Doc) -> Doc:
        """Apply the rules to a doc, in place."""
        changes = self._match([doc])
        if changes is None:
            return super().__call__(doc)
        # None after an error that was handled, as in spaCy.
        return next(self._apply(changes), None)  # type: ignore[return-value]

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Apply the rules to a stream of docs, in place."""
        for batch in minibatch(stream, size=batch_size):
            docs = list(batch)
            changes = self._match(docs)
            if changes is None:
                yield from super().pipe(docs, batch_size=batch_size)
            else:
                yield from self._apply(changes)

    def _match(self, docs: List[Doc]) -> Optional[List[Change]]:
        """Return what the rules do; None if spaCy's own code has to tell.

        That is also for a doc whose attributes are not among the strings: it fails
        there, alone.
        """
        table = self._find_table()
        try:
            return table.match(docs) if table else None
        except KeyError:
            return None

    def _apply(self, changes: List[Change]) -> Iterator[Doc]:
        handle_error = self.get_error_handler()
        for change in changes:
            try:
                change.apply()
            except Exception as err:
                handle_error(self.name, self, [change.doc], err)
            else:
                yield change.doc

    def _find_table(self) -> Optional[RuleTable]:
        """Return the table of the rules, made anew if they have changed."""
        table: Optional[RuleTable] = self.__dict__.get(TABLE)
        if table is None or not table.is_current(self):
            try:
                table = self.__dict__[TABLE] = RuleTable(self)
            except UnknownPatternError:
                return None
        return table


def accelerate_ruler(pipe: AttributeRuler) -> Optional[str]:
    """Change the class of a component; return the reason if it has to stay."""
    try:
        table = RuleTable(pipe)
    except UnknownPatternError as err:
        return str(err)
    pipe.__class__ = CachedAttributeRuler
    pipe.__dict__[TABLE] = table
    return None


def restore_ruler(pipe: AttributeRuler) -> None:
    """Give a component its own class back."""
    pipe.__class__ = AttributeRuler
    pipe.__dict__.pop(TABLE, None)
