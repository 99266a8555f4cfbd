"""Lock modes: what a holder has after asking again, and what a path's other parts are locked in.

Agents decide who gets what. The client needs to know the same to say after an agent's restart what it held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class ModeMatrix:
    """`conflicts`: for each mode, the held modes that asking for it has to wait for. `on_parents`: the mode that a lock on
    `a/b` in this mode needs on `a`; without one the path's other parts are not locked. Immutable."""

    def __init__(self, conflicts: Mapping[str, str], on_parents: Mapping[str, str]) -> None:
        self._conflicts = {mode: frozenset(text.split()) for mode, text in conflicts.items()}
        self._obstructs = {mode: frozenset(other for other, waits in self._conflicts.items() if mode in waits)
                           for mode in self._conflicts}
        self._on_parents = dict(on_parents)

    def __contains__(self, mode: str) -> bool:
        return mode in self._conflicts

    def __iter__(self) -> Iterator[str]:
        return iter(self._conflicts)

    def conflict(self, asked: str, held: str) -> bool:
        """Does asking for `asked` have to wait while another one holds `held`?"""
        return held in self._conflicts[asked]

    def covers(self, strong: str, weak: str) -> bool:
        """Has a holder of `strong` all that a holder of `weak` has?"""
        return self._conflicts[strong] >= self._conflicts[weak] and self._obstructs[strong] >= self._obstructs[weak]

    def join(self, held: str, asked: str) -> str:
        """The weakest mode that covers both: what a holder of `held` has after asking for `asked`."""
        covering = [mode for mode in self._conflicts if self.covers(mode, held) and self.covers(mode, asked)]
        return next(mode for mode in covering if all(self.covers(other, mode) for other in covering))

    def on_parents(self, mode: str) -> str | None:
        return self._on_parents.get(mode)


#: Intention shared, intention exclusive, shared, shared with intention exclusive, update, exclusive (Gray).
STANDARD = ModeMatrix(
    {"IS": "X", "IX": "S SIX U X", "S": "IX SIX X", "SIX": "IX S SIX U X", "U": "IX SIX U X", "X": "IS IX S SIX U X"},
    {"IS": "IS", "S": "IS", "IX": "IX", "SIX": "IX", "U": "IX", "X": "IX"},
)

#: The modes of VMS: null, concurrent read, concurrent write, protected read, protected write, exclusive.
DLM = ModeMatrix(
    {"NL": "", "CR": "EX", "CW": "PR PW EX", "PR": "CW PW EX", "PW": "CW PR PW EX", "EX": "CR CW PR PW EX"},
    {"CR": "CR", "PR": "CR", "CW": "CW", "PW": "CW", "EX": "CW"},
)
