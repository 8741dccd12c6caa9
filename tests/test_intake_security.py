"""What strangers' files may try: code in pickles and configs, paths outside, bombs, escapes; and our own secrets."""

from __future__ import annotations

import ast
import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bad_input import checkpoints
from bad_input.case import ESCAPES, GOOD, QA, QAS, Case, jsonl, qa, text
from bad_input.perform import PACKAGE, on_terminal, put, said, spawn, tree, words

SMALL = "qa.max_length=64 qa.stride=16 qa.max_question_length=16"
ASK = "question=who context='the old mill'"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    checkpoints.sound(folder)
    return folder


class NoInput:
    """A stdin that must not be read: a question asked there would wait for ever."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"stdin.{name}: something asked a question")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "outside" / "here"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "stdin", NoInput())
    return folder


def run(command: str, models: Path, *, code: int) -> str:
    """What a command says, its exit code checked."""
    found, out, err = said(words(Case("", command, code, ""), models, Path.cwd()))
    assert found == code, err
    assert "Traceback" not in err
    return out + err


def evil(canary: Path) -> bytes:
    return pickle.dumps(checkpoints.Touch(canary))


# ---- SC01: pickles


@pytest.mark.parametrize("name", ["d.pkl", "d.pickle", "d.npy", "d.pt", "d.bin"])
def test_sc01_data_that_is_a_pickle_is_no_data(name: str, models: Path, here: Path) -> None:
    put({name: evil(here / "canary"), f"folder/train{Path(name).suffix}": evil(here / "canary")})
    for data in (name, "folder"):
        run(f"{QA} {data}", models, code=3)
        run(f"score p.json --data {data} --task qa", models, code=3)
    assert not (here / "canary").exists()


def test_sc01_pickles_beside_sound_weights_are_never_read(models: Path, here: Path) -> None:
    """What Trainer leaves in a checkpoint; hfkit's own resume state is safetensors and JSON."""
    shutil.copytree(models / "qa", here / "m")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "pytorch_model.bin"):
        (here / "m" / name).write_bytes(evil(here / "canary"))
    run(f"predict ./m --cpu {ASK}", models, code=0)
    assert not (here / "canary").exists()


def test_sc01_pickled_weights_with_code_are_refused(models: Path, here: Path) -> None:
    shutil.copytree(models / "qa", here / "m")
    (here / "m" / "model.safetensors").unlink()
    (here / "m" / "pytorch_model.bin").write_bytes(evil(here / "canary"))
    heard = run(f"predict ./m --cpu {ASK}", models, code=4)
    assert "weights_only=False" not in heard and "trust" not in heard
    assert not (here / "canary").exists()


# ---- SC02: code in a repository


def _code(folder: Path) -> None:
    (folder / "evil.py").write_text(
        f"open({str(folder.parent / 'canary')!r}, 'w').close()\nEvil = object\n", encoding="utf-8"
    )
    (folder / "custom_generate").mkdir()
    shutil.copy(folder / "evil.py", folder / "custom_generate" / "generate.py")


REMOTE = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil", "AutoTokenizer": ["evil.Evil", "evil.Evil"]}
CODE: dict[str, tuple[Callable[[Path], None], tuple[int, ...]]] = {
    "known family": (lambda m: checkpoints.edit(m / "config.json", auto_map=REMOTE), (0,)),
    "unknown family": (lambda m: checkpoints.edit(m / "config.json", auto_map=REMOTE, model_type="evil"), (4,)),
    "tokenizer": (
        lambda m: checkpoints.edit(m / "tokenizer_config.json", auto_map=REMOTE, tokenizer_class="Evil"),
        (0, 4),
    ),
    "kernel": (lambda m: checkpoints.edit(m / "config.json", _attn_implementation_internal="evil/kernel"), (0,)),
    "kernel by name": (lambda m: checkpoints.edit(m / "config.json", attn_implementation="evil/kernel"), (0,)),
    "nested": (
        lambda m: checkpoints.edit(
            m / "config.json",
            text_config={"model_type": "bert", "auto_map": REMOTE, "_attn_implementation_internal": "evil/kernel"},
        ),
        (0,),
    ),
    "generation": (
        lambda m: (m / "generation_config.json").write_text(
            json.dumps({"custom_generate": "custom_generate", "trust_remote_code": True}), encoding="utf-8"
        ) and None,
        (0,),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CODE)
def test_sc02_code_that_comes_with_a_model_is_never_run(name: str, models: Path, here: Path) -> None:
    damage, codes = CODE[name]
    shutil.copytree(models / "qa", here / "m")
    _code(here / "m")
    damage(here / "m")
    code, _, err = said(words(Case("", f"predict ./m --cpu {ASK}", 0, ""), models, here))
    assert code in codes, err
    assert not list(here.rglob("canary"))
    assert "evil" not in sys.modules


def test_sc02_private_keys_are_left_out_in_every_part_of_a_config(models: Path, here: Path) -> None:
    from hfkit.models import find

    shutil.copytree(models / "qa", here / "m")
    CODE["nested"][0](here / "m")
    checkpoints.edit(here / "m" / "config.json", label2id={"_other": 0, "auto_map": 1})
    config = find("./m").config
    assert config["text_config"] == {"model_type": "bert"}
    assert config["label2id"] == {"_other": 0, "auto_map": 1}


# ---- SC03: paths


def test_sc03_names_inside_a_model_write_nothing_outside_of_the_run(models: Path, here: Path) -> None:
    outside = here.parent
    shutil.copytree(models / "bert", here / "m")
    template = [{"name": "../../../x", "template": "hi"}, {"name": "default", "template": "hi"}]
    checkpoints.edit(here / "m" / "tokenizer_config.json", chat_template=template, tokenizer_file="../../outside.json")
    labels = ("../../etc", "/etc/passwd")
    put({"d.jsonl": jsonl(*(text(n, labels[n % 2]) for n in range(12)))})
    before = tree(outside)
    found, _, err = said(
        words(
            Case("", "finetune classify --model ./m --cpu -o out --train d.jsonl train.max_steps=1", 0, ""),
            models,
            here,
        )
    )
    assert found in (0, 4), err
    changed = {name for name in tree(outside) if name not in before}
    assert all(name == "here/out" or name.startswith("here/out/") for name in changed), changed
    assert {name: digest for name, digest in tree(outside).items() if name in before} == before
    assert found == 4 or "../../etc" in json.loads((here / "out/model/config.json").read_text())["label2id"]


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/../../x", "..", "x\0y"])
def test_sc03_names_that_users_give_stay_names(name: str, models: Path, here: Path) -> None:
    put(GOOD)
    before = tree(here.parent)
    code, _, _ = said(["eval", str(models / "qa"), "--cpu", "--data", "qa.jsonl", "--name", name])
    assert code == 2
    assert tree(here.parent) == before


def test_sc03_a_weight_index_that_leaves_its_folder(models: Path, here: Path) -> None:
    shutil.copytree(models / "qa", here / "m")
    shutil.move(here / "m" / "model.safetensors", here / "outside.safetensors")
    index = {"metadata": {}, "weight_map": {"a": "../outside.safetensors"}}
    (here / "m" / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert "outside its folder" in run(f"predict ./m --cpu {ASK}", models, code=4)


# ---- SC04, SC05: bombs, in a process of its own so that its memory can be read

MEASURED = """
import re, sys, time
from hfkit.errors import HfkitError
from pathlib import Path
what, path = sys.argv[1:]
if what == "recipe":
    from hfkit.recipe.load import read_mapping as reader
else:
    from hfkit.models.safetensors_file import check_safetensors as reader
begun = time.process_time()
try:
    reader(Path(path))
    said = "read"
except HfkitError as error:
    said = f"{error.code} {error.message}"
seconds = time.process_time() - begun
# VmHWM, since ru_maxrss would count the parent too
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(seconds, int(peak[1]) // 1024, said)
"""
LETTERS = "abcdefghi"
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{LETTERS[n]}: &{LETTERS[n]} [{','.join([f'*{LETTERS[n - 1]}'] * 9)}]\n" for n in range(1, len(LETTERS))
)
BOMBS = {
    "object": "a: !!python/object/apply:os.system ['touch canary']\n",
    "module": "a: !!python/module:evil\n",
    "laughs": LAUGHS,
    "large": "a: x\n" + "".join(f"k{n}: [1, 2, 3]\n" for n in range(600_000)),
    "deep": "a: " + "[" * 100_000 + "\n",
    "number": "a: " + "9" * 100_000 + "\n",
}


@pytest.mark.parametrize("name", BOMBS)
def test_sc04_a_recipe_cannot_run_code_or_eat_the_machine(name: str, here: Path) -> None:
    (here / "r.yaml").write_text(BOMBS[name], encoding="utf-8")
    measured("recipe", here / "r.yaml", code=2, megabytes=200)
    assert not (here / "canary").exists()


def header(entries: dict[str, Any] | bytes, payload: bytes = b"") -> bytes:
    raw = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return len(raw).to_bytes(8, "little") + raw + payload


def _tensor(start: int, end: int) -> dict[str, Any]:
    return {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]}


HEADERS: dict[str, Callable[[], bytes]] = {
    "90 MB": lambda: header(b"{" + b" " * (90 << 20) + b"}"),
    "a million tensors": lambda: header(
        b"{" + b'"t": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},' * 10**6 + b'"u": 1}'
    ),
    "many short tensors": lambda: header({f"{n:x}": _tensor(n, n + 1) for n in range(60_000)}, bytes(60_000)),
    "overlapping": lambda: header({"a": _tensor(0, 8), "b": _tensor(4, 12)}, bytes(12)),
    "infinite": lambda: header(b'{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1e999]}}', b"x"),
    "deep": lambda: header(b'{"a":' + b"[" * 100_000, b"x"),
    "a length beyond all": lambda: (2**64 - 1).to_bytes(8, "little") + b"{}",
}


@pytest.mark.parametrize("name", HEADERS)
def test_sc05_a_weight_file_cannot_eat_the_machine(name: str, here: Path) -> None:
    (here / "m.safetensors").write_bytes(HEADERS[name]())
    measured("weights", here / "m.safetensors", code=4, megabytes=300)


def measured(what: str, path: Path, *, code: int, megabytes: int) -> None:
    """Refused with `code`, within a second of processor time and so much memory."""
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is read from /proc")
    done = spawn(["-c", MEASURED, what, str(path)], {})
    seconds, used, message = done.stdout.split(" ", 2)
    assert message.startswith(f"{code} "), done.stdout + done.stderr
    assert float(seconds) < 1
    assert int(used) < megabytes


# ---- SC06: what our own code may not call

CALLS = {
    "eval", "exec", "__import__", "compile", "os.system", "os.popen", "torch.load", "pickle.load", "pickle.loads",
    "pickle.Unpickler", "marshal.loads", "shelve.open", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "np.load",
    "numpy.load", "joblib.load", "shutil.unpack_archive", "tarfile.open",
}  # fmt: skip
ATTRIBUTES = {"extractall", "unpack_archive"}
ALLOWED = {
    ("models/unpickle.py", "torch.load"),  # weights_only, in a child process without network
    ("recipe/yaml.py", "yaml.load"),  # with a SafeLoader
    ("engine/answer.py", "np.load"),  # arrays that this process spooled, without pickle
    ("engine/processes/place.py", "pickle.loads"),  # what the first process of the same job says
}
FLAGS = {("shell", True), ("trust_remote_code", True), ("weights_only", False), ("allow_pickle", True)}


def test_sc06_nothing_dangerous_is_called() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in CALLS or called.rpartition(".")[2] in ATTRIBUTES:
                found.add((name, called))
            for keyword in node.keywords:
                if isinstance(keyword.value, ast.Constant) and (keyword.arg, keyword.value.value) in FLAGS:
                    found.add((name, f"{keyword.arg}={keyword.value.value}"))
    assert found == ALLOWED
    text = (PACKAGE / "models" / "unpickle.py").read_text(encoding="utf-8")
    assert text.count("torch.load(") == text.count("weights_only=True") == 1
    assert "Loader=StrictLoader" in (PACKAGE / "recipe" / "yaml.py").read_text(encoding="utf-8")


# ---- SC07: what data may not do to a terminal (errors: test_bad_input.py)

STRANGE = ESCAPES + "\u202egnp.exe"


def test_sc07_texts_on_a_terminal_are_made_safe() -> None:
    from hfkit.report.text import one_line, safe

    for shown in (safe(STRANGE), one_line(STRANGE)):
        assert shown.isprintable()
        assert "[bold red]" in shown
        assert "\\x1b" in shown and "\\u202e" in shown
    assert safe("א שלום עולם") == "א שלום עולם"


def test_sc07_answers_and_labels_with_escapes_reach_no_terminal(models: Path, here: Path) -> None:
    pytest.importorskip("pty")
    put({"d.jsonl": jsonl(*(qa(n, id=f"{n}{STRANGE}", context=STRANGE * 3) for n in range(2)))})
    shown = on_terminal(["predict", str(models / "bytes"), "--cpu", "--data", "d.jsonl"])
    for raw in ("\x07", "\x9b", "\x1b]0", "\x1b[31m[bold", "\u202e"):
        assert raw not in shown
    assert "[bold red]" in shown


# ---- SC08: secrets

SECRET = "hf_" + "SeCrEtSeCrEt" * 3


def test_sc08_a_token_is_said_and_written_nowhere(models: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", SECRET)
    put({**GOOD, "p.jsonl": jsonl(*({"id": f"q{n}", "prediction": "old mill"} for n in range(12)))})
    heard = run(f"{QA} qa.jsonl", models, code=0)
    heard += run("eval out --cpu --data qa.jsonl", models, code=0)
    heard += run("predict out --cpu --data qa.jsonl -o a.jsonl", models, code=0)
    heard += run("generate {gpt2} --cpu the --max-new-tokens 2", models, code=0)
    heard += run("score p.jsonl --data qa.jsonl --task qa", models, code=0)
    heard += run("runs list", models, code=0) + run("runs show out", models, code=0) + run("doctor", models, code=0)
    heard += run("recipes show qa --keys", models, code=0)
    heard += run("convert {pickled} -o safe", models, code=0)
    heard += run("predict acme/no-such-model question=a context=b", models, code=7)
    assert SECRET not in heard
    written = [path for path in here.rglob("*") if path.is_file()] + list(
        Path(os.environ["HFKIT_CACHE"]).rglob("*.json")
    )
    assert len(written) > 15
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]


def test_sc08_a_crash_does_not_show_the_environment(models: Path, here: Path) -> None:
    put({"d.jsonl": QAS})
    crash = (
        "import sys, hfkit.verbs.score as s; s.score = None; from hfkit.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = spawn(
        ["-c", crash, "score", "p.jsonl", "--data", "d.jsonl", "--task", "qa", "--debug"], {"HF_TOKEN": SECRET}
    )
    assert done.returncode == 1
    assert "this is a bug" in done.stderr
    assert SECRET not in done.stdout + done.stderr
