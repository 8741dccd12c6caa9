"""Penn Treebank words of short lower-case text, as nltk's NLTKWordTokenizer cuts them; used by cmrc alone.

Only what can occur there is covered. The CMRC scorer has lower-cased the text and taken out - : _ * ^ / \\ ~ ` + = and
the curly quotes “ ” ’ before it asks for words, so rules for those (double dashes, backticks, stars) are not needed.
Compared with nltk 3.10 on random runs of the remaining alphabet: equal.
"""

import re
from functools import cache

# In this order: each rule sees what the ones before it have spaced out. A doubled quote mark becomes `` when it opens
# and '' when it closes, so an opening and a closing mark are different words.
_RULES: tuple[tuple[str, str], ...] = (
    # opening quotes
    (r"[«‘„]", r" \g<0> "),
    (r'^"', " `` "),
    (r"(?<=[ (\[{<])(?:\"|'')", " `` "),
    (r"(?<!\w)'(?=\w)(?!(?:re|ve|ll|m|t|s|d|n)\b)", "' "),
    # the full stop at the very end, and what closes behind it; other single full stops belong to their word
    (r"""(?<=[^.])\.([\])}>"'» ]*+)\s*$""", r" . \1 "),
    # a comma within a number stays: 10,000; the character behind is consumed, so of two commas the second stays
    (r",(\D)", r" , \1"),
    (r",$", " , "),
    (r"\.{2,}", r" \g<0> "),
    (r"[;@#$%&?!\u2012-\u2015]", r" \g<0> "),
    (r"(?<=[^'])' ", " ' "),
    (r"[\[\](){}<>]", r" \g<0> "),
    # closing quotes and what is cut off a word's end; spaces are needed on both sides from here on
    (r"^|$", " "),
    (r"»", " » "),
    (r"''", " '' "),
    (r'"', " '' "),
    (r"\s+", " "),
    (r"(?<=[^' ])('[smd]?) ", r" \1 "),
    (r"(?<=[^' ])('ll|'re|'ve|n't) ", r" \1 "),
    # two words written as one
    (r"\b(can)(not)\b", r" \1 \2 "),
    (r"\b(d)('ye)\b", r" \1 \2 "),
    (r"\b(gim|lem)(me)\b", r" \1 \2 "),
    (r"\b(gon)(na)\b", r" \1 \2 "),
    (r"\b(got)(ta)\b", r" \1 \2 "),
    (r"\b(more)('n)\b", r" \1 \2 "),
    (r"\b(wan)(na)(?=\s)", r" \1 \2 "),
    (r" ('t)(is)\b", r" \1 \2 "),
    (r" ('t)(was)\b", r" \1 \2 "),
)


def split_words(text: str) -> list[str]:
    """The words and punctuation marks of `text`, in order; [] for blank text."""
    if not text or text.isspace():
        return []
    for pattern, replacement in _compiled():
        text = pattern.sub(replacement, text)
    return text.split()


@cache
def _compiled() -> list[tuple[re.Pattern[str], str]]:
    """The rules, compiled when cmrc is first scored: it takes longer than a small file."""
    return [(re.compile(pattern), replacement) for pattern, replacement in _RULES]
