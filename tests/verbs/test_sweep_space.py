"""What a sweep searches: lists and ranges told from plain values, the grid, noise in words, the plot."""

from __future__ import annotations

import pytest

from hfkit.errors import UsageError
from hfkit.recipe.load import build
from hfkit.verbs.sweep.noise import compared
from hfkit.verbs.sweep.plot import svg
from hfkit.verbs.sweep.space import Axis, axis_of, check, grid, parts, split, with_values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("train.lr=1e-5,3e-5", ("1e-5", "3e-5")),
        ("model=starter, scratch:bert-mini", ("starter", "scratch:bert-mini")),
        ("data.slices=[a,b],[c]", ("[a,b]", "[c]")),
        ("train.warmup=null,0.1", ("null", "0.1")),
    ],
)
def test_commas_list_values(text, values):
    assert axis_of(text).values == values


@pytest.mark.parametrize(
    "text",
    [
        "train.lr=1e-5", "data.slices=[a,b]", "data.columns={a: b, c: d}", "data.train=a.en,a.de", "data.train=../x..y",
        "data.train='a,b'", 'classify.labels="a,b"', "model=../run", "train.time=2h", "train.lr=1..x",
    ],
)  # fmt: skip
def test_plain_values_are_no_axes(text):
    assert axis_of(text) is None


def test_ranges_are_whole_or_not_and_wide_ones_are_drawn_in_the_logarithm():
    assert axis_of("train.epochs=2..4") == Axis("train.epochs", low=2, high=4, whole=True)
    assert axis_of("train.epochs=2..4").listed == ("2", "3", "4")
    rate = axis_of("train.lr=1e-5..1e-3")
    assert (rate.low, rate.high, rate.whole, rate.log, rate.listed) == (1e-5, 1e-3, False, True, ())
    assert not axis_of("train.warmup=0.0..0.2").log
    assert axis_of("train.seed=1..1000").listed == (), "too many for a grid"
    assert "evenly in the logarithm" in rate.describe()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("train.epochs=4..2", "the range is empty"),
        ("train.lr=1e-5,", "an empty value"),
        ("train.lr=1,1", "listed twice"),
    ],
)
def test_slips_are_refused(text, problem):
    with pytest.raises(UsageError, match=problem):
        axis_of(text)


def test_brackets_and_quotes_hold_commas():
    assert parts("a,[b,{c,d}],'e,f'") == ["a", "[b,{c,d}]", "'e,f'"]


def test_a_grid_is_every_combination_where_all_is_listed_and_trials_suffice():
    axes, fixed = split(["train.lr=1e-5,3e-5", "train.epochs=1..3", "train.batch_size=8"])
    assert fixed == ["train.batch_size=8"]
    found = grid(axes, None)
    assert len(found) == 6 and found[0] == {"train.lr": "1e-5", "train.epochs": "1"}
    assert found[1] == {"train.lr": "1e-5", "train.epochs": "2"}
    assert grid(axes, 6) == found and grid(axes, 5) == []
    assert grid([*axes, axis_of("train.warmup=0.0..0.1")], None) == []


def test_every_value_is_tried_against_the_recipe_before_any_run():
    recipe = build({"task": "classify"}, name="mine")
    check(recipe, [axis_of("train.lr=1e-5,auto"), axis_of("train.epochs=1..3")])
    for text, problem in (
        ("train.lr=1e-5,fast", "train.lr"),
        ("train.warmup=-0.1..0.1", "train.warmup"),
        ("train.learning=1,2", "learning"),
        ("train.metric=accuracy,mcc", "changes what is scored"),
        ("data.limit=10,20", "changes what is scored"),
    ):
        with pytest.raises(UsageError, match=problem):
            check(recipe, [axis_of(text)])
    with pytest.raises(UsageError, match="nothing to search"):
        check(recipe, [])
    with pytest.raises(UsageError, match="searched twice"):
        check(recipe, [axis_of("train.lr=1,2"), axis_of("train.lr=3,4")])
    changed = with_values(recipe, {"train.lr": "3e-5", "max_length": "64"})
    assert (changed.train.lr, changed.settings.max_length, changed.name) == (3e-5, 64, "mine")


@pytest.mark.parametrize(
    ("searched", "fixed"),
    [
        (["max_length=64,128"], ["nli.max_length=96"]),
        (["nli.max_length=64,128"], ["max_length=64"]),
        (["nli.max_length=64,128", "max_length=16..32"], []),
        (["train.lr=1e-05,3e-05"], ["train={lr: 1e-4, epochs: 2}"]),
        (["train={lr: 1},{lr: 2}"], ["train.epochs=2"]),
        (["train.lr=1e-05,3e-05"], ["train.lr=1"]),  # from Python
    ],
)
def test_a_key_is_searched_or_fixed_however_it_is_spelled(searched, fixed):
    words = [*fixed, *searched]
    with pytest.raises(UsageError) as refused:
        check(build({"task": "nli"}, fixed), [axis_of(text) for text in searched], fixed)
    said = "a whole section" if "={" in searched[0] else "two spellings of one key"
    assert said in refused.value.message and all(word in refused.value.message for word in words)


def test_other_keys_of_a_section_are_no_other_spelling():
    fixed = ["train={epochs: 2}", "nli.max_length=96", "model=starter", "train.layer_lr_decay=0.9"]
    check(build({"task": "nli"}, fixed), [axis_of("train.lr=1e-5,3e-5"), axis_of("train.seed=1,2")], fixed)


def test_a_gain_beyond_twice_its_error_is_no_noise():
    clear = compared({"winner": [90.0, 91.0, 92.0], "default": [80.0, 81.0, 82.0]}, "accuracy", "higher")
    assert clear["gain"] == 10 and clear["standard_error"] == pytest.approx((2 / 3) ** 0.5)
    assert clear["exceeds_noise"] and "the gain of 10 exceeds the noise" in clear["sentence"]
    small = compared({"winner": [90.0, 92.0], "default": [90.0, 91.0]}, "accuracy", "higher")
    assert not small["exceeds_noise"] and "the gain of 0.5 can be noise" in small["sentence"]
    lower = compared({"winner": [5.0, 5.1], "default": [4.0, 4.1]}, "perplexity", "lower")
    assert lower["gain"] == pytest.approx(-1) and "chosen by noise" in lower["sentence"]


def test_the_plot_is_xml_with_a_dot_for_each_trial():
    from xml.etree import ElementTree

    axes = [axis_of("train.lr=1e-5..1e-3"), axis_of("model=a&b,c"), axis_of("train.epochs=1..3")]
    values = [("1e-05", "a&b", "1"), ("0.001", "c", "3")]
    trials = [
        {"number": n, "score": 80.0 + n, "values": dict(zip([a.key for a in axes], each, strict=True))}
        for n, each in enumerate(values)
    ]
    root = ElementTree.fromstring(svg(axes, trials, "accuracy", 1))
    dots = [element for element in root.iter() if element.tag.endswith("circle")]
    assert len(dots) == 6 and sum(dot.get("fill") == "black" for dot in dots) == 3
    assert len({dot.get("cx") for dot in dots[:2]}) == 2
    assert ElementTree.fromstring(svg(axes, trials[:1], "accuracy", 0)) is not None, "one trial is a plot too"
