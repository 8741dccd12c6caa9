"""The command line: help, flags to overrides, errors and their JSON, words from elsewhere, hints that parse."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import hfkit
from hfkit.cli import main
from hfkit.cli.app import application
from hfkit.cli.commands import command_names
from hfkit.cli.generate import prompts_and_pairs
from hfkit.cli.options import overrides
from hfkit.cli.parse import parse
from hfkit.cli.predict import fields_and_pairs
from hfkit.cli.words import FLAGS, VERBS
from hfkit.errors import UsageError

PACKAGE = Path(hfkit.__file__).parent
CONTRACT = {
    "finetune": "--model --train --validation --output -o --epochs --lr --batch-size --max-length --metric --time "
    "--resume --overwrite --seed --limit --processes --cpu --dry-run",
    "eval": "--data --task --name --overwrite --limit --batch-size --cpu",
    "predict": "--data -o --output --sample --format",
    "submission": "--test --sample -o --output --oof --metric --overwrite --cpu",
    "generate": "--prompts -o --output --max-new-tokens --temperature --top-p --top-k --seed --resume --interactive",
    "sweep": "--model --train --validation --trials --time --noise-seeds -o --output --resume --overwrite --processes "
    "--cpu",
    "score": "--data --task --allow-missing --allow-order --slices",
    "compare": "--data --task",
    "cv": "--folds --seeds --model --train --output -o --epochs --lr --batch-size --max-length --metric --time "
    "--resume --overwrite --seed --limit --processes --cpu",
    "compete": "--time --models --metric --task -o --output --resume --overwrite --cpu",
    "ensemble": "-o --output --data --equal --overwrite --limit --cpu",
    "average": "-o --output --data --overwrite --limit --cpu",
    "bundle": "-o --output --compiled --python-version --platform --overwrite",
    "init": "--test --sample --from -o --output",
    "data check": "--task --model --validation --fix",
    "data show": "--task --model --row",
    "convert": "-o --output",
    "doctor": "",
    "recipes list": "",
    "recipes show": "--keys",
    "recipes copy": "",
    "runs list": "--task --sort --notes",
    "runs show": "",
    "runs diff": "",
    "runs note": "--public --private",
    "runs rerun": "-o --output --overwrite --processes --cpu",
}
EVERY = "--json --offline --quiet --debug --set --help"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("RANK", "SLURM_NTASKS", "HFKIT_RUNS"):
        monkeypatch.delenv(name, raising=False)


def options_of(path: str) -> dict[str, str | None]:
    """Every spelling of every option of a command, and its help."""
    command = typer.main.get_command(application())
    for word in path.split():
        command = command.commands[word]
    return {name: param.help for param in command.params for name in param.opts if name.startswith("-")}


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("path", CONTRACT)
def test_a_command_has_the_options_of_the_contract_and_each_has_help(path):
    options = options_of(path)
    assert set(f"{CONTRACT[path]} {EVERY}".split()) - {"--help"} <= set(options)
    assert all(help_text and help_text.endswith(".") for help_text in options.values())


def test_only_commands_that_work_appear():
    assert set(command_names()) == {path.split()[0] for path in CONTRACT} | {"help"}


@pytest.mark.parametrize("path", ["", *CONTRACT, "help", "data", "recipes", "runs"])
def test_help_is_shown_and_its_example_parses(path, capsys):
    code, out, err = run(capsys, *path.split(), "--help")
    assert code == 0
    assert err == ""
    assert "Usage: hfkit" in out
    if path in CONTRACT:
        example = re.search(r"Example: (hfkit .*?)\n\s*\n", out.replace("│", ""), re.DOTALL)
        assert example, "every command shows an example"
        parse(shlex.split(" ".join(example[1].split()))[1:])


def test_the_table_of_commands_is_what_typer_has(capsys):
    found = typer.main.get_command(application()).commands
    assert {name: tuple(getattr(each, "commands", ())) for name, each in found.items()} == command_names()


def test_a_command_loads_no_other_command():
    code = "import sys; from hfkit.cli import main; main(['predict', '--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "hfkit.cli.predict" in done.stderr.split()
    assert not {"hfkit.cli.finetune", "hfkit.cli.runs", "json", "torch"} & set(done.stderr.split())


def test_nothing_typed_shows_help(capsys):
    assert "finetune" in run(capsys)[1]
    assert "copy" in run(capsys, "recipes")[1]


def test_version(capsys):
    assert run(capsys, "--version")[:2] == (0, f"hfkit {hfkit.__version__}\n")


def test_python_m_hfkit_is_hfkit():
    done = subprocess.run(
        [sys.executable, "-m", "hfkit", "train", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=PACKAGE.parent,
    )
    assert done.returncode == 2
    assert json.loads(done.stdout.splitlines()[-1])["error"]["code"] == 2


# ---- flags become recipe keys


def given_to_load(monkeypatch, *arguments: str) -> list[str]:
    """The overrides that `hfkit finetune` hands to the recipe's loader."""
    seen: list[str] = []

    def load(name, given):
        seen.extend(given)
        raise UsageError("seen")

    monkeypatch.setattr("hfkit.recipe.load.load", load)
    assert main(["finetune", *arguments]) == 2
    return seen


def test_flags_of_finetune_are_recipe_keys(monkeypatch):
    flags = (
        "--model m --train a.json --train b.json --validation c --epochs 3 --lr 1e-4 --batch-size 8 --max-length 256"
    )
    more = "--metric f1 --time 2h --seed 7 --limit 50 train.warmup=0.1 --set qa.stride=64 data.columns.context=passage"
    seen = given_to_load(monkeypatch, "qa", *flags.split(), *more.split())
    values = {key: text for key, _, text in (item.partition("=") for item in seen)}
    assert json.loads(values["data.train"]) == ["a.json", "b.json"]
    assert values["train.epochs"] == "3"
    assert float(values["train.lr"]) == 1e-4
    assert values["max_length"] == "256"
    assert values["train.time"] == '"2h"'
    assert values["data.limit"] == "50"
    assert values["train.warmup"] == "0.1"
    assert values["qa.stride"] == "64"
    assert values["data.columns.context"] == "passage"
    assert {"model", "data.validation", "train.batch_size", "train.metric", "train.seed"} <= set(values)


def test_values_of_flags_survive_yaml():
    from hfkit.recipe.overrides import split_override

    texts = ["null", "1e3", "yes", "a: b", "#x", "模型", '"q"', "C:\\new", "- a"]
    for text in texts:
        [pair] = overrides({"model": text}, None, None)
        assert split_override(pair) == ("model", text)
    [pair] = overrides({"train.lr": 1e-5}, None, None)
    assert split_override(pair) == ("train.lr", 1e-5)


def test_options_may_stand_before_and_after_pairs(monkeypatch):
    assert given_to_load(monkeypatch, "qa", "train.lr=1", "--seed", "3", "qa.stride=2") == [
        "train.seed=3",
        "train.lr=1",
        "qa.stride=2",
    ]


def test_a_key_given_twice_is_refused(capsys):
    code, _, err = run(capsys, "finetune", "qa", "--lr", "1e-4", "train.lr=2e-4")
    assert code == 2
    assert "train.lr is given twice" in err


def test_predict_tells_fields_from_keys():
    fields, pairs = fields_and_pairs(["question=who = it?", "context=a.b=c", "qa.n_best=3"])
    assert fields == {"question": "who = it?", "context": "a.b=c"}
    assert pairs == ["qa.n_best=3"]


def test_generate_tells_prompts_from_keys():
    texts, pairs = prompts_and_pairs(["Once", "np.x=3", "generate.top_p=0.9", "a = b"])
    assert texts == ["Once", "np.x=3", "a = b"]
    assert pairs == ["generate.top_p=0.9"]
    with pytest.raises(UsageError, match="typo"):
        prompts_and_pairs(["generat.top_p=0.9"])


# ---- errors


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["finetune", "nosuch"], "nosuch"),
        (["finetune"], "RECIPE"),
        (["eval", "last"], "--data"),
        (["finetune", "qa", "--epochs", "many"], "'--epochs'"),
        (["finetune", "qa", "foo"], "KEY=VALUE"),
        (["predict", "last"], "nothing to answer"),
        (["predict", "last", "foo"], "FIELD=TEXT"),
        (["predict", "last", "--format", "xml", "--data", "d"], "xml"),
        (["doctor", "--set", "train.lr=1"], "no recipe keys"),
        (["recipes", "show", "nosuch"], "nosuch"),
        (["runs", "show", "last"], "no run"),
        (["help", "nosuch"], "nosuch"),
        (["--nosuch"], "--nosuch"),
    ],
)
def test_a_mistake_is_exit_2_with_a_short_message_and_json(typed, said, capsys):
    code, out, err = run(capsys, *typed)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert said in err
    assert "hint: " in err
    assert len(err.splitlines()) <= 15
    assert "Traceback" not in err
    code, out, _ = run(capsys, *typed, "--json")
    shown = json.loads(out.splitlines()[-1])
    assert out.count("\n") == 1
    assert code == 2
    assert shown["ok"] is False
    assert set(shown) == {"command", "ok", "error"}
    assert set(shown["error"]) == {"code", "kind", "message", "hint"}
    assert (shown["error"]["code"], shown["error"]["kind"]) == (2, "usage")


def failing(error):
    def verb(*args, **kwargs):
        raise error

    return verb


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("odd"), 1, "bug in hfkit: ValueError: odd"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 5, "memory"),
        (OSError(28, "No space left on device", "/x"), 5, "no space left"),
        (ModuleNotFoundError("No module named 'peft'", name="peft"), 2, "peft"),
    ],
)
def test_exceptions_become_exit_codes(error, code, said, monkeypatch, capsys):
    monkeypatch.setattr("hfkit.verbs.runs.listing.list_runs", failing(error))
    found, out, err = run(capsys, "runs", "list", "--json")
    assert found == code
    assert said in err
    assert "Traceback" not in err
    assert json.loads(out)["error"]["code"] == code


def test_debug_shows_the_traceback(monkeypatch, capsys):
    monkeypatch.setattr("hfkit.verbs.runs.listing.list_runs", failing(ValueError("odd")))
    code, _, err = run(capsys, "runs", "list", "--debug")
    assert code == 1
    assert "Traceback" in err


LEAVING = """
import atexit, gc, sys, types
from hfkit.cli import main
if sys.argv.pop(1) == "with":
    sys.modules["torch"] = types.ModuleType("torch")
atexit.register(lambda: print("taken down,", "frozen" if gc.get_freeze_count() else "all looked at"))
sys.exit(main())
"""


@pytest.mark.parametrize(("torch", "said"), [("with", "taken down, frozen\n"), ("without", "")])
@pytest.mark.parametrize(
    ("word", "code", "out", "err"),
    [("--version", 0, f"hfkit {hfkit.__version__}\n", ""), ("evl", 2, "", "evl")],
)
def test_a_command_leaves_without_a_look_for_garbage(torch, said, word, code, out, err):
    """Where torch is loaded, what libraries do at exit is done; else nothing is."""
    command = [sys.executable, "-c", LEAVING, torch, word]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (code, out + said)
    assert err in done.stderr


# ---- words from elsewhere


@pytest.mark.parametrize("word", ["train", "evaluate", "test", "infer", "ask", "chat", "ls", "env"])
def test_verbs_from_elsewhere_name_ours(word, capsys):
    code, _, err = run(capsys, word)
    assert code == 2
    assert f"`{VERBS[word]}`" in err


@pytest.mark.parametrize("command", VERBS.values())
def test_the_command_named_for_a_word_parses(command, capsys):
    parse(shlex.split(command)[1:])


@pytest.mark.parametrize(
    ("flag", "ours"),
    [
        ("--learning_rate", "--lr"),
        ("--per_device_train_batch_size", "--batch-size"),
        ("--per-device-train-batch-size", "--batch-size"),
        ("--max_seq_length", "--max-length"),
        ("--doc_stride", "qa.stride"),
        ("--fp16", "train.precision=float16"),
        ("--bf16", "train.precision=bfloat16"),
        ("--num_train_epochs", "--epochs"),
        ("--model_name_or_path", "--model"),
        ("--output_dir", "-o DIR"),
        ("--do_train", "finetune"),
        ("--train.lr", "train.lr=VALUE"),
        ("--epoch", "--epochs"),
    ],
)
def test_flags_from_elsewhere_get_our_spelling(flag, ours, capsys):
    code, _, err = run(capsys, "finetune", "qa", flag, "3")
    assert code == 2
    assert ours in err.split("hint: ")[1]


def test_every_flag_and_key_named_for_a_flag_exists():
    from hfkit.recipe.describe import describe
    from hfkit.recipe.keys import Recipe

    options = {name for path in CONTRACT for name in options_of(path)}
    keys = {key for key, *_ in describe(Recipe)}
    for told in FLAGS.values():
        assert set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", re.sub("`[^`]*`", "", told))) <= options, told
        for key in re.findall(r"((?:train|data|generate|model)[._][a-z_]+)=", told):
            assert key in keys, told


@pytest.mark.parametrize(("typo", "meant"), [("finetun", "finetune"), ("predct", "predict"), ("recipe", "recipes")])
def test_typos_get_the_nearest_command(typo, meant, capsys):
    code, _, err = run(capsys, typo)
    assert code == 2
    assert f"'{meant}'" in err


# ---- hints


def strings(tree: ast.AST):
    """Every string below a node, placeholders of f-strings as \\0."""
    if isinstance(tree, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in tree.values)
    elif isinstance(tree, ast.Constant):
        if isinstance(tree.value, str):
            yield tree.value
    else:
        for child in ast.iter_child_nodes(tree):
            yield from strings(child)


def next_commands(tree: ast.AST):
    """What events of the kind "next" tell the user to type."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict) and "commands" in [getattr(key, "value", None) for key in node.keys]:
            yield from (text for text in strings(node) if text.startswith("hfkit "))


def hinted_commands() -> list[str]:
    found: set[str] = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {
            ast.get_docstring(node, clean=False)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        }
        for text in strings(tree):
            if text not in docs:
                found |= set(re.findall(r"`(hfkit [^`]*)`", text))
        found |= set(next_commands(tree))
    assert len(found) > 10
    return sorted(found)


def filled(command: str, value: str) -> list[str]:
    """The command's words, placeholders filled with something plausible for where they stand."""
    command = re.sub(r"^hfkit \0", "hfkit finetune", command)
    command = re.sub(r"^hfkit (recipes|runs) \0 --help", r"hfkit \1 list --help", command)
    return shlex.split(command.replace("\0", value))[1:]


@pytest.mark.parametrize("command", hinted_commands(), ids=repr)
def test_every_command_in_a_hint_parses(command, capsys):
    problems = []
    for value in ("last", "7", "qa.stride=7"):
        try:
            parse(filled(command, value))
            return
        except (UsageError, typer.TyperException) as error:
            problems.append(str(error))
    pytest.fail(f"{command!r}: {problems}")


def test_how_a_model_is_found_is_a_key_wherever_one_is_found():
    from hfkit.cli.generate import prompts_and_pairs
    from hfkit.cli.options import MODEL_KEYS
    from hfkit.cli.predict import fields_and_pairs
    from hfkit.recipe import keys

    assert MODEL_KEYS == keys.MODEL_KEYS
    words = ["convert=false", "model_revision=v1.0"]
    assert fields_and_pairs(["text=so it goes", *words]) == ({"text": "so it goes"}, words)
    assert prompts_and_pairs(["convert = to change", *words]) == (["convert = to change"], words)
