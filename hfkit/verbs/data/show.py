"""`hfkit data show`: one row as a model sees it: its windows, token by token, where the label is, and what is cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from hfkit.data import describe, load
from hfkit.errors import DataError, UsageError
from hfkit.events import Event, note, resolved
from hfkit.recipe.keys import MODEL_KEYS, Data
from hfkit.recipe.overrides import check_override_sections, section_from_overrides
from hfkit.tasks import task_class
from hfkit.tasks.base import Feature, Row, Task
from hfkit.verbs.data.reading import Reader, fitted, length_of, reader_of, sound_rows, text_columns, unknown_id

if TYPE_CHECKING:
    from hfkit.data.rows import Rows

Token = dict[str, Any]  # token, id, part, label (bool); in the context of qa also start and end (characters)


def show(
    data: Any, *, task: str, model: str = "starter", row: int = 0, overrides: Sequence[str] = (), offline: bool = False
) -> Iterator[Event]:
    """Show row number `row` (of lm: the block) of `data`. Raises UsageError for a number that there is not."""
    kind = task_class(task)
    check_override_sections(overrides, (kind.name, "data", "max_length", *MODEL_KEYS))
    keys: Data = section_from_overrides(Data, "data", overrides, task=kind.name)
    reader = reader_of(model, kind, task, overrides, offline=offline)
    if not isinstance(reader, Reader):
        raise UsageError(
            f"tokens cannot be shown: {reader}", "give a model that has a tokenizer, such as --model starter"
        )
    columns = reader.task.columns
    rows = load(data, columns=columns, settings=keys, split="train", need_gold=False, limit=keys.limit, offline=offline)
    yield from map(note, describe(rows))
    names = text_columns(reader.task, rows)
    sound = sound_rows(rows, names)
    if not len(sound):
        raise DataError(f"{rows.name}: no row can be tokenised", "`hfkit data check D --task T` says why")
    bound, resolutions = fitted(reader, sound)
    for item in resolutions:
        yield resolved(item.key, item.value, item.why)
    chosen, features = chosen_features(bound, reader, rows, names, row)
    windows = [window(bound, reader.tokenizer, feature, names) for feature in features]
    yield Event(
        "result",
        {
            "task": task,
            "data": rows.name,
            "model": reader.name,
            "number": row,
            "row": shown_row(bound, chosen, names),
            "max_length": length_of(bound),
            "windows": windows,
            "cut": {} if reads_no_columns(bound) else cut(reader.tokenizer, chosen, names, windows),
        },
    )


def reads_no_columns(task: Task) -> bool:
    """Whether features are not made of columns one after the other, but of running text or by a template."""
    return task.blocks or task.driver == "likelihood"


def chosen_features(
    task: Task, reader: Reader, rows: Rows, columns: Sequence[str], number: int
) -> tuple[Row, list[Feature]]:
    """A row and its features; of running text the block of that number, as its own row."""
    if task.blocks:
        features = list(islice(task.encode(rows, reader.tokenizer), number, number + 1))
        if not features:
            raise UsageError(f"--row {number}: the text has fewer blocks", "blocks are counted from 0")
        return {"id": str(number)}, features
    if number >= len(rows):
        raise UsageError(f"--row {number}: the data has {len(rows):,} rows", f"rows are 0 to {len(rows) - 1}")
    row = rows[number]
    if not len(sound_rows(rows.subset([number]), columns)):
        raise DataError(
            f"row {number} ('{row['id']}') has a text that is null, empty or no text", "look at it in the file"
        )
    return row, list(task.encode([row], reader.tokenizer))


def shown_row(task: Task, row: Row, columns: Sequence[str]) -> dict[str, Any]:
    """The row's id, texts and gold."""
    names = ["id", *columns, *(c.name for c in task.columns if c.gold)]
    return {name: row[name] for name in names if name in row}


def window(task: Task, tokenizer: Any, feature: Feature, columns: Sequence[str]) -> dict[str, Any]:
    """One feature: its tokens by part, and its label in words."""
    ids = feature["input_ids"]
    tokens: list[Token] = [
        {"token": spelled(tokenizer, number), "id": number, "part": part, "label": False}
        for number, part in zip(ids, parts(tokenizer, feature, columns), strict=True)
    ]
    if "start_position" in feature:
        return {"tokens": tokens, "label": answer_label(feature, tokens)}
    if "target_ids" in feature:
        said = " ".join(spelled(tokenizer, number) for number in feature["target_ids"])
        return {"tokens": tokens, "label": {"target": f"{len(feature['target_ids'])} tokens: {said}"}}
    return {"tokens": tokens, "label": class_label(task, feature)}


def parts(tokenizer: Any, feature: Feature, columns: Sequence[str]) -> list[str]:
    """What each token belongs to: "special", or the column that it is of; of running text "seen" (context) or "text".

    Windows say which tokens are context. In a pair the special tokens after the first text separate the two.
    """
    ids = feature["input_ids"]
    special = set(tokenizer.all_special_ids) - {unknown_id(tokenizer)}
    if isinstance(feature.get("context"), list):
        inside = feature["context"]
        return [
            "context" if flag else "special" if number in special else "question"
            for number, flag in zip(ids, inside, strict=True)
        ]
    if "targets" in feature:
        return ["text" if scored else "seen" for scored in next_scored(feature)]
    found, text, inside_text = [], -1, False
    for number in ids:
        if number in special:
            found.append("special")
            inside_text = False
            continue
        text += not inside_text
        inside_text = True
        found.append(columns[min(text, len(columns) - 1)])
    return found


def next_scored(feature: Feature) -> list[bool]:
    """Of each token of running text or of a prompt with its choice: whether the one after it is scored."""
    if "asked" in feature:
        return [bool(asked) for asked in feature["asked"]]
    return [place >= feature["context"] for place in range(len(feature["input_ids"]))]


def answer_label(feature: Feature, tokens: list[Token]) -> dict[str, str]:
    """Marks the answer's tokens and says where they are; also gives the characters of the context's tokens."""
    for token, start, end, inside in zip(
        tokens, feature["char_start"], feature["char_end"], feature["context"], strict=True
    ):
        if inside:
            token |= {"start": start, "end": end}
    start, end, null = feature["start_position"], feature["end_position"], feature["null_index"]
    if start < 0:
        return {"answer": "none that could be located: this window is not trained on"}
    if start == null:
        return {"answer": f"not in this window: the label is token {null}, {tokens[null]['token']}"}
    for token in tokens[start : end + 1]:
        token["label"] = True
    first, last = feature["char_start"][start], feature["char_end"][end]
    return {"answer": f"tokens {start} to {end}, characters {first} to {last} of the context"}


def class_label(task: Task, feature: Feature) -> dict[str, str]:
    """The label of a row in words; of a block, what is scored."""
    names: Mapping[int, str] = task.model_config().get("id2label", {})
    if "targets" in feature:
        scored = sum(next_scored(feature))
        return {"scored": f"the tokens after the last {scored}; {feature['bytes']} bytes"}
    if "word" in feature:
        return {"scored": f"{np.count_nonzero(feature['word'])} tokens that masks may hide; {feature['bytes']} bytes"}
    if "label" in feature:
        number = feature["label"]
        return {"label": "none" if number < 0 else f"{names.get(number, '')} (class {number})".strip()}
    values = feature.get("labels", [])
    return {"labels": ", ".join(f"{names.get(place, place)} {value:g}" for place, value in enumerate(values))}


def cut(tokenizer: Any, row: Row, columns: Sequence[str], windows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of each text that no window holds whole: how many tokens are missing, of how many, and their text."""
    found = {}
    for name in columns:
        text = row[name].lstrip() if name == "question" else row[name]
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        offsets = encoded["offset_mapping"]
        held = [[token for token in one["tokens"] if token["part"] == name] for one in windows]
        if any("end" in token for tokens in held for token in tokens):  # windows of a context: by characters
            seen = {token["start"] for tokens in held for token in tokens}
            missing = [offset for offset in offsets if offset[0] not in seen]
        else:
            kept = max((len(tokens) for tokens in held), default=0)
            missing = offsets[: len(offsets) - kept] if tokenizer.truncation_side == "left" else offsets[kept:]
        if missing:
            text_cut = text[missing[0][0] : missing[-1][1]]
            found[name] = {"tokens": len(missing), "of": len(offsets), "text": text_cut}
    return found


def spelled(tokenizer: Any, number: int) -> str:
    """A token as people read it: WordPiece as it is, bytes as the text they stand for, a blank before it as ▁."""
    token = str(tokenizer.convert_ids_to_tokens(number))
    if token.isascii():
        return token
    text = tokenizer.decode([number])
    if not text or "\ufffd" in text:
        return token
    return "▁" + text[1:] if text.startswith(" ") and text != " " else text.replace("\n", "\\n")
