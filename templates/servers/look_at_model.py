#!/usr/bin/env python3
"""What must be known of a model before vLLM spends minutes on it; one `WORD VALUE` a line.

    python3 look_at_model.py WEIGHTS [PARSER]

thinks yes|no    whether its tokenizer has think tags
length N         the longest text that its configuration allows
path DIRECTORY   where it lies on this machine's disks
parser yes|no    whether the vLLM that is installed here has this reasoning parser
parsers NAMES    all that it has
What cannot be found out is left out: vLLM itself will then tell. Ends with 0.
"""

import json
import os
import sys
from pathlib import Path

TAGS = (b"</think>", b"[/THINK]", b"</seed:think>", "◁/think▷".encode())
TOKENIZER = ("tokenizer_config.json", "tokenizer.json", "added_tokens.json")
TEMPLATES = ("chat_template.jinja", "chat_template.json", "tekken.json")


def directory_of(weights):
    """The directory of the model: given, or a snapshot in the hub's cache."""
    if Path(weights).is_dir():
        return Path(weights)
    home = os.environ.get("HF_HOME") or Path("~/.cache/huggingface").expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub"))
    cached = cache / f"models--{weights.replace('/', '--')}"
    try:
        snapshot = cached / "snapshots" / (cached / "refs" / "main").read_text().strip()
    except OSError:
        return None
    return snapshot if (snapshot / "config.json").exists() else None


def download(weights):
    """The small files only, as vLLM would do first."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return None
    try:
        from huggingface_hub import snapshot_download

        wanted = [*TOKENIZER, *TEMPLATES, "config.json"]
        return Path(snapshot_download(weights, allow_patterns=wanted))
    except Exception as error:
        print(f"look_at_model: {type(error).__name__}: {error}", file=sys.stderr)
        return None


def thinks(directory):
    found = [directory / name for name in (*TOKENIZER, *TEMPLATES) if (directory / name).is_file()]
    if not any(path.name in (*TOKENIZER, "tekken.json") for path in found):
        return None
    return any(tag in path.read_bytes() for path in found for tag in TAGS)


def longest(directory):
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        config = {**config, **config.get("text_config", {})}
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        if isinstance(config.get(name), int):
            scaling = config.get("rope_scaling") or {}
            factor = scaling.get("factor", 1) if isinstance(scaling, dict) else 1
            kind = scaling.get("rope_type", scaling.get("type")) if factor != 1 else None
            return int(config[name] * (1 if kind in (None, "llama3", "longrope", "su") else factor))
    return None


def parsers():
    """The reasoning parsers of the installed vLLM."""
    try:
        from vllm.reasoning import ReasoningParserManager as Manager
    except Exception as error:
        print(f"look_at_model: {type(error).__name__}: {error}", file=sys.stderr)
        return None
    if hasattr(Manager, "list_registered"):
        return sorted(Manager.list_registered())
    return sorted(getattr(Manager, "reasoning_parsers", {})) or None


def main(weights, parser=""):
    directory = directory_of(weights) or download(weights)
    if directory is not None:
        facts = {"path": directory.resolve(), "length": longest(directory)}
        thinking = thinks(directory)
        facts["thinks"] = None if thinking is None else "yes" if thinking else "no"
        for word, value in facts.items():
            if value is not None:
                print(word, value)
    known = parsers() if parser else None
    if known is not None:
        print("parser", "yes" if parser in known else "no")
        print("parsers", " ".join(known))


if __name__ == "__main__":
    main(*sys.argv[1:])
