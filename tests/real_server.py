"""Helpers of real_server_test.sh, with nothing but Python's own library.

    real_server.py prepare CHECKPOINT TARGET            a copy that mlx-lm loads
    real_server.py parity PORT MODEL PROGRAM PROMPT...  the server's greedy tokens and logprobs against `PROGRAM logits`
"""

import json
import math
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import urllib.request


def read_safetensors(file):
    """header, bytes of the tensors."""
    with open(file, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        return json.loads(f.read(size)), f.read()


def prepare(source, target):
    """mlx-lm wants the layers as a group size, where `layer_types` is a list, and norm_topk_prob even without experts.
    It computes in the weights' own type. In bf16 that rounds states and decays too, so they become f32."""
    os.makedirs(target, exist_ok=True)
    with open(f"{source}/config.json", encoding="utf-8") as f:
        config = json.load(f)
    kinds = config["layer_types"]
    group = kinds.index("full_attention") + 1 if "full_attention" in kinds else 0
    if group == 0 or any((kind == "full_attention") != ((i + 1) % group == 0) for i, kind in enumerate(kinds)):
        sys.exit(f"{source}: mlx-lm knows only groups of linear layers, each with a softmax layer at its end")
    if group == 1:
        config["model_type"] = "bailing_moe"  # softmax alone is another model to it
    config.update(layer_group_size=group, norm_topk_prob=True, torch_dtype="float32")
    with open(f"{target}/config.json", "w", encoding="utf-8") as f:
        json.dump(config, f, indent=1)
    for name in ("tokenizer.json", "generation_config.json"):
        shutil.copyfile(f"{source}/{name}", f"{target}/{name}")

    header, narrow = read_safetensors(f"{source}/model.safetensors")
    wide = bytearray(2 * len(narrow))
    wide[2::4], wide[3::4] = narrow[0::2], narrow[1::2]  # a bf16 is the upper half of a float
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        if tensor["dtype"] != "BF16":
            sys.exit(f"{source}: {name} is {tensor['dtype']}, not BF16")
        tensor.update(dtype="F32", data_offsets=[2 * offset for offset in tensor["data_offsets"]])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(f"{target}/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + wide)


def post(port, body):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def parity(port, model, program, prompts):
    """Fails where a token is not the reference's own and no near-tie, or a logprob differs by more than 1e-4: some ten
    times what two ways of summing in f32 differ by here, a hundredth of what bf16 or another slope index does."""
    tolerance, worst, count = 1e-4, 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/texts", "w", encoding="utf-8") as f:
            f.writelines(json.dumps({"text": prompt}) + "\n" for prompt in prompts)
        subprocess.run([program, "tokenize", "--model", model, "--in", f"{folder}/texts", "--out", f"{folder}/ids"],
                       check=True, stdout=subprocess.DEVNULL)
        with open(f"{folder}/ids", encoding="utf-8") as f:
            token_ids = [json.loads(line)["ids"] for line in f]
    for prompt, ids in zip(prompts, token_ids):
        answer = post(port, {"prompt": prompt, "max_tokens": 48, "temperature": 0, "logprobs": True})
        chosen = answer["choices"][0]["logprobs"]["content"]
        if len(ids) != answer["usage"]["prompt_tokens"]:
            sys.exit(f"'{prompt}' has {len(ids)} tokens here, {answer['usage']['prompt_tokens']} there")
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/ids.json", "w", encoding="utf-8") as f:
                json.dump({"input_ids": ids, "decode_ids": [token["id"] for token in chosen]}, f)
            subprocess.run([program, "logits", "--weights", model, "--slope-layer-offset", "mlx", "--dtype", "f64",
                            "--tokens", f"{folder}/ids.json", "--out", f"{folder}/logits.safetensors"],
                           check=True, stdout=subprocess.DEVNULL)
            header, data = read_safetensors(f"{folder}/logits.safetensors")
        width = header["logits"]["shape"][1]
        begin = header["logits"]["data_offsets"][0]
        for i, token in enumerate(chosen):
            row = struct.unpack_from(f"<{width}d", data, begin + 8 * width * (len(ids) - 1 + i))
            top = max(row)
            total = top + math.log(sum(math.exp(x - top) for x in row))
            worst = max(worst, top - row[token["id"]], abs(row[token["id"]] - total - token["logprob"]))
            count += 1
    print(f"{count} greedy tokens over HTTP, largest difference of a logprob {worst:.1e}")
    if count == 0 or worst > tolerance:
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare(*sys.argv[2:])
    else:
        parity(*sys.argv[2:5], sys.argv[5:])
