"""The plan: which stages are next and what each will take, worked out from measured rates. Pure functions of values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hfkit.run import slug
from hfkit.verbs.compete.candidates import Change
from hfkit.verbs.compete.members import Member

Kind = Literal["single", "folds", "setting", "seed"]

QUICK_SHARE, QUICK_MOST = 0.2, 240.0  # of the time, and seconds, that the first model gets at most
QUICK_FOLDS = 10  # one tenth is held out from a single run, as a plain fine-tuning holds out
FOLDS = (5, 3)  # the most that fit the time are taken
ROOM = 0.92  # share of the time left that a stage may be expected to fill: rates are not exact
SHORTEST = 0.6  # folds that get less than this share of their epochs bring less than one long run
SHORTENED = ("folds", "seed")  # kinds whose runs may have fewer epochs: a setting is compared at equal ones
LONGER = 1.3  # times as long as a run that was cut another one must be, to be worth it
SEEDS = 8  # of the best settings, at most
SETTINGS_FIRST = 2  # settings tried before the first further seed
PROBE_SHARE = 0.1  # of the time left, that looking at another model may take


@dataclass(frozen=True, slots=True)
class Rate:
    """How long runs of a model take here."""

    epoch: float  # seconds for the steps of one pass over all training rows
    other: float  # seconds of a run for all else

    def run(self, epochs: float, folds: int) -> float:
        """Seconds of a run that holds out one of so many folds."""
        return self.other + epochs * self.epoch * (folds - 1) / folds


@dataclass(frozen=True, slots=True)
class Stage:
    """Something to do: train a member. `seconds` is the estimate; without `fits` it is left out, `why` says it."""

    name: str
    kind: Kind
    member: Member
    seconds: float | None  # None: nothing is measured yet
    limit: float | None = None  # seconds for all its runs together; None: what is left
    fits: bool = True
    why: str = ""
    change: str = ""  # the setting on trial


@dataclass(frozen=True)
class Known:
    """All that the plan depends on."""

    budget: float
    left: float
    models: tuple[str, ...]
    epochs: float  # of the recipe
    seed: int
    most_folds: int  # groups of training rows: no more folds than that
    given_folds: int | None = None  # what the user has decided
    rates: Mapping[str, Rate] | None = None  # by model
    failed: frozenset[str] = frozenset()  # models whose first run failed
    done: frozenset[str] = frozenset()  # names of stages that ended
    cut: bool = False  # whether time cut the first run
    folds: int | None = None  # of the cross-validations that there are
    best: Member | None = None  # the best member on all folds
    candidates: tuple[Change, ...] = ()

    def rate(self, model: str) -> Rate | None:
        return (self.rates or {}).get(model)


def upcoming(known: Known) -> list[Stage]:
    """What is still to be done, in order; those that do not fit say so. The first that fits is next."""
    return [stage for stage in _all(known) if stage.name not in known.done]


def following(known: Known) -> Stage | None:
    """The next stage; None when nothing is left that fits."""
    return next((stage for stage in upcoming(known) if stage.fits), None)


def _all(known: Known) -> Iterator[Stage]:
    models = [model for model in known.models if model not in known.failed]
    if not models:
        return
    first = models[0]
    yield _quick(known, first, min(QUICK_MOST, QUICK_SHARE * known.budget))
    if known.rate(first) is None:
        return
    folds = known.folds or _folds_that_fit(known, first)
    if folds is None:
        yield from _single_runs(known, first)
        return
    yield _on_folds(known, first, folds, shortest=SHORTEST)
    for model in models[1:]:
        yield _quick(known, model, max(20.0, PROBE_SHARE * known.left))
        yield _on_folds(known, model, folds)
    if known.best is not None:
        yield from _improved(known, known.best)


def called(model: str, models: Sequence[str]) -> str:
    """The model in the name of a folder: the last part of its own, all of it where two end alike."""
    short = slug(model.rstrip("/").rpartition("/")[2])
    same = [other for other in models if slug(other.rstrip("/").rpartition("/")[2]) == short]
    return short if len(same) == 1 else slug(model, 80)


def _quick(known: Known, model: str, limit: float) -> Stage:
    """One run of a model, which measures its rate."""
    folds = known.given_folds or max(2, min(QUICK_FOLDS, known.most_folds))
    member = Member(f"quick-{called(model, known.models)}", model, folds, (0,), known.seed)
    fits = limit < known.left
    return Stage(member.name, "single", member, None, limit, fits, "" if fits else _short_of(limit, known.left))


def _folds_that_fit(known: Known, model: str) -> int | None:
    """How many folds the time allows: all runs in full, else three that are shortened, else None."""
    rate = known.rate(model)
    if rate is None:
        return None
    allowed = (known.given_folds,) if known.given_folds else tuple(n for n in FOLDS if n <= known.most_folds) or (2,)
    for count in allowed:
        if count * rate.run(known.epochs, count) <= ROOM * known.left:
            return count
    least = allowed[-1]
    return least if least * rate.run(SHORTEST * known.epochs, least) <= ROOM * known.left else None


def _on_folds(known: Known, model: str, folds: int, *, shortest: float = 1.0) -> Stage:
    """The model on all folds; with `shortest` its epochs may be cut to that share of them."""
    member = Member(f"cv-{called(model, known.models)}", model, folds, tuple(range(folds)), known.seed)
    rate = known.rate(model)
    if rate is None:
        return Stage(member.name, "folds", member, None, fits=False, why="it was not measured how long a run takes")
    return _in_time(known, "folds", member, rate, shortest=shortest)


def _in_time(known: Known, kind: Kind, member: Member, rate: Rate, *, shortest: float = 1.0) -> Stage:
    """All runs of a member, where they fit; with `shortest` their epochs may be cut to that share of them."""
    runs, epochs = len(member.held), epochs_of(known, member)
    seconds = runs * rate.run(epochs, member.folds)
    if seconds <= ROOM * known.left:
        return Stage(member.name, kind, member, seconds)
    if shortest < 1 and runs * rate.run(shortest * epochs, member.folds) <= ROOM * known.left:
        why = f"shortened: all epochs would take {seconds:.0f} s, {known.left:.0f} s are left"
        return Stage(member.name, kind, member, ROOM * known.left, why=why)
    return Stage(member.name, kind, member, seconds, fits=False, why=_short_of(seconds, known.left))


def _seeds(known: Known, kind: Kind, members: Sequence[Member], rate: Rate) -> list[Stage]:
    """Further seeds. The first that is not done may be shortened, so that time in which no whole one fits is used."""
    first = next((member.name for member in members if member.name not in known.done), None)
    return [
        _in_time(known, kind, member, rate, shortest=SHORTEST if member.name == first else 1.0) for member in members
    ]


def _single_runs(known: Known, model: str) -> Iterator[Stage]:
    """Where folds do not fit: a run with all the time that is left, if that is longer, or more seeds."""
    rate = known.rate(model)
    if rate is None:
        return
    folds = known.given_folds or max(2, min(QUICK_FOLDS, known.most_folds))
    whole = rate.run(known.epochs, folds)
    first = min(QUICK_MOST, QUICK_SHARE * known.budget)
    longer = Member(f"long-{called(model, known.models)}", model, folds, (0,), known.seed)
    fits = known.cut and known.left >= LONGER * first
    why = _short_of(LONGER * first, known.left) if known.cut else "the first run had all its epochs"
    yield Stage(longer.name, "single", longer, min(whole, known.left), fits=fits, why="" if fits else why)
    seeds = range(known.seed + 1, known.seed + SEEDS)
    yield from _seeds(known, "single", [replace(longer, name=f"single-seed-{seed}", seed=seed) for seed in seeds], rate)


def _improved(known: Known, best: Member) -> Iterator[Stage]:
    """Settings one at a time on the best member's folds, and seeds of it: a setting or two first, then a seed.

    None of them takes less time than a seed, so where one has to be shortened no setting fits.
    """
    rate = known.rate(best.model)
    if rate is None:
        return
    settings = [_setting(known, best, change, rate) for change in known.candidates if change.key not in best.changes]
    ended = sum(1 for name in known.done if name.startswith("set-"))
    ahead = max(0, SETTINGS_FIRST - ended)
    numbers = range(known.seed + 1, known.seed + SEEDS)
    seeds = _seeds(known, "seed", [replace(best, name=f"seed-{seed}-{best.name}", seed=seed) for seed in numbers], rate)
    open_settings = [stage for stage in settings if stage.name not in known.done]
    yield from open_settings[:ahead]
    yield from seeds[:1]
    yield from open_settings[ahead:]
    yield from seeds[1:]


def _setting(known: Known, best: Member, change: Change, rate: Rate) -> Stage:
    name = f"set-{slug(change.name)}"
    member = replace(best, name=name, changes={**best.changes, change.key: change.value}, seed=known.seed)
    seconds = best.folds * rate.run(change.cost * epochs_of(known, best), best.folds)
    fits = seconds <= ROOM * known.left
    why = "" if fits else _short_of(seconds, known.left)
    return Stage(name, "setting", member, seconds, fits=fits, why=why, change=change.name)


def epochs_of(known: Known, member: Member) -> float:
    """The epochs that a member's runs have."""
    return float(member.changes.get("train.epochs", known.epochs))


def _short_of(needed: float, left: float) -> str:
    return f"it needs {needed:.0f} s, {max(0.0, left):.0f} s were left"


def next_words(planned: Sequence[Stage]) -> dict[str, str]:
    """The stages as they are shown: name -> estimate, or why it is left out."""
    shown = {}
    for stage in planned:
        about = f"about {stage.seconds:.0f} s" if stage.seconds is not None else "as measured"
        if stage.seconds is None and stage.limit is not None:
            about = f"at most {stage.limit:.0f} s"
        words = about if stage.fits else f"left out: {stage.why}"
        shown[stage.name] = f"{words}; {stage.why}" if stage.fits and stage.why else words
    return shown


def left_out(planned: Sequence[Stage]) -> dict[str, str]:
    """The stages that do not fit, and why; those with one reason in one line."""
    names: dict[str, list[str]] = {}
    for stage in planned:
        if not stage.fits:
            names.setdefault(stage.why, []).append(stage.name)
    shown = {why: f"{each[0]} to {each[-1]}" if len(each) > 2 else ", ".join(each) for why, each in names.items()}
    return {name: why for why, name in shown.items()}
