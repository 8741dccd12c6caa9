"""Which task a data set is for, and which of its columns is what: by names first, by what stands in them second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hfkit.data.answers import answers_of
from hfkit.data.columns import cell, well_known
from hfkit.data.peek import Peek
from hfkit.data.records import Bad
from hfkit.data.submission import Submission
from hfkit.errors import DataError, UsageError
from hfkit.tasks import task_class
from hfkit.tasks.base import Row
from hfkit.tasks.labels import DIGITS, ENTAILMENT, NO_GOLD, THREE_WAY, label_text, meaning
from hfkit.tasks.sample import some
from hfkit.tasks.targets import Survey, survey
from hfkit.verbs.init.contents import few_values, mean_length, of_one_kind
from hfkit.verbs.init.sides import sides

TEXT = 12  # characters that a text has on average at least


@dataclass(slots=True)
class Guess:
    """A task and where its columns are: all of them in `where`, those that must be said in `columns`."""

    task: str
    why: str
    where: dict[str, str | list[str]] = field(default_factory=dict)
    columns: dict[str, str | list[str]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)  # of the columns that must be said
    labels: dict[str, str] = field(default_factory=dict)  # nli: classes of labels that are not words
    notes: list[str] = field(default_factory=list)

    def has(self, name: str) -> bool:
        """Whether the data has the task's column."""
        return name in self.where

    def source(self, name: str) -> str:
        """The data's column of a task's column; the first of several."""
        found = self.where.get(name, name)
        return found if isinstance(found, str) else found[0]

    def say(self, name: str, column: str | list[str], why: str) -> None:
        """A column that is not found by its name alone."""
        self.where[name] = column
        self.columns[name] = column
        self.reasons[name] = why

    def texts(self, train: Peek, most: int) -> list[str]:
        """Some of the texts that the model reads."""
        if train.text is not None:
            return [train.text[:10_000]]
        gold = {column.name for column in task_class(self.task).columns if column.gold} | {"id"}
        names = [self.source(name) for name in self.where if name not in gold]
        return [str(cell(record, name) or "") for record in some(train.records, most) for name in names]

    def answers(self, train: Peek) -> list[list[Any]]:
        """The answers of each qa record; those that cannot be read count as some."""
        name = self.source("answers")
        read = [answers_of(record.get(name), record.get("answer_start")) for record in train.records]
        return [[None] if value is None or isinstance(value, Bad) else value for value in read]

    def survey(self, train: Peek) -> Survey:
        """What stands in the label column or columns. Raises DataError for mixed kinds."""
        source = self.where["label"]
        rows: list[Row] = [
            {
                "id": str(number),
                "label": record.get(source) if isinstance(source, str) else {name: record.get(name) for name in source},
            }
            for number, record in enumerate(train.records)
        ]
        return survey(rows)


def guess(train: Peek, test: Peek | None, sample: Submission | None, given: Mapping[str, Any]) -> Guess:
    """The task and its columns. Raises DataError when the data does not say, with what to type."""
    said = _said(given)
    task = given.get("task")
    if train.text is not None:
        if task in (None, "lm"):
            return Guess("lm", "a text file", where={"text": "text"})
        raise DataError(f"{train.name}: a text file has no columns for {task}", "give a .csv or .jsonl")
    target = _target(train, test, sample)
    if task not in (None, *FINDERS):
        hint = "`hfkit recipes list` shows recipes of others to begin with"
        raise UsageError(f"init drafts recipes of {', '.join(FINDERS)}, not of {task}", hint)
    if task == "seq2seq":  # said: its columns need not look like texts to write
        said = {**_known("seq2seq", train, said), **said}
    for name, find in FINDERS.items():
        if task in (None, name):
            found = find(train, target, said)
            if found is not None:
                _id(found, train, sample)
                found.columns = {name: part for name, part in found.columns.items() if name not in said}
                return found
    raise DataError(
        f"{train.name}: no task is plain from the columns {', '.join(train.columns[:12])}",
        "say what they are, e.g. data.columns.text=NAME data.columns.label=NAME",
    )


def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that the user names: task column -> the data's."""
    found = {key.split(".", 2)[2]: value for key, value in given.items() if key.startswith("data.columns.")}
    return found | (given["data.columns"] if isinstance(given.get("data.columns"), Mapping) else {})


def _known(task: str, train: Peek, said: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """The task's columns that the user names, or that are found by their names."""
    found: dict[str, str | list[str]] = {}
    for column in task_class(task).columns:
        name = said.get(column.name) or well_known(column, train.columns)
        if name is not None:
            found[column.name] = name
    return found


def _target(train: Peek, test: Peek | None, sample: Submission | None) -> list[str]:
    """The columns that are asked for: those of the sample that train has, else those that test lacks."""
    if sample is not None:
        asked = [name for name in sample.columns if name != sample.id_column and name in train.columns]
        if asked:
            return asked
    if test is not None:
        return [name for name in train.columns if name not in test.columns]
    return []


def _qa(train: Peek, target: Sequence[str], said: Mapping[str, Any]) -> Guess | None:
    where = _known("qa", train, said)
    if not {"question", "context", "answers"} <= set(where):
        return None
    return Guess("qa", "there are question, context and answers", where=where)


def _nli(train: Peek, target: Sequence[str], said: Mapping[str, Any]) -> Guess | None:
    """Pairs whose labels mean NLI classes; 0, 1 and 2 do where the columns are called premise and hypothesis."""
    where = _known("nli", train, said)
    if not {"premise", "hypothesis"} <= set(where):
        return None
    label = where.get("label") or (target[0] if len(target) == 1 else None)
    if not isinstance(label, str):
        return None
    values = {label_text(record.get(label)).strip() for record in train.records} - NO_GOLD
    words = bool(values) and all(meaning(value) for value in values)
    named = {"premise", "hypothesis"} <= {str(where["premise"]).lower(), str(where["hypothesis"]).lower()}
    if not words and not (named and values <= {*DIGITS, "3"}):
        return None
    found = Guess("nli", f"pairs of texts, labels {', '.join(sorted(values)[:4])}", where={**where, "label": label})
    if "label" not in where:
        found.say("label", label, "the test data lacks it")
    if not words:
        found.labels = {value: THREE_WAY[int(value)] for value in sorted(values) if value in DIGITS}
        if values == {"0", "1"}:
            found.labels = {"0": ENTAILMENT, "1": "non-entailment"}
        found.notes.append("the labels are numbers: check nli.labels against where the data comes from")
    return found


def _seq2seq(train: Peek, target: Sequence[str], said: Mapping[str, Any]) -> Guess | None:
    known = _known("seq2seq", train, said)
    found = sides(train, known, asked={"source", "target"} <= said.keys())
    if found is None:
        return None
    where: dict[str, str | list[str]] = {"source": found.source, "target": found.target}
    why = f"there are texts ({found.source}) and texts to write ({found.target})"
    made = Guess("seq2seq", why, where=known | where)
    if found.say:
        made.say("source", found.source, found.say)
        made.say("target", found.target, "")
    return made


def _classify(train: Peek, target: Sequence[str], said: Mapping[str, Any]) -> Guess | None:
    where = _known("classify", train, said)
    found = Guess("classify", "", where=where)
    label: str | list[str] | None = said.get("label")
    if label is None and target and not (len(target) == 1 and where.get("label") == target[0]):
        label = target[0] if len(target) == 1 else of_one_kind(train, target)
        if label is not None:
            found.say("label", label, "what is asked for")
    if "label" not in where:
        fitting = few_values(train, [name for name in where.values() if isinstance(name, str)])
        if len(fitting) != 1:
            return None
        found.say("label", fitting[0], "the one column with few different values")
    taken = where["label"]
    others = [name for name in train.columns if name != taken and name not in taken and name != where.get("id")]
    texts = {name: size for name in others if (size := mean_length(train, name)) >= TEXT or name in where.values()}
    if "text" not in where:
        if not texts:
            return None
        longest = max(texts, key=lambda name: texts[name])
        found.say("text", longest, "the longest texts")
    if "text_pair" in where and not mean_length(train, found.source("text_pair")):
        del where["text_pair"]
    named = {name for part in where.values() for name in ([part] if isinstance(part, str) else part)}
    unread = [name for name in texts if name not in named]
    if unread:
        found.notes.append(f"texts that are not read: {', '.join(unread[:5])}; a second one is data.columns.text_pair")
    pair = " and text_pair" if "text_pair" in where else ""
    found.why = f"there are text ({found.source('text')}){pair} and label ({_shown(where['label'])})"
    return found


def _lm(train: Peek, target: Sequence[str], said: Mapping[str, Any]) -> Guess | None:
    where = _known("lm", train, said)
    if "text" not in where:
        texts = [name for name in train.columns if mean_length(train, name) >= TEXT]
        if len(texts) != 1 or few_values(train, texts):
            return None
        found = Guess("lm", f"there is one column of text ({texts[0]}) and no label", where=where)
        found.say("text", texts[0], "the only texts")
        return found
    return Guess("lm", f"there is text ({_shown(where['text'])}) and no label", where=where)


def _id(found: Guess, train: Peek, sample: Submission | None) -> None:
    """The ids that the sample goes by, where they are not found by name."""
    if sample is not None and sample.id_column in train.columns and found.where.get("id") != sample.id_column:
        found.say("id", sample.id_column, "the sample's ids")


def _shown(name: str | list[str]) -> str:
    return name if isinstance(name, str) else ", ".join(name)


# in the order in which they are tried
FINDERS = {"qa": _qa, "nli": _nli, "seq2seq": _seq2seq, "classify": _classify, "lm": _lm}
