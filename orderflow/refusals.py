"""What every refusal has in common. It knows no rule that could be broken."""

from typing import ClassVar


class Refused(Exception):
    """Somebody asked for what cannot be done; `str()` says what happened and what to do, to the person who asked.

    `code` is stable: programs may rely on it. `conflict` tells a request that is wrong in itself (False, HTTP 400) from one
    that does not fit what has happened meanwhile (True, HTTP 409).
    """

    code: ClassVar[str]
    conflict: ClassVar[bool] = False
