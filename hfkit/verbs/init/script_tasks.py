"""What only a script's task knows: its columns, lengths, languages and objective, with the scripts' own defaults."""

from __future__ import annotations

import re
from typing import Any

from hfkit.verbs.init.text import Draft

DEFAULT = "the script's default"
HIDDEN = 0.15  # share of the tokens that hfkit hides, and run_mlm.py unless told otherwise
MANY_LANGUAGES = re.compile(r"mbart|m2m|nllb", re.IGNORECASE)  # models that are told the languages by code


def columns(task: str) -> dict[str, str]:
    """A script's flag -> the task's column it names."""
    if task in ("qa", "qa-generation"):
        return {"question_column": "question", "context_column": "context", "answer_column": "answers"}
    if task == "seq2seq":
        return {"text_column": "source", "summary_column": "target"}
    first, second = ("premise", "hypothesis") if task == "nli" else ("text", "text_pair")
    return {"sentence1_key": first, "sentence2_key": second, "text_column_names": first, "text_column_name": "text",
            "label_column_name": "label"}  # fmt: skip


def task_keys(made: Draft, name: str, flags: dict[str, Any]) -> None:
    """The keys of the task's section of what the script `name` does; takes their flags out of `flags`."""
    length = flags.pop("max_seq_length", None) or flags.pop("max_length", None)
    if made.task == "qa":
        _qa(made, length, flags)
    elif made.task == "qa-generation":
        _qa_generation(made, length, flags)
    elif made.task == "seq2seq":
        if length is not None:
            flags["max_length"] = length  # neither script has it: said with what is left out
        _seq2seq(made, name, flags)
    elif made.task == "lm":
        block = flags.pop("block_size", None) or length
        if name.startswith("run_mlm"):
            _masked(made, name, flags)
        made.add("lm.block_size", block or "auto", "" if block else "the model's positions")
    else:
        made.add(f"{made.task}.max_length", length or 128, "" if length else DEFAULT)
        if made.task == "classify" and flags.pop("do_regression", False):
            made.add("classify.target", "regression")


def _qa(made: Draft, length: Any, flags: dict[str, Any]) -> None:
    made.add("qa.max_length", length or 384, "" if length else DEFAULT)
    made.add("qa.stride", flags.pop("doc_stride", 128), "tokens that two windows share")
    made.add("qa.max_answer_length", flags.pop("max_answer_length", 30), "")
    made.add("qa.n_best", flags.pop("n_best_size", 20))
    made.add("qa.scorer", _scorer(flags))
    if (question := flags.pop("max_query_length", None)) is not None:
        made.add("qa.max_question_length", question)
    if (threshold := flags.pop("null_score_diff_threshold", None)) is not None:
        made.add("qa.null_threshold", threshold)


def _qa_generation(made: Draft, length: Any, flags: dict[str, Any]) -> None:
    made.add("qa-generation.max_source_length", length or 384, "" if length else DEFAULT)
    made.add("qa-generation.stride", flags.pop("doc_stride", 128), "tokens that two windows share, in training too")
    answer = flags.pop("max_answer_length", None)
    made.add("qa-generation.max_target_length", answer or 30, "" if answer else DEFAULT)
    made.add("qa-generation.label_smoothing", flags.pop("label_smoothing_factor", 0.0))
    made.add("qa-generation.scorer", _scorer(flags))


def _scorer(flags: dict[str, Any]) -> str:
    return "squad2" if flags.pop("version_2_with_negative", False) else "squad"


def _seq2seq(made: Draft, name: str, flags: dict[str, Any]) -> None:
    for side, script in (("source", 1024), ("target", 128)):
        length = flags.pop(f"max_{side}_length", None)
        made.add(f"seq2seq.max_{side}_length", length or script, "" if length else DEFAULT)
    made.add("seq2seq.label_smoothing", flags.pop("label_smoothing_factor", 0.0), "the loss of the script")
    if (prefix := flags.pop("source_prefix", None)) is not None:
        made.add("seq2seq.source_prefix", str(prefix))
    if name.startswith("run_translation"):
        made.add("train.metric", "bleu", "the script's score")
        _languages(made, flags)
        return
    made.add("train.metric", "rouge_l", "the script's rougeL without its stemmer")
    if (language := flags.pop("lang", None)) is not None:
        made.add("seq2seq.source_language", language)
        made.add("seq2seq.target_language", language)


def _languages(made: Draft, flags: dict[str, Any]) -> None:
    """The two languages: columns inside `translation`, and codes where the model is one of many languages."""
    model = next((str(line.value) for line in made.lines if line.key == "model"), "")
    for side in ("source", "target"):
        language = flags.pop(f"{side}_lang", None)
        if language is None:
            continue
        made.add(f"data.columns.{side}", f"translation.{str(language).split('_')[0]}", "as the script reads it")
        if MANY_LANGUAGES.search(model):
            made.add(f"seq2seq.{side}_language", language, "the model's code")


def _masked(made: Draft, name: str, flags: dict[str, Any]) -> None:
    made.add("lm.objective", "masked", "hidden words")
    share = flags.pop("mlm_probability", HIDDEN)
    if share != HIDDEN:
        made.left_out.append(f"--mlm_probability {share}: hfkit hides {HIDDEN:.0%} of the tokens, always")
    if name.startswith("run_mlm_wwm"):
        made.add("lm.whole_word", True, "all pieces of a word together")
