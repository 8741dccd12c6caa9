"""Labels by meaning: what data and models call entailment, neutral, contradiction; used by nli and classify."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from hfkit.data.findings import Finding
from hfkit.errors import DataError, ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

ENTAILMENT, NEUTRAL, CONTRADICTION, OTHER = "entailment", "neutral", "contradiction", "non-entailment"
THREE_WAY = (ENTAILMENT, NEUTRAL, CONTRADICTION)
TWO_WAY = (ENTAILMENT, OTHER)
CLASSES = (*THREE_WAY, OTHER)
NO_GOLD = frozenset({"-1", "-", ""})  # SNLI's and GLUE's ways to say that a row has no gold label
DIGITS = {"0": ENTAILMENT, "1": NEUTRAL, "2": CONTRADICTION}  # the order of the Hub's glue, snli, xnli and anli

# Missing from the meanings on purpose: some sets use them for neutral, some for non-entailment.
UNRELATED = frozenset({"unrelated", "不相关", "无关"})

_MEANINGS = {
    **dict.fromkeys(("entailment", "entail", "entails", "entailed", "e", "蕴含", "蕴涵", "蘊含", "蘊涵"), ENTAILMENT),
    **dict.fromkeys(("neutral", "n", "中立", "中性"), NEUTRAL),
    **dict.fromkeys(("contradiction", "contradictory", "contradict", "contradicts", "c", "矛盾"), CONTRADICTION),
    **dict.fromkeys(("nonentailment", "notentailment", "notentailed", "非蕴含", "不蕴含"), OTHER),
}


def label_text(value: Any) -> str:
    """The one spelling of a label: integers, and floats that are whole, as digits; text as it stands; null as ""."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, Real):
        return str(value)
    if isinstance(value, Integral):
        return str(int(value))  # not by float, which has no room for large ones
    number = float(value)
    return str(int(number)) if number.is_integer() else repr(number)


@lru_cache(maxsize=1024)
def meaning(text: str) -> str | None:
    """The NLI class that a word means, whatever its case, hyphens and underscores; None when it is no such word."""
    return _MEANINGS.get(re.sub(r"[\s_-]+", "", text).lower())


def is_integer(text: str) -> bool:
    """Whether a label is an integer in plain digits; a text of hundreds of digits is a name."""
    return re.fullmatch(r"-?[0-9]{1,300}", text) is not None


def in_order(labels: Iterable[str]) -> list[str]:
    """Labels sorted as integers if all are, else by code point."""
    found = set(labels)
    return sorted(found, key=lambda text: (int(text), text)) if all(map(is_integer, found)) else sorted(found)


def settings_line(key: str, value: Mapping[str, str] | Sequence[str]) -> str:
    """A KEY=VALUE argument for the shell that the recipe's reader takes back to `value`."""
    if isinstance(value, Mapping):
        body = "{" + ", ".join(f"{_scalar(k)}: {_scalar(v)}" for k, v in value.items()) + "}"
    else:
        body = "[" + ", ".join(map(_scalar, value)) + "]"
    return shlex.quote(f"{key}={body}")


def show_counts(counts: Mapping[str, int], most: int = 8) -> str:
    """`neutral 3,434, "" 15`: the most frequent values and how often they occur."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{_short(text)} {count:,}" for text, count in ordered[:most])
    return shown + (f", and {len(ordered) - most} more" if len(ordered) > most else "")


def match_data_labels(counts: Mapping[str, int], given: Mapping[str, str | None]) -> dict[str, str | None]:
    """The class of each label value of a data set, None for values that say "no gold"; `given` goes first.

    Words are matched by meaning. Exactly 0, 1 and 2 are entailment, neutral and contradiction. Raises DataError, with
    the line to type, for anything else: unknown words, other numbers, words and numbers mixed.
    """
    matched = {value: given[value] if value in given else meaning(value.strip()) for value in in_order(counts)}
    open_values = [value for value, found in matched.items() if found is None and value not in given]
    unknown = [value for value in open_values if value.strip() not in NO_GOLD]
    if not unknown:
        return matched
    line = settings_line("nli.labels", _proposal(matched, unknown))
    hint = f"say what they mean (correct the classes in this line): {line}"
    words = [value for value, found in matched.items() if found and value not in given]
    if set(unknown) == set(DIGITS) and not words:
        return {**matched, **{value: DIGITS[value] for value in unknown}}
    if words and any(map(is_integer, unknown)):
        raise DataError(f"labels mix words and numbers: {show_counts(counts)}", hint)
    which = ", ".join(map(_short, unknown[:8]))
    if any(value.strip().lower() in UNRELATED for value in unknown):
        hint = f"some sets call neutral so, others non-entailment; {hint}"
    raise DataError(f"labels whose meaning is not known: {which} (all values: {show_counts(counts)})", hint)


def head_labels(config: PretrainedConfig) -> list[str] | None:
    """The label names of the classification head that a checkpoint has by its config, in order, or None."""
    return _names(config) if any("SequenceClassification" in name for name in config.architectures or []) else None


def model_labels(config: PretrainedConfig) -> list[str] | None:
    """The label names of a model in use: a checkpoint's head, or one that was just given names; else None."""
    named = any(not re.fullmatch(r"LABEL_\d+", name) for name in _names(config))
    return _names(config) if named else head_labels(config)


def _names(config: PretrainedConfig) -> list[str]:
    return [str(config.id2label[place]) for place in sorted(config.id2label or {}, key=int)]


def match_model_labels(labels: Sequence[str], given: Mapping[str, str] | None, *, training: bool = False) -> list[str]:
    """The NLI classes of a trained head, in its own order. Raises ModelError when its names do not say them.

    `given` names classes by the head's label (`LABEL_0`) or by its place (`0`).
    """
    given = given or {}
    found = [given.get(name) or given.get(str(place)) or meaning(name) for place, name in enumerate(labels)]
    classes = [name for name in found if name is not None]
    if len(classes) == len(labels) > 1 and len(set(classes)) == len(labels) and ENTAILMENT in classes:
        return classes
    example = dict(zip(labels, TWO_WAY if len(labels) == len(TWO_WAY) else THREE_WAY, strict=False))
    hints = [f"say it as the model card does, such as {settings_line('nli.model_labels', example)}"]
    if training:
        hints.append("or start a fresh head with `train.reset_head=true`")
    hints.append("or try all orders on labelled rows: `hfkit eval MODEL --task nli --data D nli.model_labels=auto`")
    raise ModelError(
        f"the model's labels do not say which class is which: {', '.join(map(_short, labels[:8]))}",
        ", ".join(hints) if len(labels) <= len(THREE_WAY) else "take a model trained for NLI",
    )


def unknown(value: Any, given: Mapping[str, str | None]) -> bool:
    """Whether a label is neither given a class, nor a word that means one, nor a way to say "no gold"."""
    text = label_text(value)
    return text not in given and meaning(text.strip()) is None and text.strip() not in NO_GOLD


def label_findings(counts: Mapping[str, int], matched: Mapping[str, str | None]) -> Iterator[Finding]:
    """What is dropped, how numbers are read, and which class has no row."""
    dropped = {value: counts[value] for value, found in matched.items() if found is None}
    if dropped:
        message = f"labels that say no gold, left out: {show_counts(dropped)}"
        yield Finding("warning", "no_gold", message, sum(dropped.values()))
    read = sorted(f"{value} as {name}" for value, name in matched.items() if name and is_integer(value))
    if read:
        yield Finding("note", "labels_by_number", f"labels are read by number: {', '.join(read)}")
    classes = {name for name in matched.values() if name}
    missing = [] if OTHER in classes else [name for name in THREE_WAY if name not in classes]
    if classes and missing:
        yield Finding("warning", "missing_class", f"no row is labelled {' or '.join(missing)}")


def _proposal(matched: Mapping[str, str | None], unknown: Sequence[str]) -> dict[str, str]:
    """A full `nli.labels` to correct: the values that are understood, and the free classes for the rest."""
    known = {value: found for value, found in matched.items() if found}
    names = TWO_WAY if OTHER in known.values() or (not known and len(unknown) == len(TWO_WAY)) else THREE_WAY
    free = [name for name in names if name not in known.values()] or [names[-1]]
    rest = {value: free[min(place, len(free) - 1)] for place, value in enumerate(in_order(unknown)[:6])}
    return {**rest, **known}


def _short(text: str, most: int = 40) -> str:
    shown = text if len(text) <= most else text[: most - 1] + "…"
    return shown if shown and shown == shown.strip() else json.dumps(shown, ensure_ascii=False)


def _scalar(text: str) -> str:
    plain = re.fullmatch(r"\w[\w-]*", text) and text.lower() not in ("true", "false", "null")
    number_like = text[:1].isdigit() and not (is_integer(text) and str(int(text)) == text)
    return text if plain and not number_like else json.dumps(text, ensure_ascii=False)
