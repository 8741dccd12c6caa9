"""The keys of `qa:`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveInt

from hfkit.recipe.section import Auto, Section, key


class QASettings(Section):
    """The `qa:` section of a recipe."""

    on_request: ClassVar[frozenset[str]] = frozenset({"keep_characters"})
    of_scoring: ClassVar[frozenset[str] | None] = frozenset({"scorer", "null_threshold"})

    max_length: PositiveInt = key(384, "tokens of a window: question, part of the context, special tokens")
    stride: int = key(128, "tokens that neighbouring windows share", ge=0)
    max_question_length: PositiveInt = key(64, "tokens a question is cut to; never more than half of the window")
    max_answer_length: Auto | PositiveInt = key("auto", "tokens of an answer at most; auto: by training, at least 30")
    n_best: PositiveInt = key(20, "best spans kept of each window and each question")
    length_penalty: float = key(0.0, "taken from a span's score for each of its characters", ge=0, allow_inf_nan=False)
    answer_by: Literal["score", "expected_f1"] = key(
        "score", "which of the best spans answers: the highest score, or the highest F1 expected by their probabilities"
    )
    n_best_in_predictions: bool = key(False, "predictions carry `n_best`, with probabilities over the kept spans")
    keep_characters: bool = key(
        False, "predictions carry start and end log-probabilities by character, which ensembles are made of"
    )
    null_threshold: float | None = key(None, "above this null gap nothing is answered; null: 0 with squad2, else never")
    scorer: Literal["auto", "squad", "squad2", "cmrc", "mrqa", "adversarial"] = key(
        "auto", "official script that scores; auto: squad2 if any question is unanswerable, else squad"
    )
