"""What an audit finds. It knows no invariant."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Check:
    """One invariant, as a sentence that should be true, and the rows that say otherwise."""

    claim: str
    offenders: tuple[str, ...]


def check(claim: str, offenders: Iterable[object]) -> Check:
    return Check(claim=claim, offenders=tuple(str(each) for each in offenders))
