"""What a file's bytes look like when they are not in the encoding that was asked for; used by the readers' errors."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path
from typing import IO

from hfkit.errors import DataError

_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAMPLE = 1 << 20  # bytes looked at around the first bad one


def check_known(encoding: str) -> None:
    """Raise DataError for a name that Python does not know, and for codecs that make no text (rot13, base64)."""
    try:
        b"a".decode(encoding)
    except UnicodeDecodeError:
        return  # a known one, of wider units
    except (LookupError, ValueError) as error:
        raise DataError(
            f"unknown encoding '{encoding}'", "data.encoding takes names such as utf-8, utf-16, gb18030, latin-1"
        ) from error


def is_utf8(encoding: str) -> bool:
    """Whether a name means UTF-8. Raises LookupError for a name that Python does not know."""
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


def refuse_wide(path: Path, encoding: str, open_bytes: Callable[[Path], IO[bytes]]) -> None:
    """Raise DataError when a file read as UTF-8 is UTF-16 or UTF-32: its bytes may decode, but not to its text."""
    if not is_utf8(encoding):
        return
    with open_bytes(path) as handle:
        start = handle.read(4096)
    name = wide_name(start)
    if name:
        raise DataError(f"{path} looks like {name.upper()}", f"try data.encoding={name}")


def wide_name(start: bytes) -> str | None:
    """The wide encoding that the first bytes of a file show by their mark, or by zeros at one side of pairs."""
    for mark, name in _WIDE_MARKS:
        if start.startswith(mark):
            return name
    for offset, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = start[offset::2].count(0), start[1 - offset :: 2].count(0)
        if zeros >= 2 and zeros > 0.02 * len(start) and others < 0.1 * zeros:
            return name
    return None


def undecodable(path: Path, encoding: str, open_bytes: Callable[[Path], IO[bytes]]) -> DataError:
    """The error for the first byte that the encoding does not allow: file, line, and what the file looks like."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with open_bytes(path) as handle:
        while True:
            chunk = handle.read(SAMPLE)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                held = error.object[: error.start]
                line += held.count(b"\n")
                byte = error.object[error.start]
                sample = error.object + handle.read(SAMPLE)
                return _refusal(path, encoding, line, byte, sample)
            except UnicodeError as error:
                return DataError(f"{path}: not {encoding} ({error})", "give its encoding: data.encoding=NAME")
            if not chunk:
                return DataError(f"{path}: not {encoding}", "give data.encoding")
            line += chunk.count(b"\n")


def _refusal(path: Path, encoding: str, line: int, byte: int, sample: bytes) -> DataError:
    guess = looks_like(sample)
    place = f"{path}:{line}: byte 0x{byte:02x} is not {encoding}"
    if guess:
        return DataError(f"{place}; the file looks like {_TITLES[guess]}", f"try data.encoding={guess}")
    return DataError(f"{place}; the file is damaged or in another encoding", "give its encoding: data.encoding=NAME")


_TITLES = {"gb18030": "GB18030", "cp1252": "Latin-1 (Windows-1252)", "big5": "Big5", "shift_jis": "Shift JIS"}


def looks_like(sample: bytes) -> str | None:
    """A guess among gb18030, shift_jis, big5 and cp1252, None when the bytes are mostly good UTF-8 or nothing fits.

    The multi-byte ones count only when nearly all their characters are common ideographs, kana or their punctuation;
    cp1252 only when most letters are plain ones.
    """
    high = sum(byte >= 0x80 for byte in sample)
    as_utf8 = sample.decode("utf-8", "ignore")
    if high and sum(len(char.encode()) for char in as_utf8 if char > "\x7f") > 0.8 * high:
        return None
    for name in ("gb18030", "big5", "shift_jis"):
        text = _decoded(sample, name)
        wide = [char for char in text if char > "\x7f"]
        if (
            len(wide) >= 2
            and 2 * len(wide) >= 0.9 * high
            and sum(map(_east_asian, wide)) > 0.95 * len(wide)
            and _common(wide, name)
        ):
            return name
    letters = high + sum(chr(byte).isalpha() for byte in sample if byte < 0x80)
    return "cp1252" if high < 0.3 * letters and _decoded(sample, "cp1252") else None


def _decoded(sample: bytes, name: str) -> str:
    """The text, or "" when the bytes do not fit; a character cut at the sample's end is forgiven."""
    try:
        return codecs.getincrementaldecoder(name)().decode(sample, final=False)
    except UnicodeDecodeError:
        return ""


def _east_asian(char: str) -> bool:
    return (
        "\u4e00" <= char <= "\u9fff"
        or "\u3000" <= char <= "\u30ff"
        or "\uff00" <= char <= "\uffef"
        or char in "“”‘’…—·《》"
    )


def _common(wide: list[str], name: str) -> bool:
    """Whether the ideographs are mostly frequent ones: in GB2312's or Big5's first level their lead bytes are low."""
    limits = {"gb18030": (0xA1, 0xD7), "big5": (0xA1, 0xC6), "shift_jis": (0x81, 0x97)}
    low, high = limits[name]
    leads = [char.encode(name, "ignore")[:1] for char in wide]
    return sum(bool(lead) and low <= lead[0] <= high for lead in leads) > 0.9 * len(leads)
