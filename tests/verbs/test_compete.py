"""compete without a model: what is recognised and why, first files, the clock, the plan, the journal, the judge."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hfkit.data.rows import Rows
from hfkit.data.submission import Submission, read_table
from hfkit.errors import HfkitError, UsageError
from hfkit.recipe.load import build, dump
from hfkit.run import Run
from hfkit.tasks.classify import Classify, ClassifySettings
from hfkit.verbs.compete import opening
from hfkit.verbs.compete.candidates import CANDIDATES, Change, changes_to_try
from hfkit.verbs.compete.clock import Clock, TimeUp, watched
from hfkit.verbs.compete.closing import Ending, result_of
from hfkit.verbs.compete.fallback import likely_sentence, prior, write_sample
from hfkit.verbs.compete.journal import Journal
from hfkit.verbs.compete.judge import Gain, Judge
from hfkit.verbs.compete.members import DONE, Member, resumed_or
from hfkit.verbs.compete.recognise import Recognised, recognised
from hfkit.verbs.compete.report import gain_words
from hfkit.verbs.compete.stages import Known, Rate, called, following, upcoming
from hfkit.verbs.compete.standing import Contender, replaces, submitted
from hfkit.verbs.compete.state import resumed
from hfkit.verbs.compete.work import Contest, contend, limit_of, put_back
from hfkit.verbs.submission import own_names
from hfkit.verbs.trained import read_rows

MODEL = ("scratch:bert-mini",)
TEXT = "the old mill by the river stands still since the day number {}"
CONTEXT = "The mill was built by Ada in 1840. It stands by the river and is still."


def table(path: Path, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    """A csv or tsv file."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerows([head, *rows])
    return path


def lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def labelled(folder: Path, head: Sequence[str], labels: Callable[[int], Sequence[Any]], empty: Sequence[Any]) -> Any:
    """A competition of texts in csv files: 60 training rows, 6 test rows, a sample that holds `empty`."""
    names = list(head)
    train = [[n, TEXT.format(n), *labels(n)] for n in range(60)]
    test = [[n, TEXT.format(n)] for n in range(100, 106)]
    sample = [[n, *empty] for n in range(100, 106)]
    return (
        table(folder / "train.csv", ["id", "text", *names], train),
        table(folder / "test.csv", ["id", "text"], test),
        table(folder / "sample.csv", ["id", *names], sample),
    )


def pairs(folder: Path) -> Any:
    train = [[n, TEXT.format(n), TEXT.format(n * 3 % 7), n % 2] for n in range(60)]
    test = [[n, TEXT.format(n), TEXT.format(1)] for n in range(100, 106)]
    return (
        table(folder / "train.tsv", ["id", "question1", "question2", "is_duplicate"], train),
        table(folder / "test.tsv", ["id", "question1", "question2"], test),
        table(folder / "sample.csv", ["id", "is_duplicate"], [[n, 0.5] for n in range(100, 106)]),
    )


def entailment(folder: Path) -> Any:
    rows = [{"id": f"n{n}", "premise": TEXT.format(n), "hypothesis": "it stands", "label": n % 3} for n in range(70)]
    test = [{key: value for key, value in row.items() if key != "label"} for row in rows[60:]]
    sample = [{"id": row["id"], "label": 0} for row in rows[60:]]
    made = (lines(folder / "train.jsonl", rows[:60]), lines(folder / "test.jsonl", test))
    return (*made, lines(folder / "sample.jsonl", sample))


def questions(folder: Path) -> Any:
    """SQuAD's own form, the sample {id: answer}."""

    def asked(n: int, *, gold: bool) -> dict[str, Any]:
        answers = [{"text": "Ada", "answer_start": CONTEXT.index("Ada")}] if gold else []
        return {"id": str(n), "question": f"Who built the mill {n}?", "answers": answers}

    def squad(name: str, ids: Sequence[int], *, gold: bool) -> Path:
        """Questions on six contexts."""
        texts = [(f"{CONTEXT} Part {part}.", [asked(n, gold=gold) for n in ids if n % 6 == part]) for part in range(6)]
        paragraphs = [{"context": context, "qas": questions} for context, questions in texts]
        data = {"version": "1.1", "data": [{"title": "m", "paragraphs": paragraphs}]}
        (folder / name).write_text(json.dumps(data), encoding="utf-8")
        return folder / name

    sample = folder / "sample.json"
    sample.write_text(json.dumps({str(n): "" for n in range(100, 106)}), encoding="utf-8")
    return squad("train.json", range(60), gold=True), squad("test.json", range(100, 106), gold=False), sample


LABELS = ("bread", "salt", "mill")
KINDS: dict[str, tuple[Callable[[Path], Any], dict[str, Any]]] = {
    "single": (
        lambda folder: labelled(folder, ["kind"], lambda n: [LABELS[n % 3]], ["bread"]),
        {"task": "classify", "target": "single", "metric": "accuracy"},
    ),
    "probabilities": (
        lambda folder: (
            *labelled(folder, ["kind"], lambda n: [LABELS[n % 3]], ["bread"])[:2],
            table(folder / "shares.csv", ["id", *LABELS], [[n, 0.5, 0.25, 0.25] for n in range(100, 106)]),
        ),
        {"task": "classify", "target": "single", "metric": "log_loss"},
    ),
    "several": (
        lambda folder: labelled(folder, LABELS, lambda n: [n % 2, int(n % 3 == 0), 1], [0, 0, 0]),
        {"task": "classify", "target": "multi", "metric": "micro_f1"},
    ),
    "number": (
        lambda folder: labelled(folder, ["price"], lambda n: [n / 7 + 0.5], [0.0]),
        {"task": "classify", "target": "regression", "metric": "rmse"},
    ),
    "numbers": (
        lambda folder: labelled(folder, ["depth", "width"], lambda n: [n / 7 + 0.5, n], [0.0, 0.0]),
        {"task": "classify", "target": "regression", "metric": "mcrmse"},
    ),
    "pairs": (pairs, {"task": "classify", "target": "single", "metric": "log_loss"}),
    "nli": (entailment, {"task": "nli", "metric": "accuracy"}),
    "qa": (questions, {"task": "qa", "metric": "f1"}),
}


def found_in(folder: Path, kind: str, **options: Any) -> tuple[Recognised, Path, Path]:
    train, test, sample = KINDS[kind][0](folder)
    return recognised(str(train), str(test), sample, models=MODEL, **options), test, sample


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_recognised_and_has_a_valid_file_without_a_model(kind: str, tmp_path: Path) -> None:
    found, test, sample = found_in(tmp_path, kind)
    expected = KINDS[kind][1]
    assert found.recipe.task == expected["task"] and found.metric == expected["metric"]
    assert getattr(found.recipe.settings, "target", None) == expected.get("target")
    assert found.better == ("lower" if found.metric in ("rmse", "mcrmse", "log_loss") else "higher")
    assert found.recipe.data.folds is None and found.models == MODEL
    assert "(" in found.why["metric"] and found.why["task"].startswith(expected["task"])

    task, gold = opening.likely_rows(found, offline=True)
    rows = read_rows(task, str(test), found.test_keys, gold=False, limit=None, offline=True)
    shape = opening.shape_of(found, rows)
    path = opening.submission_path(found, tmp_path)
    assert path.suffix == sample.suffix
    write_sample(shape, path)
    assert read_table(path).rows == read_table(sample).rows
    shape.write(path, prior(task, gold, rows), own_names(task))
    written = Submission.read(path, shape.ids)
    assert written.ids == shape.ids and written.columns == shape.columns
    first = dict(zip(written.columns, written.table.rows[0], strict=True))
    if kind == "numbers":
        assert float(first["width"]) == pytest.approx(29.5)
    if kind == "several":
        assert [first[name] for name in LABELS] == ["0", "0", "1"], "what most rows have"
    if kind == "probabilities":
        assert [float(first[name]) for name in LABELS] == pytest.approx([1 / 3] * 3)
    if kind == "qa":
        assert first["prediction"] == "The mill was built by Ada in 1840."


def test_what_is_recognised_can_be_said_otherwise(tmp_path: Path) -> None:
    found, _, _ = found_in(tmp_path, "single", metric="macro_f1", overrides=["train.epochs=1", "data.folds=4"])
    assert found.metric == "macro_f1" and found.why["metric"] == "macro_f1 (as given)"
    assert found.recipe.train.epochs == 1 and found.recipe.data.folds == 4
    assert {"train.epochs", "data.folds"} <= found.given
    found, _, _ = found_in(tmp_path, "nli", overrides=["task=classify"])
    assert found.recipe.task == "classify" and found.recipe.settings.target == "single"
    for key, word in (("model=starter", "--models"), ("train.time=1h", "--time"), ("data.fold=0", "held out")):
        with pytest.raises(UsageError, match="compete decides") as refused:
            found_in(tmp_path, "single", overrides=[key])
        assert word in str(refused.value.hint)
    with pytest.raises(UsageError, match="'f2' is not a metric"):
        found_in(tmp_path, "single", metric="f2")
    train, test, sample = KINDS["single"][0](tmp_path)
    with pytest.raises(HfkitError):
        recognised(str(train), str(test), sample, models=["./not-there"])


def test_the_likely_sentence_answers_unless_most_questions_have_no_answer() -> None:
    row = {"id": "0", "question": "Where does it stand?", "context": CONTEXT}
    assert likely_sentence(row) == "It stands by the river and is still."
    assert likely_sentence({**row, "context": " "}) == ""
    from hfkit.tasks.qa.task import QA

    task = QA(QA.Settings())
    none = [{**row, "answers": []}] * 3
    assert prior(task, [*none, {**row, "answers": [{"text": "Ada", "start": 22}]}], [row])[0]["prediction"] == ""


def test_the_clock_keeps_back_what_the_end_takes() -> None:
    now = [0.0]
    clock = Clock(100.0, 10.0, now=lambda: now[0])
    assert clock.spent == 10 and clock.reserve == 4 and clock.left == 86
    clock.closing_took(4.0)
    assert clock.reserve == 8 and clock.left == 82
    clock.check()
    now[0] = 9.0
    clock.check()
    assert clock.reserve == 9, "work was not left for 9 seconds"
    now[0] = 40.0
    clock.check()
    assert clock.reserve == 10, "a tenth of the time at most"
    seen = []

    def work() -> Any:
        try:
            for number in range(9):
                now[0] += 10
                yield number
        finally:
            seen.append("closed")

    with pytest.raises(TimeUp):
        seen += list(watched(work(), clock))
    assert seen == ["closed"] and clock.left <= 0
    assert Clock(10.0, 0, now=lambda: 0.0).reserve == 4 and Clock(7200.0, 0, now=lambda: 0.0).reserve == 30


BASE = Known(budget=1000, left=990, models=("a",), epochs=3, seed=42, most_folds=500)
QUICK = replace(BASE, left=900, done=frozenset({"quick-a"}), rates={"a": Rate(10, 10)})
CV = Member("cv-a", "a", 5, (0, 1, 2, 3, 4), 42)


def names(known: Known) -> list[str]:
    """The stages that fit, in order."""
    return [stage.name for stage in upcoming(known) if stage.fits]


def test_the_first_run_is_short_and_measures() -> None:
    first = following(BASE)
    assert first is not None and first.name == "quick-a" and first.limit == 200 and first.seconds is None
    assert following(replace(BASE, budget=7200.0, left=7000)).limit == 240  # type: ignore[union-attr]
    assert first.member.folds == 10 and first.member.held == (0,) and not first.member.whole
    assert following(replace(BASE, most_folds=4)).member.folds == 4  # type: ignore[union-attr]
    assert following(replace(BASE, left=100)) is None
    assert called("/tmp/m/bert", ("/tmp/m/bert", "a")) == "bert" and called("x/bert", ("x/bert", "y/bert")) == "x-bert"


def test_folds_are_as_many_as_the_time_allows() -> None:
    rate = Rate(100, 10)  # a run on 5 folds takes 10 + 3 * 80 = 250 seconds, on 3 folds 210
    known = replace(QUICK, rates={"a": rate})
    for left, folds, limited in ((1400, 5, False), (1300, 3, False), (600, 3, True)):
        stage = following(replace(known, left=left))
        assert stage is not None and (stage.kind, stage.member.folds) == ("folds", folds)
        assert limited == ("shortened" in stage.why)
        assert stage.seconds == (folds * rate.run(3, folds) if not limited else pytest.approx(0.92 * left))
    assert following(replace(known, left=400)).name == "single-seed-43"  # type: ignore[union-attr]
    longer = following(replace(known, left=400, cut=True))
    assert longer is not None and longer.name == "long-a" and longer.member.folds == 10
    assert following(replace(known, left=180)) is None
    words = [stage.why for stage in upcoming(replace(known, left=180))]
    assert words[:2] == ["the first run had all its epochs", "it needs 280 s, 180 s were left"]
    assert following(replace(known, left=1300, given_folds=4)).member.folds == 4  # type: ignore[union-attr]


def test_other_models_then_settings_and_seeds() -> None:
    changes = (Change("train.epochs", 6.0, 2.0), Change("train.lr", 1e-4, 1.0), Change("dropout", 0.0, 1.0))
    known = replace(QUICK, models=("a", "b"), candidates=changes)
    assert names(known) == ["cv-a", "quick-b"], "nothing is known of b"
    known = replace(known, done=known.done | {"cv-a"}, folds=5, best=CV)
    order = ["quick-b", "set-train.epochs-6.0", "set-train.lr-0.0001", "seed-43-cv-a", "set-dropout-0.0"]
    assert names(known) == [*order, *(f"seed-{seed}-cv-a" for seed in range(44, 50))]
    known = replace(known, done=known.done | {"quick-b"}, rates={**(known.rates or {}), "b": Rate(40, 20)})
    assert names(known)[0] == "cv-b" and following(known).seconds == 5 * (20 + 3 * 32)  # type: ignore[union-attr]
    known = replace(known, left=200)
    assert names(known)[0] == "set-train.lr-0.0001", "twice the epochs do not fit, nor does b"
    taken = replace(CV, name="set-train.lr-0.0001", changes={"train.lr": 1e-4})
    known = replace(known, best=taken, left=900, done=known.done | {"cv-b", taken.name})
    assert names(known)[:2] == ["set-train.epochs-6.0", "seed-43-set-train.lr-0.0001"]
    setting = following(known)
    assert setting is not None and setting.member.changes == {"train.lr": 1e-4, "train.epochs": 6.0}


def test_time_in_which_no_whole_stage_fits_goes_to_one_shorter_seed() -> None:
    """Of at least 0.6 of the epochs, as folds that are shortened have; no setting, which is compared at equal ones."""
    known = replace(QUICK, rates={"a": Rate(100, 10)})  # holding out a tenth takes 280 seconds, shortened 172
    stage = following(replace(known, left=250))
    assert stage is not None and stage.name == "single-seed-43" and stage.seconds == pytest.approx(230)
    assert stage.why == "shortened: all epochs would take 280 s, 250 s are left"
    done = known.done | {"cv-a"}
    known = replace(known, done=done, folds=5, best=CV, candidates=(Change("dropout", 0.0, 1.0),))
    assert names(replace(known, left=1400))[:2] == ["set-dropout-0.0", "seed-43-cv-a"]  # 5 * (10 + 3 * 80) = 1250
    assert names(replace(known, left=1000)) == ["seed-43-cv-a"], "the others come after it"
    assert names(replace(known, left=1000, done=done | {"seed-43-cv-a"})) == ["seed-44-cv-a"]
    assert names(replace(known, left=800)) == [], "5 * (10 + 3 * 0.6 * 80) = 770 are more than 0.92 of it"


def test_settings_whose_keys_are_not_there_are_left_out() -> None:
    recipe = build({"task": "classify", "train": {"epochs": 3}})
    found = {change.key: change.value for change in changes_to_try(recipe, {"train.lr": 5e-5}, ())}
    assert found["train.epochs"] == 6.0 and found["train.layer_lr_decay"] == 0.9 and found["dropout"] == 0.0
    assert [c.value for c in changes_to_try(recipe, {"train.lr": 5e-5}, ()) if c.key == "train.lr"] == [1e-4, 2.5e-5]
    assert set(found) <= {candidate.key for candidate in CANDIDATES}
    assert "train.lr" not in {change.key for change in changes_to_try(recipe, {}, ())}, "auto: not known yet"
    assert not {"train.epochs", "dropout"} & {c.key for c in changes_to_try(recipe, {}, {"train.epochs", "dropout"})}
    for change in changes_to_try(recipe, {"train.lr": 5e-5}, ()):
        member = replace(CV, changes={change.key: change.value})
        made = member.recipe(recipe, 1, 30.4)
        assert made.data.fold == 1 and made.train.time == "30s" and made.train.eval_steps is None


def test_a_run_gets_its_share_of_what_is_left() -> None:
    assert limit_of(100.0, 4, None) == pytest.approx(21.25) and limit_of(100.0, 4, 5.0) == 17.5


def test_folds_that_were_begun_are_gone_on_with_in_little_time(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.add({"event": "begun", "name": "cv-a", "member": CV.entry()})
    late = replace(QUICK, left=410, rates={"a": Rate(100, 20)})
    assert "cv-a" not in names(late)
    assert resumed(journal, late, tmp_path) is None, "none of its five runs of 260 seconds is done"
    for _, run in list(CV.runs(tmp_path))[:4]:
        run.mkdir(parents=True)
        (run / DONE).write_text("{}", encoding="utf-8")
    stage = resumed(journal, late, tmp_path)
    assert stage is not None and stage.member == CV and stage.fits
    stage = resumed(journal, replace(late, left=200), tmp_path)
    assert stage is not None and stage.member == CV, "the last run of 260 seconds may have 0.6 of its epochs"
    assert resumed(journal, replace(late, left=170), tmp_path) is None and not (tmp_path / "cv-a").exists()


def left_behind(run: Path, member: Member, seconds: float) -> None:
    """A run that was begun with 300 seconds, and has a checkpoint after so many; 0: none."""
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}", encoding="utf-8")
    (run / "recipe.yaml").write_text(dump(member.recipe(build({"task": "classify"}), 0, 300.0)), encoding="utf-8")
    if seconds:
        place = run / "checkpoints" / "step-00000008"
        place.mkdir(parents=True)
        (place / "state.json").write_text(json.dumps({"seconds": seconds}), encoding="utf-8")


def test_a_checkpoint_counts_what_it_has_behind_it(tmp_path: Path) -> None:
    run = tmp_path / "fold-0"
    left_behind(run, CV, 200.0)
    for limit, time in ((120.0, "300s"), (100.0, "300s"), (90.0, "290s")):
        assert resumed_or(CV.recipe(build({"task": "classify"}), 0, limit), run).train.time == time
    (run / "run.json").write_text('{"result": {"rows": 1}}', encoding="utf-8")
    shorter = CV.recipe(build({"task": "classify"}), 0, 90.0)
    assert resumed_or(shorter, run).train.time == "300s", "it lacks only the test rows"
    left_behind(tmp_path / "fold-1", CV, 0)
    assert resumed_or(shorter, tmp_path / "fold-1") == shorter and not (tmp_path / "fold-1").exists()


@pytest.mark.parametrize("behind", [200.0, 0.0])
def test_a_long_run_goes_on_from_its_checkpoint_in_what_is_left(tmp_path: Path, behind: float) -> None:
    long = Member("long-a", "a", 10, (0,), 42)
    journal = Journal.open(tmp_path)
    journal.add({"event": "begun", "name": "long-a", "member": long.entry()})
    left_behind(tmp_path / "long-a" / "fold-0", long, behind)
    late = replace(QUICK, left=90, rates={"a": Rate(100, 10)}, cut=True)
    assert "long-a" not in names(late)
    stage = resumed(journal, late, tmp_path)
    assert (tmp_path / "long-a").exists() == (stage is not None) == bool(behind)
    assert stage is None or (stage.member, stage.fits) == (long, True)


def test_the_journal_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    assert journal.ended() == [] and journal.begun() is None and journal.spent() == 0
    journal.add({"event": "begun", "name": "quick-a"})
    journal.add({"event": "ended", "name": "quick-a"})
    journal.add({"event": "begun", "name": "cv-a"})
    journal.beat(12.5, now=True)
    with (tmp_path / "stages.jsonl").open("a", encoding="utf-8") as handle:
        handle.write('{"event": "ended", "na')
    again = Journal.open(tmp_path)
    assert [entry["name"] for entry in again.ended()] == ["quick-a"] and again.spent() == 12.5
    assert again.begun() == {"event": "begun", "name": "cv-a"}
    again.add({"event": "ended", "name": "cv-a"})
    assert Journal.open(tmp_path).begun() is None


def judged(folder: Path, kind: str, metric: str) -> tuple[Judge, Any, dict[str, Any]]:
    """A judge by this metric, its rows, and what is said of them without a model."""
    from hfkit.data import load

    found, _, sample = found_in(folder, kind, metric=metric)
    task, gold = opening.likely_rows(found, offline=True)
    rows = load(found.recipe.data.train, columns=task.columns, settings=found.recipe.data, need_gold=True)
    bound, _ = task.adopt(rows, None)
    judge = Judge(bound, rows, metric, None, Submission.read(sample))
    return judge, rows, {item["id"]: item for item in prior(task, gold, list(rows))}


@pytest.mark.parametrize(("kind", "metric"), [("single", "accuracy"), ("number", "rmse"), ("single", "log_loss")])
def test_a_gain_is_positive_where_it_is_better(kind: str, metric: str, tmp_path: Path) -> None:
    judge, rows, likely = judged(tmp_path, kind, metric)
    better = dict(likely)
    for row in list(rows)[:20]:
        better[row["id"]] = {"id": row["id"], "prediction": row["label"]}
        if kind == "number":
            better[row["id"]]["prediction"] = float(row["label"])
        else:
            better[row["id"]]["probabilities"] = {name: 0.9 if name == row["label"] else 0.05 for name in LABELS}
    some = {name: better[name] for name in list(better)[:40]}
    gain = judge.gain(some, likely, "prior")
    assert gain.rows == 40 and gain.value > 0 and gain.pays and gain.ci95 and gain.ci95[0] < gain.value < gain.ci95[1]
    worse = judge.gain(likely, some, "some")
    assert worse.value == -gain.value and not worse.pays
    one, other = judge.score(likely, some.keys()), judge.score(some)
    assert judge.sign * (other.value - one.value) == pytest.approx(gain.value) and one.rows == other.rows == 40


@pytest.mark.parametrize(
    ("kind", "metric", "instead"),
    [("number", "pearson", "rmse"), ("number", "qwk", "rmse"), ("several", "roc_auc", "micro_f1")],
)
def test_a_metric_that_is_not_defined_for_what_is_the_same_everywhere(
    kind: str, metric: str, instead: str, tmp_path: Path
) -> None:
    """The answer without a model has no correlation with anything; a model is compared with it by another metric."""
    judge, rows, likely = judged(tmp_path, kind, metric)
    assert judge.score(likely).entry() == {"score": None, "ci95": None, "rows": 60}
    right = dict(likely)
    for row in list(rows)[:30]:
        flags = {name: int(row["label"][name]) for name in LABELS} if kind == "several" else {}
        said = [name for name, flag in flags.items() if flag] if flags else float(row["label"])
        right[row["id"]] = {**likely[row["id"]], "prediction": said}
    gain = judge.gain(right, likely, "prior")
    assert gain.value > 0 and gain.pays and gain.entry()["metric"] == instead
    assert f" {instead} on prior" in gain_words(gain.entry())


def test_numbers_are_judged_as_they_are_handed_in(tmp_path: Path) -> None:
    """Of two models the second is nearer to gold, but not once the numbers are rounded."""
    rows = Rows([{"id": str(n), "text": "a", "label": n % 5} for n in range(40)], name="r", fingerprint="0" * 64)
    first, second = (
        {row["id"]: {"id": row["id"], "prediction": row["label"] + off(n)} for n, row in enumerate(rows)}
        for off in (lambda n: 0.45, lambda n: 0.6 if n % 4 == 0 else 0.0)
    )
    task = Classify(ClassifySettings(target="regression"))
    for empty, worth in (("0.0", (0.45, 0.3)), ("0", (0.0, 0.5))):
        asked = Submission.read(table(tmp_path / "s.csv", ["id", "label"], [[n, empty] for n in range(2)]))
        judge = Judge(task, rows, "rmse", None, asked)
        assert (judge.score(first).value, judge.score(second).value) == pytest.approx(worth)
        assert (judge.gain(first, second, "second").value > 0) == (empty == "0")
    several = Submission.read(table(tmp_path / "s.csv", ["id", "depth", "width"], [["1", "0", "0.5"]]))
    said = several.numbers_as_asked({"id": "1", "prediction": {"depth": 2.7, "width": 2.7}})
    assert said == {"id": "1", "prediction": {"depth": 3.0, "width": 2.7}}
    label = {"id": "1", "prediction": "2.7", "probabilities": {"2.7": 0.6, "1": 0.4}}
    assert several.numbers_as_asked(label) == label


def test_what_stands_is_replaced_by_what_is_better() -> None:
    assert replaces(Gain(0.1, [-1, 1], 10, "a"), wider=False)
    assert not replaces(Gain(0.0, [-1, 1], 10, "a"), wider=False)
    assert replaces(Gain(-0.5, [-1, 0.2], 10, "a"), wider=True), "known on all rows, and not shown to be worse"
    assert not replaces(Gain(-0.5, [-1, -0.2], 10, "a"), wider=True)


def test_the_report_names_the_stage_whose_file_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However a stage is cut off while it submits; done again, it is compared with the stage before it."""
    rows = Rows([{"id": str(n), "text": "a", "label": n % 5} for n in range(40)], name="r", fingerprint="0" * 64)
    asked = Submission.read(table(tmp_path / "sample.csv", ["id", "label"], [[n, "0.5"] for n in range(40)]))
    judge = Judge(Classify(ClassifySettings(target="regression")), rows, "rmse", None, asked)
    output, journal = tmp_path / "submission.csv", Journal.open(tmp_path)
    recipe, clock, no_rows = build({"task": "classify"}), Clock(900), None
    contest = Contest(tmp_path, recipe, judge, asked, {}, output, clock, journal, no_rows)  # type: ignore[arg-type]
    found: Any = SimpleNamespace(recipe=recipe, models=MODEL, metric="rmse", better="lower", why={})
    end = Ending(Run(tmp_path), found, clock, journal, output, ("a", "b", tmp_path / "sample.csv", "15m"))

    def stage(name: str, off: float) -> dict[str, Any]:
        said = [{"id": row["id"], "prediction": row["label"] + off} for row in rows]
        entry: dict[str, Any] = {"event": "ended", "name": name}
        list(contend(contest, Contender(name, {item["id"]: item for item in said}, said, {name: 1.0}), entry, runs=1))
        journal.add(entry)
        return entry

    def cut_off(name: str, off: float, *, there: bool) -> Any:
        def write(*given: Any) -> list[str]:
            if there:
                whole(*given)
            raise KeyboardInterrupt

        whole = Submission.write
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Submission, "write", write)
            stage(name, off)
        return result_of(end, "stopped")

    assert result_of(end, "stopped")["submitted"]["stage"] == "the sample"
    assert stage("prior", 3.0)["taken"] and stage("cv-a", 2.0)["taken"]
    assert cut_off("seed-1", 1.0, there=False)["submitted"]["stage"] == "cv-a"
    said = cut_off("seed-2", 0.5, there=True)
    assert said["submitted"] == {"stage": "seed-2", "shares": {"seed-2": 1.0}} and said["score"] == 0.5
    assert cut_off("seed-2", 0.5, there=True)["submitted"]["stage"] == "seed-2", "twice"
    again = stage("seed-2", 0.5)
    assert again["taken"] and again["gain"]["against"] == "cv-a"
    assert stage("seed-1", 1.0)["gain"]["against"] == "seed-2"
    assert result_of(end, "stopped")["submitted"]["stage"] == "seed-2"


@pytest.mark.parametrize("kind", ["single", "several", "qa"])
def test_rows_that_would_stop_training_are_repaired_and_divided(kind: str, tmp_path: Path) -> None:
    found, _, _ = found_in(tmp_path, kind)
    path = Path(found.recipe.data.train)  # type: ignore[arg-type]
    text = path.read_text("utf-8")
    if kind == "qa":
        text = text.replace('"answers": [{"text": "Ada"', '"answers": [{"text": "Bob"', 20)
    else:
        text += "900,an old text without a label," + ("\n" if kind == "single" else ",,\n")
    path.write_text(text, encoding="utf-8")

    def result(work: Any) -> Any:
        while True:
            try:
                next(work)
            except StopIteration as end:
                return end.value

    looked = result(opening.checked(found, tmp_path, offline=True))
    assert looked.failures and looked.recipe.data.train == str(tmp_path / "repaired.jsonl")
    plan = result(opening.divided(looked.recipe, offline=True))
    if kind == "qa":
        assert len(plan.rows) == 40 and opening.most_folds(plan) == 4, "of the others the answer cannot be found"
    else:
        assert len(plan.rows) == opening.most_folds(plan) == 60
    if kind == "single":
        assert plan.recipe.settings.labels == ["bread", "mill", "salt"], "all of them, for every run"


@pytest.mark.parametrize("shares", [{}, {"cv-a": 1.0}, {"cv-a": 0.75, "cv-b": 0.25}])
def test_a_submission_that_was_moved_away_is_put_back(shares: dict[str, float], tmp_path: Path) -> None:
    rows = Rows([{"id": str(n), "text": "a", "label": n % 5} for n in range(40)], name="r", fingerprint="0" * 64)
    asked = Submission.read(table(tmp_path / "sample.csv", ["id", "label"], [[n, "0.5"] for n in range(40)]))
    judge = Judge(Classify(ClassifySettings(target="regression")), rows, "rmse", None, asked)
    output, journal = tmp_path / "submission.csv", Journal.open(tmp_path)
    recipe, how = build({"task": "classify"}), SimpleNamespace(test=rows)
    contest = Contest(tmp_path, recipe, judge, asked, {}, output, Clock(900), journal, how)  # type: ignore[arg-type]
    likely = [{"id": row["id"], "prediction": 2.0} for row in rows]

    def said(off: float) -> list[dict[str, Any]]:
        return [{"id": row["id"], "prediction": row["label"] + off} for row in rows]

    offs = {"cv-a": 0.5, "cv-b": 1.5}
    for name, off in offs.items():
        member = Member(name, name, 2, (0, 1), 42)
        for _, run in member.runs(tmp_path):
            run.mkdir(parents=True)
            (run / DONE).write_text("{}", encoding="utf-8")
            lines(run / "test.jsonl", said(off))
        journal.add({"event": "ended", "name": name, "member": member.entry(), "status": "done"})
    test = said(sum(offs[name] * share for name, share in shares.items())) if shares else likely
    entry: dict[str, Any] = {"event": "ended", "name": "best", "member": None, "status": "done"}
    held = {item["id"]: item for item in test}
    list(contend(contest, Contender("best", held, test, shares), entry, runs=2))
    journal.add(entry)
    before = output.read_bytes()
    output.unlink()
    told = [event.fields.get("text", "") for event in put_back(contest, likely)]
    assert output.read_bytes() == before and "the submission of best is written again" in told[0]
    assert standing_name(journal, output) == "best"


def standing_name(journal: Journal, output: Path) -> str | None:
    entry = submitted(journal.entries, output)
    return None if entry is None else str(entry["name"])
