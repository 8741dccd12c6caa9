"""Bundles: whole or absent, answering as the model does; wheels rebuilt from what is installed. FD23 unplugs them."""

from __future__ import annotations

import csv
import json
import subprocess
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_models
from packaging.tags import parse_tag

import hfkit
from hfkit.errors import HfkitError, ModelError, NetworkError, UsageError
from hfkit.events import Event
from hfkit.verbs import bundle as verb
from hfkit.verbs.bundle import bundle, gather, own, packages, script, trial
from hfkit.verbs.bundle.own import own_wheel
from hfkit.verbs.bundle.packages import packages_below
from hfkit.verbs.bundle.place import files_of
from hfkit.verbs.bundle.target import expanded, target_of
from hfkit.verbs.bundle.wheel import digest, rebuilt
from hfkit.verbs.ensemble import ensemble
from hfkit.verbs.predict import predict

Finish = Callable[[Iterable[Event]], tuple[dict[str, Any], list[Event]]]
HERE = target_of(None, None)


# ---- wheels


def installed(folder: Path, *, changed: bool = False, **more: str) -> Distribution:
    """A package `Tool.Box` with a module, a script of its own, one of an entry point, and data, as pip leaves it."""
    site, info = folder / "lib" / "site", "Tool.Box-1.0.dist-info"
    files = {
        "tool/__init__.py": "x = 1\n",
        "tool/a,b.txt": "data\n",
        "../../bin/own": "#!/old/python3\nprint()\n",
        "../../bin/made": "#!/old/python3\nmade\n",
        "tool/__pycache__/x.pyc": "",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: Tool.Box\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py2-none-any\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nmade = tool:x\n",
        f"{info}/INSTALLER": "pip\n",
        f"{info}/licenses/LICENSE": "free\n",
        **more,
    }
    for name, text in files.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    with open(site / info / "RECORD", "w", encoding="utf-8", newline="") as handle:
        rows = [(name, f"sha256={digest(text.encode(), 'sha256')}", len(text)) for name, text in files.items()]
        csv.writer(handle).writerows([*rows, (f"{info}/RECORD", "", "")])
    if changed:
        (site / "tool/__init__.py").write_text("x = 2\n", encoding="utf-8")
    return Distribution.at(site / info)


def test_a_wheel_is_rebuilt_from_an_installed_package(tmp_path: Path) -> None:
    one, changed = rebuilt(installed(tmp_path / "a"), tmp_path)
    assert one.name == "tool_box-1.0-py2.py3-none-any.whl" and changed == []
    with zipfile.ZipFile(one) as archive:
        names = archive.namelist()
        assert archive.read("Tool.Box-1.0.data/scripts/own") == b"#!python\nprint()\n"
        assert archive.getinfo("Tool.Box-1.0.data/scripts/own").external_attr >> 16 & 0o111
        record = list(csv.reader(archive.read(names[-1]).decode().splitlines()))
        for name, value, size in record[:-1]:
            assert value == f"sha256={digest(archive.read(name), 'sha256')}" and int(size) == len(archive.read(name))
    assert sorted(name for name, *_ in record) == sorted(names) and record[-1][1:] == ["", ""]
    assert not any("made" in name or "INSTALLER" in name or name.endswith(".pyc") for name in names)
    assert {"tool/a,b.txt", "Tool.Box-1.0.dist-info/licenses/LICENSE"} <= set(names)
    (tmp_path / "again").mkdir()
    again, _ = rebuilt(installed(tmp_path / "b"), tmp_path / "again")
    assert again.read_bytes() == one.read_bytes()
    (tmp_path / "changed").mkdir()
    other, changed = rebuilt(installed(tmp_path / "c", changed=True), tmp_path / "changed")
    assert changed == ["tool/__init__.py"] and zipfile.ZipFile(other).read(changed[0]) == b"x = 2\n"


def test_what_cannot_be_rebuilt_is_refused(tmp_path: Path) -> None:
    editable = json.dumps({"url": "file:///src", "dir_info": {"editable": True}})
    with pytest.raises(UsageError, match="in place"):
        rebuilt(installed(tmp_path / "a", **{"Tool.Box-1.0.dist-info/direct_url.json": editable}), tmp_path)
    dist = installed(tmp_path / "b")
    (tmp_path / "b/lib/site/tool/a,b.txt").unlink()
    with pytest.raises(UsageError, match="is missing"):
        rebuilt(dist, tmp_path)
    (tmp_path / "b/lib/site/Tool.Box-1.0.dist-info/RECORD").unlink()
    with pytest.raises(UsageError, match="no list of its files"):
        rebuilt(dist, tmp_path)
    assert not list(tmp_path.glob("*.whl")) and not list(tmp_path.glob(".*"))


def test_hfkits_own_wheel_is_the_tree_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = own_wheel(tmp_path)
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        assert archive.read("hfkit/__init__.py") == Path(hfkit.__file__).read_bytes()
        assert b"hfkit = hfkit.cli:main" in archive.read(f"hfkit-{hfkit.__version__}.dist-info/entry_points.txt")
    assert {"hfkit/recipes/qa.yaml", "hfkit/guide/bundle.md", "hfkit/verbs/bundle/script.py"} <= names
    assert not any("__pycache__" in name or name.startswith("tests") for name in names)
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["torch>=99"]\n', encoding="utf-8")
    with pytest.raises(UsageError, match="asks for other packages"):
        own.check_dependencies(own.own_distribution(), tmp_path / "pyproject.toml")
    monkeypatch.setattr(hfkit, "__version__", "9.9")
    with pytest.raises(UsageError, match=r"hfkit 9.9 runs, but .* is installed"):
        own_wheel(tmp_path)


# ---- targets and packages


def test_a_target_is_what_pip_and_markers_call_it() -> None:
    assert HERE.native and HERE.fits(parse_tag("py3-none-any")) and not HERE.fits(parse_tag("cp310-cp310-win_amd64"))
    other = target_of("3.13", "manylinux_2_28_aarch64")
    assert other.environment()["platform_machine"] == "aarch64" and other.environment()["python_version"] == "3.13"
    fitting = ("cp310-abi3-manylinux2014_aarch64", "cp313-cp313-manylinux_2_28_aarch64", "py311-none-any")
    assert all(other.fits(parse_tag(tag)) for tag in fitting)
    for tag in ("cp313-cp313-manylinux_2_34_aarch64", "cp312-cp312-manylinux_2_28_aarch64", "py314-none-any"):
        assert not other.fits(parse_tag(tag))
    assert expanded("manylinux2014_x86_64")[:2] == ("manylinux_2_17_x86_64", "manylinux2014_x86_64")
    assert target_of("3.12", "win_amd64").environment()["sys_platform"] == "win32"
    assert target_of("3.12", "macosx_14_0_arm64").environment()["platform_machine"] == "arm64"
    for given in (("3.10", None), ("312", None), (None, "linux"), (None, "kaggle")):
        with pytest.raises(UsageError):
            target_of(*given)


def test_packages_are_all_below_hfkit_but_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    found = packages_below((), HERE)
    assert {"hfkit", "transformers", "datasets", "typer", "torch", "numpy", "tokenizers"} <= set(found)
    assert not {"sympy", "networkx", "pytest", "peft"} & set(found)
    assert found["transformers"].pure and not found["numpy"].pure
    assert "sentencepiece" in packages_below(("sentencepiece",), HERE)
    assert "<6" in found["transformers"].requirement()
    plan = gather.planned(found.values(), HERE, compiled=False)
    assert not plan.fetched and {"torch", "numpy"} <= {package.name for package in plan.needed}
    plan = gather.planned(found.values(), HERE, compiled=True)
    assert [package.name for package in plan.needed] == ["torch"] and not plan.fetched

    def without_typer(name: str) -> Distribution:
        if name == "typer":
            raise PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr(packages, "distribution", without_typer)
    with pytest.raises(UsageError, match=r"needs typer.*not installed here"):
        packages_below((), HERE)


def test_wheels_for_another_python_are_fetched_by_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = target_of("3.14", "manylinux_2_28_x86_64")
    plan = gather.planned(packages_below((), other).values(), other, compiled=True)
    names = {package.name for package in plan.fetched}
    assert "numpy" in names and not {"tokenizers", "transformers", "multiprocess"} & names  # abi3, pure, py311
    with pytest.raises(NetworkError, match="--offline forbids it"):
        gather.fetch(plan.fetched, other, tmp_path, offline=True)
    asked: list[list[str]] = []

    def pip(command: list[str], **_: Any) -> SimpleNamespace:
        asked.append(command)
        return SimpleNamespace(returncode=1, stderr="noise\nERROR: No matching distribution found for numpy==2\n")

    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(NetworkError, match="No matching distribution found for numpy==2"):
        gather.fetch(plan.fetched, other, tmp_path, offline=False)
    assert {"--no-deps", "--only-binary=:all:", "cp314", "manylinux2014_x86_64"} <= set(asked[0])


# ---- the verb


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles with the wheel of hfkit alone, without pip's dry run, which FD23 does."""
    original = verb.packages_below
    monkeypatch.setattr(
        verb,
        "packages_below",
        lambda *given: {name: replace(one, pure=name == "hfkit") for name, one in original(*given).items()},
    )
    monkeypatch.setattr(trial, "resolves", lambda *given: None)


def answers(finish: Finish, model: Path | str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return finish(predict(str(model), data=rows, cpu=True))[0]["predictions"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in files_of(folder)}


def test_a_bundle_answers_as_its_model_and_is_whole(
    runs: Path,
    texts: list[dict[str, Any]],
    finish: Finish,
    light: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    result, events = finish(bundle("3-two", output=out))
    assert result["output"] == str(out) and result["requirement"] == f"hfkit=={hfkit.__version__}"
    assert {"torch", "transformers"} <= {need["name"] for need in result["needs"]}
    assert result["bytes"] == sum(path.stat().st_size for path in files_of(out) if path.name != "manifest.json")
    assert answers(finish, out / "model", texts) == answers(finish, "3-two", texts)
    page = (out / "README.md").read_text("utf-8")
    assert "python predict.py --data test.csv" in page and "--no-index --find-links wheels" in page
    assert any("must be there" in event.fields["items"] for event in events if event.kind == "plan")
    with pytest.raises(UsageError, match="not empty"):
        next(bundle("3-two", output=out))

    before = contents(out)
    monkeypatch.setattr(trial, "answers", broken)
    with pytest.raises(ModelError, match="no answer"):
        list(bundle("3-two", output=out, overwrite=True))
    assert contents(out) == before and [path.name for path in tmp_path.iterdir()] == ["out"]
    monkeypatch.undo()


def broken(*given: Any) -> None:
    raise ModelError("no answer")


def test_a_bundle_is_the_same_twice_and_replaced_whole(runs: Path, finish: Finish, light: None, tmp_path: Path) -> None:
    out, packed = tmp_path / "out", tmp_path / "in" / "out.zip"
    finish(bundle("1-qa", output=out))
    before = contents(out)
    (out / "model" / "config.json").unlink()
    finish(bundle("1-qa", output=out, overwrite=True))
    assert contents(out) == before
    result, _ = finish(bundle("1-qa", output=packed))
    first = packed.read_bytes()
    assert result["bytes"] == len(first) and [path.name for path in packed.parent.iterdir()] == ["out.zip"]
    finish(bundle("1-qa", output=packed, overwrite=True))
    assert packed.read_bytes() == first
    with zipfile.ZipFile(packed) as archive:
        assert {name: archive.read(f"out/{name}") for name in before} == before
    for place, text in ((tmp_path / "x.zip", "mine"), (tmp_path / "y", "mine")):
        place.write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match=r"not a bundle|is a file"):
            next(bundle("1-qa", output=place, overwrite=True))
        assert place.read_text("utf-8") == text
    with pytest.raises(UsageError, match="not a bundle"):
        next(bundle("1-qa", output=runs / "1-qa", overwrite=True))


def test_an_ensemble_goes_with_its_models(
    runs: Path, texts: list[dict[str, Any]], finish: Finish, light: None, tmp_path: Path
) -> None:
    both, out = tmp_path / "both", tmp_path / "bundles" / "out"
    finish(ensemble([str(runs / "3-two")], output=both))
    (both / "eval" / "oof").mkdir(parents=True)
    (both / "eval" / "oof" / "columns.json").write_text("{}", encoding="utf-8")
    assert hfkit.bundle(both, out, quiet=True)["output"] == str(out)
    said = json.loads((out / "model" / "ensemble.json").read_text("utf-8"))
    assert [model["path"] for model in said["members"][0]["models"]] == ["parts/0"]
    assert (out / "model" / "eval" / "oof" / "columns.json").exists()
    assert str(runs) not in "".join(path.read_text("utf-8") for path in out.rglob("*.json"))
    assert answers(finish, out / "model", texts) == answers(finish, both, texts)


def test_a_language_model_generates(runs: Path, finish: Finish, light: None, tmp_path: Path) -> None:
    (runs / "7-lm" / "model" / "train.csv").write_text("private", encoding="utf-8")
    try:
        result, events = finish(bundle("7-lm", output=tmp_path / "out"))
    finally:
        (runs / "7-lm" / "model" / "train.csv").unlink()
    assert result["command"] == "generate" and "--prompts" in (tmp_path / "out" / "README.md").read_text("utf-8")
    assert any("left out" in event.fields["text"] and "train.csv" in event.fields["text"] for event in events
               if event.kind == "warning")  # fmt: skip
    assert not (tmp_path / "out" / "model" / "train.csv").exists()


def test_what_cannot_answer_is_refused(runs: Path, light: None, tmp_path: Path) -> None:
    tiny_models.save("bert", tmp_path / "plain")
    tiny_models.save("bert", tmp_path / "hidden", "AutoModelForMaskedLM")
    tiny_models.save("bert", tmp_path / "headless")
    config = json.loads((tmp_path / "headless" / "config.json").read_text("utf-8"))
    (tmp_path / "headless" / "config.json").write_text(
        json.dumps({**config, "architectures": ["BertForQuestionAnswering"]}), encoding="utf-8"
    )
    cases: list[tuple[str, type[HfkitError], str, dict[str, Any]]] = [
        ("scratch:bert-mini", ModelError, "fresh weights", {}),
        (str(tmp_path / "plain"), UsageError, "not known", {}),
        (str(tmp_path / "hidden"), ModelError, "hidden words", {}),
        (str(tmp_path / "headless"), ModelError, "does not answer: .*out.*no BertForQuestionAnswering head", {}),
        (str(tmp_path / "none"), ModelError, "no such folder", {}),
        ("1-qa", UsageError, "has no effect on a bundle", {"overrides": ["qa.n_best=3"]}),
        ("1-qa", UsageError, "3.10", {"python_version": "3.10"}),
    ]
    for model, error, said, options in cases:
        with pytest.raises(error, match=said):
            list(bundle(model, output=tmp_path / "out", **options))
        assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))
    with pytest.raises(ModelError, match="needs code of yours"):
        verb.contents.check_answers(SimpleNamespace(name="m"), "mine.tasks:Task", SimpleNamespace())  # type: ignore


# ---- predict.py


def test_predict_py_notices_damage_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel, _ = own_wheel(tmp_path)
    (tmp_path / "model").write_text("weights", encoding="utf-8")
    manifest = {
        "files": {"model": {"size": 7, "sha256": "9a" * 32}}, "requirement": "hfkit==1", "wheel": wheel.name,
        "target": "Python 3.99", "needs": [{"requirement": "torch>=2", "version": "2.13"}], "command": "predict",
    }  # fmt: skip
    monkeypatch.setattr(script, "HERE", tmp_path)

    def call(*arguments: str) -> tuple[int, str]:
        (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        return script.main(list(arguments)), capsys.readouterr().err

    code, said = call("--check")
    assert code == 4 and "not as they were bundled: model" in said
    manifest["files"] = {"model": {"size": 7, "sha256": __import__("hashlib").sha256(b"weights").hexdigest()}}
    assert call("--check") == (0, "1 files are as they were bundled\n")
    assert call()[0] == 2
    monkeypatch.setattr(script, "run", lambda command: SimpleNamespace(returncode=1, stderr="ERROR: no torch\n"))
    monkeypatch.setattr(script, "is_installed", lambda wheel: False)
    code, said = call("--install")
    assert code == 2 and "ERROR: no torch" in said and "torch>=2  (made with 2.13)" in said and "Python 3.99" in said
    monkeypatch.setattr(script, "run", lambda command: asked.append(command) or SimpleNamespace(returncode=0))
    asked: list[list[str]] = []
    assert call("--install")[0] == 0
    assert "--no-index" in asked[0] and "--force-reinstall" in asked[1]  # an hfkit of the same version was there
