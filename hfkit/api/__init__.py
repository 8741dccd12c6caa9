"""The Python contract: the verbs as functions, with the same errors, progress on stderr, results as plain data."""

from hfkit.api.answering import evaluate, generate, predict, submission
from hfkit.api.competing import compete
from hfkit.api.packing import bundle
from hfkit.api.reports import check, compare, init, score
from hfkit.api.runs import diff_runs, list_runs, note_run, rerun, show_run
from hfkit.api.training import FinetunedRun, average, cv, ensemble, finetune, sweep

__all__ = [
    "FinetunedRun",
    "average",
    "bundle",
    "check",
    "compare",
    "compete",
    "cv",
    "diff_runs",
    "ensemble",
    "evaluate",
    "finetune",
    "generate",
    "init",
    "list_runs",
    "note_run",
    "predict",
    "rerun",
    "score",
    "show_run",
    "submission",
    "sweep",
]
