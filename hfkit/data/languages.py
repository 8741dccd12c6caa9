"""Which writing, and for Latin letters which language, the texts of a column are in; rows that stand out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hfkit.data.findings import Finding
from hfkit.data.validators import Tally

if TYPE_CHECKING:
    from hfkit.tasks.base import Row

LETTERS = 6  # a text with fewer letters says nothing
WIDE = 3  # letters that a character of Chinese, Japanese or Korean stands for
KANA = 0.2  # Japanese has at least this share of kana among its characters; Chinese texts quote some
SHARE = 0.7  # of a text's letters that must be of one writing
WORDS = 4  # function words that must be found before a text in Latin letters is called anything but the column's main
LOOKED_AT = 2000  # characters of a text

LATIN = "Latin letters"
_WRITINGS = {
    LATIN: "A-Za-z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff",
    "Chinese": "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f",
    "Japanese": "\u3041-\u309f\u30a1-\u30ff\uff66-\uff9d",
    "Korean": "\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3",
    "Cyrillic": "\u0400-\u052f",
    "Greek": "\u0370-\u03ff\u1f00-\u1fff",
    "Arabic": "\u0620-\u064a\u066e-\u06d3\u06fa-\u06ff\u0750-\u077f",
    "Hebrew": "\u05d0-\u05ea",
    "Devanagari": "\u0904-\u0939\u0958-\u0961",
    "Thai": "\u0e01-\u0e30",
}
_PATTERNS = {name: re.compile(f"[{ranges}]") for name, ranges in _WRITINGS.items()}
# Words that are frequent in one of these languages and rare in the others.
_FUNCTION_WORDS = {
    "English": "the of and to is was that for with are his they this from which what who how were been have has you",
    "German": "der das und ist nicht ein eine mit von sich auf dem den wird auch wie zu wurde werden wer im sind",
    "French": "les des et est une dans qui que pour sur avec pas du au elle nous vous cette sont aux",
    "Spanish": "el los las y una por con para del se como más fue pero qué quién cuándo dónde están",
    "Portuguese": "os uma não com para do da dos das em foi mais pelo pela são você ao",
    "Italian": "il gli che della nel di è per sono non alla dei delle anche degli perché",
    "Dutch": "het een van zijn op met voor niet aan wordt werd ook naar door wie wat",
}
_OF_WORD: dict[str, list[str]] = {}
for _name, _words in _FUNCTION_WORDS.items():
    for _word in _words.split():
        _OF_WORD.setdefault(_word, []).append(_name)
_WORD = re.compile(r"[^\W\d_]+")


def mixed_languages(rows: Sequence[Row], columns: Sequence[str]) -> tuple[list[Finding], dict[str, dict[str, int]]]:
    """(a warning for each column with rows in another language than most, how many texts of a column are in which).

    Texts that are too short or too mixed to tell are counted as "unclear" and never warned of; of several texts in one
    row the first is looked at. No model is used: writings are told by their letters, languages in Latin letters by
    their commonest words.
    """
    findings: list[Finding] = []
    counts: dict[str, dict[str, int]] = {}
    for column in columns:
        known: dict[int, str] = {}  # contexts and premises repeat
        said = [_known_language(row.get(column), known) for row in rows]
        found = Counter(said)
        clear = Counter({name: times for name, times in found.items() if name != "unclear"})
        counts[column] = dict(found.most_common())
        if len(clear) > 1:
            findings += _strangers(rows, column, said, clear)
    return findings, counts


def language_of(text: str) -> str:
    """The writing or language of a text ("English", "Latin letters" for others in Latin letters, ...), or "unclear"."""
    text = text[:LOOKED_AT]
    if text.isascii():
        letters = {LATIN: sum(map(str.isalpha, text))}
    else:
        letters = {name: len(pattern.findall(text)) for name, pattern in _PATTERNS.items()}
    kana, kanji = letters.get("Japanese", 0), letters.get("Chinese", 0)
    japanese = kana > KANA * (kana + kanji)
    letters["Japanese"], letters["Chinese"] = (kana + kanji, 0) if japanese else (0, kana + kanji)
    letters |= {name: letters.get(name, 0) * WIDE for name in ("Chinese", "Japanese", "Korean")}
    total = sum(letters.values())
    name, most = max(letters.items(), key=lambda item: item[1])
    if most < LETTERS or most < SHARE * total:
        return "unclear"
    return _latin(text) if name == LATIN else name


def _known_language(value: object, known: dict[int, str]) -> str:
    value = value[0] if isinstance(value, list) and value else value
    if not isinstance(value, str):
        return "unclear"
    place = hash(value)
    if place not in known:
        known[place] = language_of(value)
    return known[place]


def _latin(text: str) -> str:
    hits = Counter(name for word in _WORD.findall(text) for name in _OF_WORD.get(word.lower(), ()))
    if not hits:
        return LATIN
    (name, most), *others = hits.most_common(2)
    return name if most >= WORDS and (not others or most >= 3 * others[0][1]) else LATIN


def _strangers(rows: Sequence[Row], column: str, said: Sequence[str], clear: Counter[str]) -> Iterator[Finding]:
    """Rows in another language than most. Latin letters with too few words to tell may be any such language."""
    latin = {LATIN, *_FUNCTION_WORDS}
    main = max(clear, key=lambda name: (clear[name], name != LATIN))
    if main == LATIN:
        named = Counter({name: times for name, times in clear.items() if name in _FUNCTION_WORDS})
        main = max(named, key=lambda name: named[name]) if named else main
    same = {main, *({LATIN} if main in latin else ())}
    tally, which = Tally(), Counter[str]()
    for row, name in zip(rows, said, strict=True):
        if name in clear and name not in same:
            tally.add(row)
            which[name] += 1
    if tally.count:
        shown = ", ".join(f"{name} {times:,}" for name, times in which.most_common(4))
        yield tally.finding("warning", "language_mix", f"{column} is in another language than {main} ({shown})")
