"""What the first process does for all: any failure of it reaches the others, who would wait for it otherwise."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from hfkit.errors import DataError, HfkitError
from hfkit.verbs.together import dealt, made_by_first, made_for_all, together


class Two:
    """The place of one of two processes; what the first one sends the other receives, pickled."""

    def __init__(self, sent: list[bytes], *, main: bool) -> None:
        self.world, self.sent = SimpleNamespace(main=main, size=2), sent

    def gather(self, value: Any) -> list[Any]:
        if self.world.main:
            self.sent.append(pickle.dumps(value))
        return [value if self.world.main else pickle.loads(self.sent.pop(0)), value]

    def scatter(self, parts: list[Any] | None) -> Any:
        if parts is not None:
            self.sent.append(pickle.dumps(parts[1]))
            return parts[0]
        return pickle.loads(self.sent.pop(0))

    def tell(self, name: str, value: Any) -> None:
        self.sent.append(pickle.dumps(value))

    def hear(self, name: str) -> Any:
        return pickle.loads(self.sent.pop(0))


class Unsendable(RuntimeError):
    """An error of a library that holds what cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("out of something")
        self.held = lambda: None


def failing(error: Exception) -> Any:
    raise error


def made(error: Exception) -> Any:
    yield from ()
    raise error


def for_all(place: Any, error: Exception) -> Any:
    if not place.world.main:
        return made_by_first(place, "rows")
    return list(made_for_all(place, "rows", made(error), lambda found: found))


@pytest.mark.parametrize("how", [together, dealt, None])
@pytest.mark.parametrize("error", [DataError("row 3", "mend it"), Unsendable()])
def test_a_failure_of_the_first_is_raised_on_all(how: Any, error: Exception) -> None:
    sent: list[bytes] = []
    for main, expected in ((True, type(error)), (False, DataError if isinstance(error, DataError) else HfkitError)):
        place = Two(sent, main=main)
        with pytest.raises(expected, match=str(error)) as caught:
            how(place, lambda: failing(error)) if how else for_all(place, error)
        assert type(caught.value) is expected
    assert sent == []


def test_what_the_first_makes_reaches_all() -> None:
    sent: list[bytes] = []
    assert (
        together(Two(sent, main=True), lambda: 7) == together(Two(sent, main=False), lambda: failing(ValueError())) == 7
    )
    assert dealt(Two(sent, main=True), lambda: ["a", "b"]) == "a" and dealt(Two(sent, main=False), list) == "b"
