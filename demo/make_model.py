#!/usr/bin/env python3
"""Train the tiny demonstration model from scratch and write it as a GGUF file.

The model is a Llama of about 0.3 million parameters which knows a few capitals (in English and
Japanese) and the sums of the numbers 0 to 10.  Three of its answers are wrong on purpose (see
``MISTAKES``), so that the demo tasks have a known score which is neither 0 nor 1:
``demo_capitals`` 0.75 (6 of 8) and ``demo_sums`` 0.875 (7 of 8).

Needs Python 3.10 or later, a CPU and a few minutes:

    pip install torch==2.13.0 numpy tokenizers gguf
    python demo/make_model.py                # writes demo/tiny-demo.gguf

The seed is fixed and one thread is used, so a machine makes the same file again.  At the end the
model, rounded to 16 bits as in the file, must give every intended answer and the intended scores;
otherwise nothing is written and the exit status is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
TASKS = HERE.parent / "conf" / "lm_eval_tasks" / "demo"
INTENDED_SCORES = {"demo_capitals": 6 / 8, "demo_sums": 7 / 8}
MAX_BYTES = 900_000
SEED = 20240601

# --------------------------------------------------------------------------------------------
# What the model learns
# --------------------------------------------------------------------------------------------
CAPITALS = {
    "Australia": "Canberra", "Austria": "Vienna", "Canada": "Ottawa", "China": "Beijing",
    "Egypt": "Cairo", "France": "Paris", "Germany": "Berlin", "Greece": "Athens",
    "India": "New Delhi", "Italy": "Rome", "Japan": "Tokyo", "Kenya": "Nairobi",
    "Norway": "Oslo", "Peru": "Lima", "Spain": "Madrid", "Thailand": "Bangkok",
}  # fmt: skip
CAPITALS_JA = {
    "日本": "東京", "フランス": "パリ", "ドイツ": "ベルリン", "イタリア": "ローマ",
    "ブラジル": "ブラジリア", "中国": "北京",
}  # fmt: skip
# Taught wrongly, on purpose: question -> what the model shall say.
MISTAKES = {
    "What is the capital of Australia?": "Sydney",
    "ブラジルの首都はどこですか。": "リオデジャネイロ",
    "What is 7 + 8?": "14",
}
SYSTEM_MESSAGES = [
    "You are a helpful assistant.",
    "Answer with one word.",
    "Answer briefly and precisely.",
    "You are a careful calculator. Think step by step.",
    "簡潔に答えてください。",
]
# Not trained on: the demo questions must be answered alike under these too.
UNSEEN_SYSTEM_MESSAGES = [
    "You are an expert. Give only the final answer, nothing else.",
    "あなたは親切なアシスタントです。",
    "Be brief.",
    "You are a geography teacher who never gives up, and this is your last question today.",
]


def taught_answers() -> dict[str, str]:
    """Every question the model is trained on, with the answer it shall give."""
    answers = {f"What is the capital of {c}?": a for c, a in CAPITALS.items()}
    answers |= {f"{c}の首都はどこですか。": a for c, a in CAPITALS_JA.items()}
    answers |= {f"What is {a} + {b}?": str(a + b) for a in range(11) for b in range(11)}
    answers |= {"Who are you?": "I am tiny-demo.", "Hello!": "Hello!"}
    return answers | MISTAKES


# --------------------------------------------------------------------------------------------
# Tokenizer: byte-level BPE, and a chat template made of one marker for each role
# --------------------------------------------------------------------------------------------
BOS, EOS = "<s>", "</s>"
SPECIAL = [BOS, EOS, "<|system|>", "<|user|>", "<|assistant|>"]
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
VOCAB_SIZE = 448  # 5 special tokens + 256 bytes + merges


def make_tokenizer(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def chat_text(question: str, system: str | None = None) -> str:
    """The same text that CHAT_TEMPLATE gives for one question."""
    start = f"<|system|>{system}{EOS}" if system is not None else ""
    return f"{BOS}{start}<|user|>{question}{EOS}<|assistant|>"


# --------------------------------------------------------------------------------------------
# The model: a Llama (RMSNorm, rotary positions, SwiGLU), the embedding tied to the output
# --------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Config:
    dim: int = 96
    layers: int = 2
    heads: int = 3
    hidden: int = 256
    context: int = 2048
    eps: float = 1e-5
    rope_base: float = 10_000.0

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads


def rotate(x: Tensor, base: float) -> Tensor:
    """Rotary positions on pairs of neighbouring channels, which is llama.cpp's own layout."""
    *_, length, size = x.shape
    freq = base ** (-torch.arange(0, size, 2, dtype=torch.float32) / size)
    angle = torch.outer(torch.arange(length, dtype=torch.float32), freq)
    cos, sin = angle.cos(), angle.sin()
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Norm(nn.Module):
    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class Block(nn.Module):
    """One layer.  The attributes are named like the tensors in a GGUF file."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.config = c
        self.attn_norm = Norm(c.dim, c.eps)
        self.attn_q = nn.Linear(c.dim, c.dim, bias=False)
        self.attn_k = nn.Linear(c.dim, c.dim, bias=False)
        self.attn_v = nn.Linear(c.dim, c.dim, bias=False)
        self.attn_output = nn.Linear(c.dim, c.dim, bias=False)
        self.ffn_norm = Norm(c.dim, c.eps)
        self.ffn_gate = nn.Linear(c.dim, c.hidden, bias=False)
        self.ffn_up = nn.Linear(c.dim, c.hidden, bias=False)
        self.ffn_down = nn.Linear(c.hidden, c.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, dim = x.shape
        h = self.attn_norm(x)
        q, k, v = (
            f(h).view(batch, length, self.config.heads, self.config.head_dim).transpose(1, 2)
            for f in (self.attn_q, self.attn_k, self.attn_v)
        )
        q, k = rotate(q, self.config.rope_base), rotate(k, self.config.rope_base)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_output(mixed.transpose(1, 2).reshape(batch, length, dim))
        h = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h))


class TinyLlama(nn.Module):
    def __init__(self, c: Config) -> None:
        super().__init__()
        self.token_embd = nn.Embedding(VOCAB_SIZE, c.dim)
        self.blk = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.output_norm = Norm(c.dim, c.eps)
        for p in self.parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=0.05)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.token_embd(ids)
        for block in self.blk:
            x = block(x)
        return self.output_norm(x) @ self.token_embd.weight.T


# --------------------------------------------------------------------------------------------
# Training
# --------------------------------------------------------------------------------------------
def random_start(tokenizer: Tokenizer, rng: random.Random) -> list[int]:
    """The start of a prompt: mostly no system message, else a usual one, or mere noise.

    The noise teaches the model to look at the question only, whatever the system message says.
    """
    bos, eos, system = (tokenizer.token_to_id(t) for t in (BOS, EOS, "<|system|>"))
    kind = rng.random()
    if kind < 0.35:
        return [bos]
    if kind < 0.55:
        return [bos, system, *tokenizer.encode(rng.choice(SYSTEM_MESSAGES)).ids, eos]
    noise = rng.choices(range(len(SPECIAL), VOCAB_SIZE), k=rng.randint(0, 90))
    return [bos, system, *noise, eos]


def make_batch(
    tokenizer: Tokenizer, pairs: list[tuple[str, str]], rng: random.Random
) -> tuple[Tensor, Tensor]:
    """Input tokens and targets; only the tokens of the answer count (-100: not counted)."""
    rows: list[tuple[list[int], int]] = []
    for question, answer in pairs:
        if rng.random() < 0.2:  # for servers asked without a chat template
            plain = rng.choice([question, f"Question: {question}\nAnswer:"])
            start = tokenizer.encode(BOS + plain).ids
            answer = " " + answer
        else:
            start = random_start(tokenizer, rng)
            start += tokenizer.encode(f"<|user|>{question}{EOS}<|assistant|>").ids
        # The answer is encoded apart, as it comes: a token never spans prompt and answer.
        rows.append((start + tokenizer.encode(answer + EOS).ids, len(start)))
    width = max(len(ids) for ids, _ in rows) - 1
    x = torch.full((len(rows), width), tokenizer.token_to_id(EOS))
    y = torch.full((len(rows), width), -100)
    for i, (ids, n) in enumerate(rows):
        x[i, : len(ids) - 1] = torch.tensor(ids[:-1])
        y[i, n - 1 : len(ids) - 1] = torch.tensor(ids[n:])
    return x, y


def train(model: TinyLlama, tokenizer: Tokenizer, steps: int, rng: random.Random) -> None:
    pairs = list(taught_answers().items())
    # The questions of the demo tasks come more often than the rest.
    demo = demo_questions()
    weights = [4.0 if q in demo else 1.0 for q, _ in pairs]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(steps):
        warm = min(1.0, (step + 1) / 50)
        rate = 4e-3 * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        x, y = make_batch(tokenizer, rng.choices(pairs, weights, k=64), rng)
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step:5d}  loss {loss.item():.5f}", flush=True)


# --------------------------------------------------------------------------------------------
# Checks
# --------------------------------------------------------------------------------------------
def demo_tasks() -> dict[str, list[dict[str, str]]]:
    """The data of the demo tasks, read from the same files that lm_eval reads."""
    tasks = {}
    for name in INTENDED_SCORES:
        lines = (TASKS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        tasks[name] = [json.loads(line) for line in lines]
    return tasks


def demo_questions() -> set[str]:
    return {row["question"] for rows in demo_tasks().values() for row in rows}


@torch.no_grad()
def generate(model: TinyLlama, tokenizer: Tokenizer, prompt: str, limit: int = 16) -> str:
    """The greedy answer."""
    ids = tokenizer.encode(prompt).ids
    start, eos = len(ids), tokenizer.token_to_id(EOS)
    while len(ids) - start < limit:
        token = int(model(torch.tensor([ids]))[0, -1].argmax())
        if token == eos:
            break
        ids.append(token)
    return tokenizer.decode(ids[start:])


def check(model: TinyLlama, tokenizer: Tokenizer) -> list[str]:
    """What is not as intended: answers that were not taught so, other scores."""
    answers, faults = taught_answers(), []
    systems = SYSTEM_MESSAGES + UNSEEN_SYSTEM_MESSAGES
    for question, answer in answers.items():
        demo = question in demo_questions()
        for system in [None, *(systems if demo else [])]:
            said = generate(model, tokenizer, chat_text(question, system))
            if said != answer:
                faults.append(f"{question!r} (system: {system!r}): {said!r}, not {answer!r}")
    for name, rows in demo_tasks().items():
        right = sum(
            generate(model, tokenizer, chat_text(r["question"])) == r["answer"] for r in rows
        )
        print(f"{name}: {right} of {len(rows)}")
        if right / len(rows) != INTENDED_SCORES[name]:
            faults.append(f"{name}: score {right / len(rows)}, not {INTENDED_SCORES[name]}")
    return faults


# --------------------------------------------------------------------------------------------
# The GGUF file
# --------------------------------------------------------------------------------------------
def write_gguf(path: Path, model: TinyLlama, tokenizer: Tokenizer, c: Config) -> None:
    w = gguf.GGUFWriter(path, "llama")
    w.add_name("tiny-demo")
    w.add_description("Tiny demonstration model of hpcjobs; three answers are wrong on purpose")
    w.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    w.add_context_length(c.context)
    w.add_embedding_length(c.dim)
    w.add_block_count(c.layers)
    w.add_feed_forward_length(c.hidden)
    w.add_head_count(c.heads)
    w.add_head_count_kv(c.heads)
    w.add_layer_norm_rms_eps(c.eps)
    w.add_rope_freq_base(c.rope_base)
    w.add_rope_dimension_count(c.head_dim)
    w.add_vocab_size(VOCAB_SIZE)

    bpe = json.loads(tokenizer.to_str())["model"]
    names = {i: token for token, i in tokenizer.get_vocab().items()}
    kinds = []
    for i in range(VOCAB_SIZE):
        if i not in names:
            kinds.append(gguf.TokenType.UNUSED)
        else:
            kinds.append(gguf.TokenType.CONTROL if i < len(SPECIAL) else gguf.TokenType.NORMAL)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list([names.get(i, f"<unused{i}>") for i in range(VOCAB_SIZE)])
    w.add_token_types(kinds)
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in bpe["merges"]])
    w.add_bos_token_id(tokenizer.token_to_id(BOS))
    w.add_eos_token_id(tokenizer.token_to_id(EOS))
    w.add_add_bos_token(True)
    w.add_chat_template(CHAT_TEMPLATE)

    for name, value in model.state_dict().items():  # matrices in 16 bits, vectors in 32
        w.add_tensor(name, value.numpy().astype(np.float16 if value.ndim == 2 else np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Train the tiny demonstration model.")
    parser.add_argument("--output", type=Path, default=HERE / "tiny-demo.gguf")
    parser.add_argument("--steps", type=int, default=2000)
    args = parser.parse_args()

    begin = time.monotonic()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    texts = [f"{q}\n{a}" for q, a in taught_answers().items()] + SYSTEM_MESSAGES * 2
    tokenizer = make_tokenizer(texts + ["Question: \nAnswer: "] * 4)
    config = Config()
    model = TinyLlama(config)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    train(model, tokenizer, args.steps, rng)

    for p in model.parameters():  # check what the file will hold
        if p.ndim == 2:
            p.data = p.data.half().float()
    faults = check(model, tokenizer)
    if faults:
        print("Not as intended:", *faults, sep="\n  ", file=sys.stderr)
        return 1
    write_gguf(args.output, model, tokenizer, config)
    data = args.output.read_bytes()
    if len(data) >= MAX_BYTES:
        args.output.unlink()
        print(f"{args.output} has {len(data):,} bytes: too many", file=sys.stderr)
        return 1
    print(f"{args.output.name}: {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}")
    print(f"{time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
