"""The official scripts that answers are scored by, by the names that `qa.scorer` takes."""

from __future__ import annotations

from collections.abc import Callable

from hfkit.metrics import cmrc, squad

# name -> (statistics of one answer, metrics of many, whose script it is)
SCORERS: dict[str, tuple[Callable[..., dict[str, float]], Callable[..., dict[str, float]], str]] = {
    "squad": (squad.measure_squad, squad.reduce_squad, "SQuAD v1.1 official"),
    "mrqa": (squad.measure_squad, squad.reduce_squad, "MRQA 2019 official (as SQuAD v1.1)"),
    "squad2": (squad.measure_squad2, squad.reduce_squad2, "SQuAD v2.0 official"),
    "adversarial": (
        squad.measure_squad,
        squad.reduce_squad,
        "AddSent official (SQuAD v1.1, worst variant of a question)",
    ),
    "cmrc": (cmrc.measure_cmrc, cmrc.reduce_cmrc, "CMRC 2018 official"),
}


def definitions(scorer: str) -> dict[str, str]:
    """What each metric of a scorer is, exactly, in one line."""
    source = SCORERS[scorer][2]
    exact = "share of questions whose answer equals a gold answer after normalisation, percent"
    if scorer == "cmrc":
        return {
            "exact_match": f"{source}: share of answers that equal a gold answer without punctuation, percent",
            "f1": f"{source}: F1 of the longest common run of characters and words, best gold answer, mean, percent",
            "average": f"{source}: mean of exact_match and f1",
        }
    found = {
        "exact_match": f"{source}: {exact}",
        "f1": f"{source}: word F1 with the best gold answer, mean over questions, percent",
    }
    if scorer == "squad2":
        found |= {
            "has_answer_exact_match": f"{source}: exact_match over answerable questions",
            "has_answer_f1": f"{source}: f1 over answerable questions",
            "no_answer_exact_match": f"{source}: share of unanswerable questions answered with nothing, percent",
        }
    return found
