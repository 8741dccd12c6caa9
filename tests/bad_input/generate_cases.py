"""Mistakes with prompts and the settings of generation."""

from __future__ import annotations

from bad_input.case import Case, Files, jsonl


def generate_cases() -> list[Case]:
    def say(name: str, more: str, says: str, code: int = 2, files: Files | None = None) -> Case:
        return Case(f"generate_{name}", f"generate {{gpt2}} --cpu {more}", code, says, files or {})

    return [
        say("temperature", "the --temperature -1", "--temperature|generate.temperature"),
        say("temperature_nan", "the generate.temperature=.nan", "generate.temperature"),
        say("top_p", "the --top-p 2", "generate.top_p"),
        say("top_p_zero", "the --top-p 0", "generate.top_p"),
        say("top_k", "the --top-k -3", "--top-k"),
        say("no_tokens", "the --max-new-tokens 0", "--max-new-tokens"),
        say("long_prompt", "'" + "the river " * 300 + "'", "prompt.*128"),
        say(
            "long_prompt_file",
            "--prompts p.jsonl",
            "'?p1'?.*128",
            files={"p.jsonl": jsonl({"id": "p0", "prompt": "the"}, {"id": "p1", "prompt": "the river " * 300})},
        ),
        say("key_typo", "the generate.topp=0.5", "generate.topp.*generate.top_p"),
        say("section_typo", "the generat.top_p=0.5", "generate.top_p"),
        say("other_section", "the train.lr=1", "train.lr"),
        say("both", "the --prompts p.txt", "two places", files={"p.txt": "a\n"}),
        say("no_file", "--prompts p.txt", "p.txt", 3),
        say("empty_file", "--prompts p.txt", "p.txt is empty", 3, {"p.txt": ""}),
        say("wrong_column", "--prompts p.csv", "p.csv.*prompt", 3, {"p.csv": "a,b\n1,2\n"}),
        say(
            "null_prompt",
            "--prompts p.jsonl",
            "prompt is null.*'1'",
            3,
            {"p.jsonl": jsonl({"prompt": "a"}, {"prompt": None})},
        ),
        say("template_column", "the generate.template=prompt", "generate.template names no column.*braces"),
        say("template_brace", "the generate.template={prompt", "generate.template.*doubled"),
        say("overflow", "the generate.overflow=cut", "generate.overflow"),
        say("resume_nowhere", "the --resume", "--resume.*-o FILE"),
        say("interactive_file", "--interactive -o out.jsonl", "--interactive"),
        say("stopped_job", "the -o out.jsonl", "out.jsonl.partial.*--resume", 2, {"out.jsonl.partial": "x"}),
        say("taken", "the -o out.jsonl", "out.jsonl exists.*--overwrite", 2, {"out.jsonl": "x"}),
        say("below_file", "the -o file/out.jsonl", "file", 5, {"file": "x"}),
        say("proc", "the -o /proc/out.jsonl", "/proc", 5),
    ]
