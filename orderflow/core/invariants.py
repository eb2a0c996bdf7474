"""The result of one consistency check."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class InvariantCheck:
    """One invariant, as a sentence, and the rows that violate it."""

    invariant: str
    violations: tuple[str, ...]


def check_invariant(invariant: str, violations: Iterable[object]) -> InvariantCheck:
    return InvariantCheck(invariant=invariant, violations=tuple(str(each) for each in violations))
