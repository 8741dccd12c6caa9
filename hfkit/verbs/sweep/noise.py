"""What of a sweep's gain is noise: its winner and the recipe as it was, trained anew with seeds that chose nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

SIDES = ("winner", "default")


def compared(values: Mapping[str, Sequence[float]], metric: str, better: str) -> dict[str, Any]:
    """Mean, spread (standard deviation) and each value of both sides, the gain, its standard error, and a sentence."""
    found: dict[str, Any] = {
        side: {"mean": fmean(values[side]), "spread": stdev(values[side]), "each": list(values[side])} for side in SIDES
    }
    gain = (found["winner"]["mean"] - found["default"]["mean"]) * (-1 if better == "lower" else 1)
    error = sum(found[side]["spread"] ** 2 / len(values[side]) for side in SIDES) ** 0.5
    found |= {"gain": gain, "standard_error": error, "exceeds_noise": gain > 2 * error and gain > 0}
    return {**found, "sentence": sentence(found, metric, len(values["winner"]))}


def sentence(found: Mapping[str, Any], metric: str, seeds: int) -> str:
    """One plain sentence: whether the winner's gain exceeds the noise of seeds."""
    winner, default = (f"{found[side]['mean']:.4g} ± {found[side]['spread']:.2g}" for side in SIDES)
    means = (
        f"with {seeds} seeds that took no part in the choice, {metric} is {winner} for the winner and {default} for "
        "the recipe as it was"
    )
    if found["gain"] <= 0:
        return f"{means}: the winner gains nothing, it was chosen by noise"
    said = "exceeds the noise" if found["exceeds_noise"] else "can be noise"
    twice = f"twice its standard error is {2 * found['standard_error']:.2g}"
    return f"{means}: the gain of {found['gain']:.3g} {said} ({twice})"
