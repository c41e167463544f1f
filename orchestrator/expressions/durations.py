"""ISO 8601 durations of the product: weeks, days, hours, minutes, seconds. No years, no months.

Days and weeks are calendar days (same wall time in the customer's zone) wherever a ``Duration`` is
used; where the design says that a day is 24 h, ``milliseconds()`` gives the elapsed time.
"""

from __future__ import annotations

import re

from msgspec import Struct

DAY_MS = 86_400_000
_FORM = re.compile(
    r"P(?=\d|T\d)(?:(\d{1,5})W)?(?:(\d{1,6})D)?(?:T(?=\d)(?:(\d{1,7})H)?(?:(\d{1,8})M)?(?:(\d{1,9})S)?)?"
)


class Duration(Struct, frozen=True):
    """``days`` calendar days, then ``ms`` elapsed milliseconds."""

    days: int = 0
    ms: int = 0

    def milliseconds(self) -> int:
        """Return the elapsed time with days of 24 h."""
        return self.days * DAY_MS + self.ms

    def __bool__(self) -> bool:
        return bool(self.days or self.ms)


def parse_duration(text: str) -> Duration:
    """Return the duration that ``text`` names.

    Raises:
        ValueError: Not of the form ``P[nW][nD][T[nH][nM][nS]]``; the text says what to write.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        if re.match(r"P\d+[YM]", text):
            msg = f"{text!r}: years and months have no fixed length; write days (P30D), or PT1M for a minute"
            raise ValueError(msg)
        msg = f"{text!r} is no ISO 8601 duration such as P2D, PT48H or P1DT12H"
        raise ValueError(msg)
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return Duration(weeks * 7 + days, ((hours * 60 + minutes) * 60 + seconds) * 1000)
