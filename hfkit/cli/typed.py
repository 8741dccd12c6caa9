"""What is typed in `hfkit generate --interactive`: lines with editing and history, or the lines of a pipe."""

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.files import cache_folder
from hfkit.stopping import reading

if TYPE_CHECKING:
    from hfkit.verbs.generate.talk import Typed

MARK, MORE = "> ", "... "
BLOCK = '"""'
HISTORY = "generate_history"  # in the cache, which is the user's alone
HISTORY_LINES = 1000


def entries() -> Iterator["Typed"]:
    """What is typed, until Ctrl-D or the end of the pipe: a line, or the lines between two \"\"\".

    Ctrl-C drops what is being typed. On a terminal each line is asked for; a pipe is only read.
    """
    from hfkit.verbs.generate.talk import Typed

    ask = _asker()
    while True:
        try:
            line = ask(MARK)
            text = _block(line, ask) if line is not None and line.startswith(BLOCK) else line
        except KeyboardInterrupt:
            _end_line()
            continue
        if text is None:
            if sys.stdin.isatty():
                _end_line()
            return
        yield Typed(text, block=line != text)


def _block(line: str, ask: Callable[[str], str | None]) -> str | None:
    """The text between two \"\"\", each also inside a line; None when the input ends before the second."""
    first = line.removeprefix(BLOCK)
    lines = [first] if first else []
    while not (lines and lines[-1].endswith(BLOCK)):
        more = ask(MORE)
        if more is None:
            return None
        lines.append(more)
    return "\n".join(lines).removesuffix(BLOCK)


def _asker() -> Callable[[str], str | None]:
    """A function (mark) -> the next line without its end, None behind the last."""
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="replace")
    terminal = sys.stdin.isatty()
    if terminal and sys.stdout.isatty():
        return _Edited().line

    def plain(mark: str) -> str | None:
        if terminal:  # stdout is a file: only data goes there
            sys.stderr.write(mark)
            sys.stderr.flush()
        with reading():
            text = sys.stdin.readline()
        return text.removesuffix("\n") if text else None

    return plain


class _Edited:
    """Lines typed with editing keys, and the history of earlier ones; without readline, as the terminal edits them."""

    def __init__(self) -> None:
        self._readline: Any = None
        with suppress(ImportError):  # Windows, or a Python built without it
            import readline

            self._readline = readline
            self._path = cache_folder() / HISTORY
            self._open(self._path)

    def line(self, mark: str) -> str | None:
        with reading():
            try:
                return input(mark)
            except EOFError:
                self._save()
                return None

    def _open(self, path: Path) -> None:
        from hfkit.verbs.generate.talk import COMMANDS

        def complete(text: str, state: int) -> str | None:
            return [*(name for name in COMMANDS if name.startswith(text) and text), None][state]

        self._readline.set_completer_delims(" ")
        self._readline.set_completer(complete)
        self._readline.parse_and_bind("tab: complete")
        self._readline.set_history_length(HISTORY_LINES)
        with suppress(OSError):  # the first time there is none
            self._readline.read_history_file(path)

    def _save(self) -> None:
        with suppress(OSError):
            if self._readline is not None:
                self._readline.write_history_file(self._path)

    def __del__(self) -> None:
        self._save()


def _end_line() -> None:
    sys.stderr.write("\n")
    sys.stderr.flush()
