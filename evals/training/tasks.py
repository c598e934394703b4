"""The two tasks of the small models: arithmetic and simple algebra with worked steps, and recall at a distance.

A problem has a text, a solution in steps that ends in \\boxed{integer}, and what it is asked under. A hash of its text
says whether it is for training or for asking: no model has seen what it is asked.
"""

import hashlib
import json
import os
import random

WORDS = """anchor apple badge basket bread candle carpet chair clock cloud coat copper dragon drum eagle engine fence
flute garlic grape hammer honey island jacket kettle ladder lemon marble mirror needle onion orange paper pearl pencil
pepper quilt ribbon river saddle silver spoon table umbrella violin window yarn zebra""".split()
NAMES = "Ada Ben Cleo Dan Eva Finn Gus Hana Ivo Jun".split()
MOST_PAIRS = 32


def add_chain(rng):
    a, b, c = rng.randint(2, 99), rng.randint(2, 99), rng.randint(2, 99)
    return f"Compute {a} + {b} - {c}.", f"{a} + {b} = {a + b}. {a + b} - {c} = {a + b - c}.", a + b - c


def product_first(rng):
    a, b, c = rng.randint(2, 99), rng.randint(2, 12), rng.randint(2, 12)
    return f"Compute {a} + {b} * {c}.", f"{b} * {c} = {b * c}. {a} + {b * c} = {a + b * c}.", a + b * c


def linear_equation(rng):
    a, x, b = rng.randint(2, 12), rng.randint(1, 20), rng.randint(1, 40)
    c = a * x + b
    return f"Solve {a}x + {b} = {c} for x.", f"{a}x = {c} - {b} = {c - b}. x = {c - b} / {a} = {x}.", x


def bags(rng):
    name, had, bag, each = rng.choice(NAMES), rng.randint(2, 60), rng.randint(2, 9), rng.randint(2, 12)
    text = f"{name} has {had} marbles and gets {bag} bags of {each}. How many are there now?"
    return text, f"{bag} * {each} = {bag * each}. {had} + {bag * each} = {had + bag * each}.", had + bag * each


def remainder(rng):
    a, b = rng.randint(20, 150), rng.randint(3, 12)
    steps = f"{a // b} * {b} = {a // b * b}. {a} - {a // b * b} = {a % b}."
    return f"What is the remainder of {a} divided by {b}?", steps, a % b


def arithmetic(rng):
    kind = rng.choice((add_chain, product_first, linear_equation, bags, remainder))
    problem, steps, answer = kind(rng)
    return {"problem": problem, "solution": f"{steps} {boxed(answer)}", "answer": answer, "kind": kind.__name__}


def recall(rng, pairs=None):
    """One number of a list: how far it lies behind the question varies with its place."""
    words = rng.sample(WORDS, pairs or rng.randint(2, MOST_PAIRS))
    prices = {w: rng.randint(10, 99) for w in words}
    listed = f"Prices: {', '.join(f'{w} {n}' for w, n in prices.items())}."
    asked = rng.choice(words)
    return {"problem": f"{listed} Price of {asked}?", "solution": price(asked, prices[asked]), "answer": prices[asked],
            "pairs": len(words), "distance": len(words) - words.index(asked), "listed": listed, "prices": prices}


def price(word, number):
    return f"{word} {number}. {boxed(number)}"


def boxed(answer):
    return "\\boxed{%d}" % answer


def for_asking(problem):
    """One text in 16. Of recall the list counts, whatever is asked of it."""
    text = problem.get("listed", problem["problem"])
    return hashlib.sha256(text.encode()).digest()[0] < 16


def draw(rng, make, asked):
    while True:
        problem = make(rng)
        if for_asking(problem) == asked:
            return problem


def dialogue(problem, rng):
    """[text, whether it is to be learned] of a problem; of recall four more questions about the same list."""
    parts = [(problem["problem"], False), (" " + problem["solution"], True)]
    prices = problem.get("prices", {})
    for word in rng.sample(list(prices), min(4, len(prices))):
        parts += [(f" Price of {word}?", False), (" " + price(word, prices[word]), True)]
    return parts


def question_file(path, name, make, count, seed):
    """Different problems for asking, one JSON object a line."""
    rng, seen = random.Random(seed), {}
    while len(seen) < count:
        problem = draw(rng, make, asked=True)
        seen.setdefault(problem["problem"], problem)
    with open(path, "w", encoding="utf-8") as out:
        for i, problem in enumerate(seen.values()):
            shown = {"id": f"{name}-{i + 1:03d}", "problem": problem["problem"], "answer": str(problem["answer"])}
            subject = problem.get("kind") or f"{problem['pairs']} pairs"
            out.write(json.dumps(shown | {"subject": subject}) + "\n")


def question_files(folder):
    os.makedirs(folder, exist_ok=True)
    question_file(f"{folder}/tiny-math.jsonl", "math", arithmetic, 200, 1)
    sizes = (4, 8, 16, 32)
    turn = iter(range(10**9))
    question_file(f"{folder}/tiny-recall.jsonl", "recall", lambda rng: recall(rng, sizes[next(turn) % 4]), 200, 2)
