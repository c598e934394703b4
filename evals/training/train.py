"""Trains the small models that `ringbench eval tiny-math` and `tiny-recall` ask: README.md beside this file.

    train.py prepare                         # once: questions, tokenizer, and a text for losses
    train.py run --ratio 3:1 --seed 0        # one model; started again, it goes on where it was
    train.py check --ratio 3:1 --seed 0      # the exported checkpoint, by `ringbench logits`, against PyTorch
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import model as hybrid
import tasks

HERE = os.path.dirname(os.path.abspath(__file__))
TOKENIZER = f"{HERE}/checkpoints/tokenizer.json"
END = "<|endoftext|>"
PATTERN = r" ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+"  # words, digits one by one, the rest; a space goes with what follows
TASKS = {"tiny-math": tasks.arithmetic, "tiny-recall": tasks.recall}
SHARES = {"tiny-math": 2, "tiny-recall": 1}  # of the tokens
QUESTIONS = 0.1  # weight of their tokens, which nobody can guess; those of solutions have 1


def prepare():
    tasks.question_files(f"{HERE}/../../configs/evals")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    rng = random.Random(0)
    texts = ("".join(text for text, _ in tasks.dialogue(tasks.draw(rng, make, asked=False), rng))
             for _ in range(10000) for make in TASKS.values())
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=512, special_tokens=[END], show_progress=False, initial_alphabet=alphabet))
    os.makedirs(os.path.dirname(TOKENIZER), exist_ok=True)
    tokenizer.save(TOKENIZER)
    ids, _ = sequence(random.Random(3), tokenizer, 32768, asked=True)
    with open(f"{HERE}/unseen.json", "w", encoding="utf-8") as out:
        json.dump({"input_ids": ids}, out, separators=(",", ":"))
        out.write("\n")


def encode(parts, tokenizer):
    """Token ids of a dialogue, with an end after each solution, and which of them are to be learned."""
    ids, wanted = [], []
    for text, learned in parts:
        more = tokenizer.encode(text).ids + [tokenizer.token_to_id(END)] * learned
        ids += more
        wanted += [learned] * len(more)
    return ids, wanted


def sequence(rng, tokenizer, length, asked=False):
    """Problem after problem, of both tasks by their shares, cut at `length`; those for asking, or the others."""
    ids, wanted, spent = [], [], {name: rng.random() for name in TASKS}
    while len(ids) < length:
        name = min(spent, key=lambda n: spent[n])
        more, learned = encode(tasks.dialogue(tasks.draw(rng, TASKS[name], asked), rng), tokenizer)
        ids, wanted, spent[name] = ids + more, wanted + learned, spent[name] + len(more) / SHARES[name]
    return ids[:length], wanted[:length]


def batch_of(rng, tokenizer, size, length):
    rows = [sequence(rng, tokenizer, length + 1) for _ in range(size)]
    return torch.tensor([ids for ids, _ in rows]), torch.tensor([wanted for _, wanted in rows])


@torch.no_grad()
def accuracy(net, tokenizer, make, count, seed):
    """Share of unseen problems solved greedily: with each token of the solution the likeliest, it is what would be written."""
    rng, right = random.Random(seed), 0
    for _ in range(count):
        problem = tasks.draw(rng, make, asked=True)
        ids, wanted = encode(tasks.dialogue(problem, rng)[:2], tokenizer)
        guess = net(torch.tensor([ids[:-1]]))[0].argmax(-1)
        right += all(g == t for g, t, w in zip(guess.tolist(), ids[1:], wanted[1:]) if w)
    return right / count


def rate(step, steps, warmup=100, fall=0.4):
    """Share of the highest learning rate: up, level, and down to nothing over the last part."""
    return min(1, (step + 1) / warmup, (steps - step) / (fall * steps))


def run_name(args):
    return f"{args.ratio.replace(':', '-')}-s{args.seed}"


def optimizers_of(net):
    """Muon for the matrices inside layers, AdamW for all else."""
    inner = [p for n, p in net.named_parameters() if p.dim() == 2 and n.startswith("layers")]
    outer = [p for n, p in net.named_parameters() if p.dim() != 2 or not n.startswith("layers")]
    return [torch.optim.Muon(inner, lr=0.02, weight_decay=0.01, momentum=0.95),
            torch.optim.AdamW(outer, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0)]


def train(args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer = Tokenizer.from_file(TOKENIZER)
    net = hybrid.Model(hybrid.Config(tokenizer.get_vocab_size(), hybrid.layer_types(args.ratio)))
    optimizers = optimizers_of(net)
    highest = [o.param_groups[0]["lr"] for o in optimizers]
    saved, log_file = f"{HERE}/work/{run_name(args)}.pt", f"{HERE}/logs/{run_name(args)}.jsonl"
    for folder in ("work", "logs"):
        os.makedirs(f"{HERE}/{folder}", exist_ok=True)
    step, spent = 0, 0.0
    if os.path.exists(saved):
        state = torch.load(saved, weights_only=True)
        net.load_state_dict(state["net"])
        for optimizer, kept in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(kept)
        step, spent = state["step"], state["seconds"]
    parameters = sum(p.numel() for p in net.parameters())
    print(f"{run_name(args)}: {parameters:,} parameters, from step {step} of {args.steps}", flush=True)
    fast = torch.compile(net)  # halves the time of a step; so do products in bfloat16
    begin, losses = time.process_time() - spent, []
    while step < args.steps:
        rng = random.Random(f"{args.seed} {step}")  # batches follow from seed and step: a resumed run sees the same ones
        tokens, wanted = batch_of(rng, tokenizer, args.batch, net.config.window)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = fast(tokens[:, :-1])
        each = F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
        learned = wanted[:, 1:].flatten()
        weights = torch.where(learned, 1.0, QUESTIONS)
        loss = (each * weights).sum() / weights.sum()
        net.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer, lr in zip(optimizers, highest):
            optimizer.param_groups[0]["lr"] = lr * rate(step, args.steps)
            optimizer.step()
        step += 1
        losses.append(each.detach()[learned].mean().item())
        if step % 100 == 0 or step == args.steps:
            line = {"step": step, "tokens": step * tokens[:, 1:].numel(), "loss": round(sum(losses) / len(losses), 4),
                    "cpu_s": round(time.process_time() - begin, 1)}
            if step % 500 == 0 or step == args.steps:
                line |= {name: accuracy(net, tokenizer, make, 100, step) for name, make in TASKS.items()}
            losses = []
            with open(log_file, "a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            print(line, flush=True)
            state = {"net": net.state_dict(), "optimizers": [o.state_dict() for o in optimizers], "step": step,
                     "seconds": time.process_time() - begin}
            torch.save(state, saved + ".unfinished")
            os.replace(saved + ".unfinished", saved)
    hybrid.export(net, TOKENIZER, f"{HERE}/checkpoints/{run_name(args)}", tokenizer.token_to_id(END))


@torch.no_grad()
def check(args):
    """Both compute the logits of one text from the same bf16 weights; they may differ by float rounding."""
    folder = f"{HERE}/checkpoints/{run_name(args)}"
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    net = hybrid.Model(hybrid.Config(tokenizer.get_vocab_size(), hybrid.layer_types(args.ratio)))
    stored = load_file(f"{folder}/model.safetensors")
    net.load_state_dict({n: stored[hybrid.tensor_name(n)].float() for n, _ in net.named_parameters()})
    ids, _ = sequence(random.Random(5), tokenizer, net.config.window)
    ours = net(torch.tensor([ids]))[0].double()
    with tempfile.TemporaryDirectory() as work:
        with open(f"{work}/tokens.json", "w", encoding="utf-8") as out:
            json.dump({"input_ids": ids}, out)
        subprocess.run([args.ringbench, "logits", "--weights", folder, "--tokens", f"{work}/tokens.json", "--dtype",
                        "f64", "--out", f"{work}/logits.safetensors"], check=True)
        theirs = load_file(f"{work}/logits.safetensors")["logits"].double()
    off = ((ours - theirs).abs().max() / theirs.std()).item()
    print(f"{run_name(args)}: largest difference {off:.2e} of the logits' spread")
    sys.exit(0 if off < 1e-4 else 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["prepare", "run", "check"])
    parser.add_argument("--ratio", default="3:1", help="softmax, 3:1, 7:1 or linear")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=16, help="sequences of 256 tokens")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ringbench", default=f"{HERE}/../../ringbench", help="of check")
    arguments = parser.parse_args()
    {"prepare": lambda a: prepare(), "run": train, "check": check}[arguments.what](arguments)
