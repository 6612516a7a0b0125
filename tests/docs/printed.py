"""Compares what a document shows with what a program prints."""

import re
from collections.abc import Mapping

# What is another one each time and then stays: IDs, keys, secrets.
_NAMES = (
    r"(?:env|key|app|ep|msg|atmpt|job)_[0-9A-Z]{26}",
    r"octo_operator_[\w-]{43}",
    r"octo_[\w-]{43}",
    r"whsec_[A-Za-z0-9+/]{43}=",
)
# What is never the same: times and durations.
_VARYING = (
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z",
    r"(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d",
    r"\d+(?:\.\d+)?(?:e\+\d+)?m?s\b",
)
_TOKENS = [(pattern, True) for pattern in _NAMES] + [(pattern, False) for pattern in _VARYING]
_TOKEN = re.compile("|".join(f"({pattern})" for pattern, _ in _TOKENS))


class Shown:
    """The names that a document shows, with those that stand in their place in this run."""

    def __init__(self, names: Mapping[str, str]) -> None:
        """`names` are known from the beginning, such as ports."""
        self._actual = dict(names)

    def learn(self, name: str, actual: str) -> None:
        """From now on, this name stands for that."""
        self._actual[name] = actual

    def actual(self, text: str) -> str:
        """The text with every name that is known so far as it is in this run."""
        known = sorted(self._actual, key=len, reverse=True)
        if not known:
            return text
        return re.sub("|".join(map(re.escape, known)), lambda m: self._actual[m[0]], text)

    def fits(self, shown: str, printed: str) -> bool:
        """Whether a program printed this line; learns the names that are new in it.

        Spaces at the end make no difference, and how many there are between words does not either.
        """
        shown = self.actual(shown)
        pattern, new, end = "", [], 0
        for match in _TOKEN.finditer(shown):
            pattern += _literal(shown[end : match.start()])
            end = match.end()
            token_pattern, is_name = _TOKENS[(match.lastindex or 0) - 1]
            if not is_name:
                pattern += f"(?:{token_pattern})"
            elif match[0] in self._actual.values():
                pattern += re.escape(match[0])
            else:
                pattern += f"({token_pattern})"
                new.append(match[0])
        found = re.fullmatch(pattern + _literal(shown[end:].rstrip()), printed.rstrip())
        if found is None:
            return False
        self._actual.update(zip(new, found.groups(), strict=True))
        return True

    def difference(self, shown: str, printed: str) -> str | None:
        """Why the printed text is not what is shown; None when it is."""
        shown_lines, printed_lines = shown.rstrip().split("\n"), printed.rstrip().split("\n")
        for number, line in enumerate(shown_lines):
            there = printed_lines[number] if number < len(printed_lines) else "(nothing)"
            if not self.fits(line, there):
                return f"shown:   {self.actual(line)}\nprinted: {there}"
        surplus = printed_lines[len(shown_lines) :]
        return f"printed, and not shown: {surplus[0]}" if surplus else None


def _literal(text: str) -> str:
    """A pattern for the text with spaces of any number."""
    parts = [re.escape(part) for part in re.split(r" +", text)]
    return " +".join(parts)
