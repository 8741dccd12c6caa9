"""From the beginning of a data set to a draft: task, columns, target, lengths, metric, folds, each with why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hfkit.data.languages import language_of
from hfkit.data.peek import Peek
from hfkit.data.submission import Submission
from hfkit.data.validators import rows_text
from hfkit.tasks import task_class
from hfkit.tasks.targets import Survey, decide, label_names
from hfkit.verbs.init.columns import Guess, guess
from hfkit.verbs.init.lengths import lengths_of, lengths_words
from hfkit.verbs.init.text import Draft

FEW = 10_000  # rows below which folds are worth their time
ENGLISH = ("English", "Latin letters", "unclear")
CHINESE = "google-bert/bert-base-chinese"
EVERY_LANGUAGE = "FacebookAI/xlm-roberta-base"
UNEVEN = 3  # times as many rows of the commonest label as of the median one
SUMMARIES = {"summary", "highlights"}  # columns
QA_LENGTH, QA_STRIDE, QA_STEP = 384, 128, 32


def draft(
    data: str,
    train: Peek,
    test: Peek | None,
    sample: Submission | None,
    *,
    own_validation: bool,
    given: Mapping[str, Any],
) -> Draft:
    """The draft for training data; `given` are keys that the user has decided. Raises DataError, UsageError."""
    found = guess(train, test, sample, given)
    rows = f"{rows_text(len(train.records))}{'' if train.complete else ' or more'}"
    made = Draft(found.task)
    made.about.append(f"Written by hfkit init for {data}: {_size(train, rows)}.")
    made.about.append(f"Task {found.task}: {found.why}.")
    made.notes += [f"task {found.task}: {found.why}", *found.notes]
    if train.unreadable:
        made.notes.append(f"{rows_text(train.unreadable)} cannot be read; see `hfkit data check D --task {found.task}`")
    language = _language(train, found)
    model, why = _model(found.task, language, given)
    made.add("model", model, why)
    _data(made, data, train, found, own_validation=own_validation, competition=bool(test or sample))
    sections = {"qa": _qa, "nli": _nli, "seq2seq": _seq2seq, "classify": _classify, "lm": _lm}
    sections[found.task](made, train, found, sample, model, language)
    if test is not None:
        rest = f" --sample {sample.path} -o submission.csv" if sample else " -o predictions.jsonl"
        made.more.append(f"hfkit predict last --data {test.name}{rest}")
    return made


def _size(train: Peek, rows: str) -> str:
    return f"{len(train.text):,} characters" if train.text is not None else rows


def _language(train: Peek, found: Guess) -> str:
    texts = found.texts(train, 200)
    return Counter(language_of(text) for text in texts).most_common(1)[0][0] if texts else "unclear"


def _model(task: str, language: str, given: Mapping[str, Any]) -> tuple[str, str]:
    if "model" in given:
        return str(given["model"]), "as given"
    if task == "seq2seq":
        return "scratch:transformer-mini", "fresh weights; google-t5/t5-small continues a trained one"
    if task == "lm" and given.get("lm.objective") == "masked":
        return "scratch:bert-mini", "fresh weights; google-bert/bert-base-uncased continues a trained one"
    if task == "lm":
        return "scratch:gpt2-mini", "fresh weights; openai-community/gpt2 continues a trained one"
    if language == "Chinese":
        return CHINESE, "the texts are Chinese"
    if language in ENGLISH:
        return "starter", "small and quick, English; FacebookAI/roberta-base scores higher"
    return EVERY_LANGUAGE, f"the texts are {language}"


def _data(made: Draft, data: str, train: Peek, found: Guess, *, own_validation: bool, competition: bool) -> None:
    """Where rows come from, their columns, what is held out."""
    made.add("data.train", data)
    for name, column in found.columns.items():
        made.add(f"data.columns.{name}", column, found.reasons.get(name, ""))
    if own_validation:
        made.about.append("Validation is the set's own.")
        return
    group = task_class(found.task).group
    together = f", rows of one {group} together" if group else ""
    if found.task == "lm":
        made.add("data.validation_share", 0.1, "the end of the text is held out")
    elif competition and len(train.records) < FEW and train.complete:
        made.add("data.folds", 5, f"under {FEW:,} rows: train once for each fold{together}")
        made.add("data.fold", 0, "then data.fold=1, 2, 3, 4")
    else:
        made.add("data.validation_share", 0.1, f"held out of train{together}")
        made.add("data.folds", 5, "instead: five folds, and data.fold=0 to 4", on=False)


def _qa(made: Draft, train: Peek, found: Guess, sample: Submission | None, model: str, language: str) -> None:
    """Windows that fit the contexts, and the scorer."""
    sizes, unit = lengths_of(train, [found.source("question"), found.source("context")], model, language)
    most = sizes["p99"] + 3
    length = min(QA_LENGTH, max(64, -(-most // QA_STEP) * QA_STEP))
    made.add("qa.max_length", length, f"question and context: {lengths_words(sizes, unit)}; longer ones take windows")
    made.add("qa.stride", min(QA_STRIDE, length // 3), "what neighbouring windows share")
    unanswerable = sum(not answers for answers in found.answers(train))
    if language == "Chinese":
        made.add("qa.scorer", "cmrc", "Chinese: by characters, as CMRC 2018")
    else:
        scorer = "squad2" if unanswerable else "squad"
        why = f"{unanswerable:,} questions have no answer" if unanswerable else "every question has an answer"
        made.add("qa.scorer", scorer, why)
    _train(made, train, batch=16, metric="f1", why="exact_match is the other")


def _nli(made: Draft, train: Peek, found: Guess, sample: Submission | None, model: str, language: str) -> None:
    sizes, unit = lengths_of(train, [found.source("premise"), found.source("hypothesis")], model, language)
    made.add("nli.max_length", "auto", f"{lengths_words(sizes, unit)}")
    if found.labels:
        made.add("nli.labels", found.labels, "what the data's labels mean: check it")
    counts = Counter(str(record.get(found.source("label"))) for record in train.records)
    shown = ", ".join(f"{name} {times:,}" for name, times in counts.most_common(5))
    _train(made, train, batch=32, metric="accuracy", why=f"labels: {shown}")


def _classify(made: Draft, train: Peek, found: Guess, sample: Submission | None, model: str, language: str) -> None:
    """The target and the metric that goes with it, as far as labels and the sample submission tell."""
    columns = [found.source("text"), *([found.source("text_pair")] if found.has("text_pair") else [])]
    sizes, unit = lengths_of(train, columns, model, language)
    labels: Survey = found.survey(train)
    wanted = "auto"
    kinds: set[str] = set(sample.kinds.values()) if sample else set()
    if kinds == {"float"} and labels.values and len(labels.values) > 20 and _numbers(labels):
        wanted = "regression"
    target, why = decide(labels, wanted)
    names = label_names(labels, target)
    if target == "single":
        why = f"{len(names)} labels: {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"
    elif target == "regression":
        why = "numbers to predict" if wanted == "auto" else "numbers, and the sample asks for fractions"
    made.add("classify.target", target, why)
    made.add("classify.max_length", "auto", lengths_words(sizes, unit))
    metric, reason = _metric(target, labels, kinds, len(names))
    _train(made, train, batch=32, metric=metric, why=reason)


def _metric(target: str, labels: Survey, kinds: set[str], count: int) -> tuple[str, str]:
    if target == "regression":
        return ("mcrmse", "mean over the columns") if count > 1 else ("rmse", "pearson, spearman and qwk are others")
    if target == "multi":
        return ("log_loss", "the sample asks for fractions") if kinds == {"float"} else ("micro_f1", "or macro_f1")
    if kinds == {"float"}:
        if count == 2:
            return "roc_auc", "the sample asks for fractions; log_loss is the other"
        return "log_loss", "the sample asks for fractions"
    times = sorted(labels.values.values())
    if times[-1] > UNEVEN * times[len(times) // 2] or (count == 2 and times[-1] > UNEVEN * times[0]):
        return "macro_f1", f"labels are uneven ({times[0]:,} to {times[-1]:,} rows): accuracy would flatter"
    return "accuracy", f"labels are even enough ({times[0]:,} to {times[-1]:,} rows); macro_f1 is the other"


def _numbers(labels: Survey) -> bool:
    from hfkit.tasks.targets import number

    return all(number(text) is not None for text in labels.values)


def _lm(made: Draft, train: Peek, found: Guess, sample: Submission | None, model: str, language: str) -> None:
    made.add("lm.block_size", 256 if model.startswith("scratch:") else "auto", "tokens read at once")
    made.add("train.batch_size", 16)
    if model.startswith("scratch:gpt2"):  # of others the objective is not known here, so neither is its score
        made.add("train.metric", "perplexity", "lower is better")
    if model.startswith("scratch:"):
        made.add("train.lr", 1e-3, "fresh weights take a high rate")


def _seq2seq(made: Draft, train: Peek, found: Guess, sample: Submission | None, model: str, language: str) -> None:
    """Lengths of both sides, the score of what is written, and the many passes that fresh weights need."""
    for side in ("source", "target"):
        sizes, unit = lengths_of(train, [found.source(side)], model, language)
        made.add(f"seq2seq.max_{side}_length", "auto", lengths_words(sizes, unit))
    summaries = found.source("target").lower() in SUMMARIES
    metric, why = ("rouge_l", "summaries; chrf is another") if summaries else ("chrf", "bleu is another")
    if not model.startswith("scratch:"):
        _train(made, train, batch=16, metric=metric, why=why)
        return
    made.add("train.epochs", 15, "fresh weights take many passes; this and the next as the recipe multi30k")
    made.add("train.batch_size", 64)
    made.add("train.lr", 1e-3)
    made.add("train.warmup", 0.1)
    made.add("train.metric", metric, why)


def _train(made: Draft, train: Peek, *, batch: int, metric: str, why: str) -> None:
    few = len(train.records) < FEW and train.complete
    made.add("train.epochs", 3 if few else 2, f"under {FEW:,} rows: one more" if few else "")
    made.add("train.batch_size", batch)
    made.add("train.metric", metric, why)
