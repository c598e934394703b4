"""A small Ring-linear model (BailingMoeLinearV2 with dense MLPs) in PyTorch, for training; and its checkpoint on disk.

Equations and tensor names are those of the published V2 models, so that `reference/` computes from the exported folder
what this computes, to float rounding: `train.py check` compares them.
"""

import json
import math
import os
import shutil
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

CHUNK = 64  # tokens that linear attention takes at once


@dataclass
class Config:
    vocab_size: int
    layer_types: list = field(default_factory=list)  # of each layer: "linear_attention" or "full_attention"
    hidden_size: int = 128
    intermediate_size: int = 256
    heads: int = 4
    head_dim: int = 32
    rotary_dim: int = 16
    norm_groups: int = 4  # of the norm behind linear attention
    rope_theta: float = 10000.0
    window: int = 256  # tokens a training sequence has
    eps: float = 1e-6


def layer_types(ratio, count=8):
    """"softmax", "linear", or "3:1": linear layers for each softmax one, which is the last of its group."""
    if ratio in ("softmax", "linear"):
        return ["full_attention" if ratio == "softmax" else "linear_attention"] * count
    group = int(ratio.split(":")[0]) + 1
    return ["full_attention" if (i + 1) % group == 0 else "linear_attention" for i in range(count)]


def rms_norm(x, weight, eps, groups=1):
    grouped = x.unflatten(-1, (groups, x.shape[-1] // groups))
    return F.rms_norm(grouped, grouped.shape[-1:], eps=eps).flatten(-2) * weight


def rotary(length, config):
    """cos and sin, each [T, rotary_dim / 2]."""
    frequency = config.rope_theta ** (-torch.arange(0, config.rotary_dim, 2, dtype=torch.float64) / config.rotary_dim)
    angle = torch.arange(length, dtype=torch.float64)[:, None] * frequency
    return angle.cos().float(), angle.sin().float()


def rotate(x, cos, sin):
    """x [B, heads, T, head_dim]: the first rotary_dim of it in half-split pairs, the others pass."""
    half = cos.shape[-1]
    a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return torch.cat((a * cos - b * sin, b * cos + a * sin, rest), -1)


def log_decays(config, layer):
    """[heads]: log lambda_h = -slope_h (1 - layer / (L - 1) + 1e-5), as SGLang and transformers have it for V2."""
    slopes = 2.0 ** (-8.0 * torch.arange(1, config.heads + 1, dtype=torch.float64) / config.heads)
    return -slopes * (1 - layer / (len(config.layer_types) - 1) + 1e-5)


def linear_attention(q, k, v, log_decay):
    """o_t = sum over s <= t of lambda^(t-s) (q_t k_s) v_s head_dim^-1/2, chunk by chunk. All [B, heads, T, head_dim]."""
    T, scale = q.shape[2], q.shape[3] ** -0.5
    place = torch.arange(CHUNK, dtype=torch.float64)
    distance = place[:, None] - place[None, :]
    decay = lambda steps: torch.exp(log_decay[:, None, None] * steps).float()  # [heads, ...]
    inside = decay(distance.clamp(min=0)) * (distance >= 0)
    since_begin, to_end = decay(place[:, None] + 1), decay(CHUNK - 1 - place[:, None])
    state, out = 0, []
    for begin in range(0, T, CHUNK):
        n = min(CHUNK, T - begin)
        a, b, c = (x[:, :, begin : begin + n] for x in (q * scale, k, v))
        o = (a @ b.transpose(-1, -2) * inside[:, :n, :n]) @ c
        if begin:
            o = o + (a * since_begin[:, :n]) @ state
        out.append(o)
        if begin + n < T:  # a whole chunk, then
            state = decay(torch.tensor([[CHUNK]])) * state + (b * to_end).transpose(-1, -2) @ c
    return torch.cat(out, 2)


class Attention(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.config = config
        self.linear = config.layer_types[layer] == "linear_attention"
        self.log_decay = log_decays(config, layer)
        width = config.heads * config.head_dim
        self.query_key_value = nn.Linear(config.hidden_size, 3 * width, bias=False)
        self.query_layernorm = nn.Parameter(torch.ones(config.head_dim))
        self.key_layernorm = nn.Parameter(torch.ones(config.head_dim))
        self.dense = nn.Linear(width, config.hidden_size, bias=False)
        if self.linear:
            self.g_proj = nn.Linear(config.hidden_size, width, bias=False)
            self.g_norm = nn.Parameter(torch.ones(width))

    def forward(self, x, cos, sin):
        c = self.config
        q, k, v = (z.unflatten(-1, (c.heads, c.head_dim)).transpose(1, 2) for z in self.query_key_value(x).chunk(3, -1))
        q = rotate(rms_norm(q, self.query_layernorm, c.eps), cos, sin)
        k = rotate(rms_norm(k, self.key_layernorm, c.eps), cos, sin)
        if not self.linear:
            return self.dense(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(-2))
        o = linear_attention(q, k, v, self.log_decay).transpose(1, 2).flatten(-2)
        return self.dense(rms_norm(o, self.g_norm, c.eps, c.norm_groups) * torch.sigmoid(self.g_proj(x)))


class Layer(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.eps = config.eps
        self.attention = Attention(config, layer)
        self.input_layernorm = nn.Parameter(torch.ones(config.hidden_size))
        self.post_attention_layernorm = nn.Parameter(torch.ones(config.hidden_size))
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, h, cos, sin):
        h = h + self.attention(rms_norm(h, self.input_layernorm, self.eps), cos, sin)
        x = rms_norm(h, self.post_attention_layernorm, self.eps)
        return h + self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(len(config.layer_types)))
        self.norm = nn.Parameter(torch.ones(config.hidden_size))
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        depth = math.sqrt(2 * len(config.layer_types))
        for name, p in self.named_parameters():
            if p.dim() > 1:
                last = name.endswith(("dense.weight", "down_proj.weight"))  # what is added to the residual stream
                nn.init.normal_(p, std=0.02 if "embeddings" in name else p.shape[-1] ** -0.5 / (depth if last else 1))

    def forward(self, tokens):
        """tokens [B, T] -> logits [B, T, vocab_size]."""
        cos, sin = rotary(tokens.shape[1], self.config)
        h = self.word_embeddings(tokens)
        for layer in self.layers:
            h = layer(h, cos, sin)
        return self.lm_head(rms_norm(h, self.norm, self.config.eps))


def tensor_name(name):
    """This module's parameter names as the published checkpoints have them."""
    if name.startswith("lm_head"):
        return name
    for part in ("gate_proj", "up_proj", "down_proj"):
        name = name.replace(f".{part}", f".mlp.{part}")
    return "model." + (name if name.endswith("weight") else name + ".weight")


def export(model, tokenizer_file, folder, end_token):
    """A Hugging Face folder: config.json, model.safetensors (bf16), tokenizer.json, generation_config.json."""
    os.makedirs(folder, exist_ok=True)
    c = model.config
    config = {
        "architectures": ["BailingMoeLinearV2ForCausalLM"], "model_type": "bailing_moe_linear", "vocab_size": c.vocab_size,
        "hidden_size": c.hidden_size, "intermediate_size": c.intermediate_size, "hidden_act": "silu",
        "num_hidden_layers": len(c.layer_types), "layer_types": c.layer_types, "num_attention_heads": c.heads,
        "num_key_value_heads": c.heads, "head_dim": c.head_dim, "partial_rotary_factor": c.rotary_dim / c.head_dim,
        "rope_theta": c.rope_theta, "rope_scaling": None, "max_position_embeddings": c.window, "rms_norm_eps": c.eps,
        "group_norm_size": c.norm_groups, "use_qk_norm": True, "use_qkv_bias": False, "use_bias": False,
        "tie_word_embeddings": False, "linear_silu": False, "num_nextn_predict_layers": 0,
        "first_k_dense_replace": len(c.layer_types), "num_experts": 1, "num_experts_per_tok": 1, "num_shared_experts": 1,
        "n_group": 1, "topk_group": 1, "moe_intermediate_size": c.intermediate_size, "torch_dtype": "bfloat16",
        "eos_token_id": end_token, "pad_token_id": end_token}
    for name, value in (("config", config), ("generation_config", {"eos_token_id": end_token, "pad_token_id": end_token})):
        with open(f"{folder}/{name}.json", "w", encoding="utf-8") as out:
            json.dump(value, out, indent=1)
            out.write("\n")
    shutil.copyfile(tokenizer_file, f"{folder}/tokenizer.json")
    tensors = {tensor_name(n): p.detach().to(torch.bfloat16).contiguous() for n, p in model.named_parameters()}
    save_file(tensors, f"{folder}/model.safetensors", {"format": "pt"})
