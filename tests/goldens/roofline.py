#!/usr/bin/env python3
"""Writes roofline.json: an independent model of the four Ring mini and lite shapes on four GPUs (standard library only).

time(op) = max(FLOPs / (peak * efficiency), bytes / (bandwidth * efficiency)); times add up over operators.
'ideal' is the datasheet with every efficiency 1 and free launches. bf16 weights and caches, f32 states.
Usage: python3 tests/goldens/roofline.py > tests/goldens/roofline.json
"""
import json


class Model:
    h, H, Hkv, d = 2048, 16, 4, 128

    def __init__(s, layers, group, E, k, width, shared, dense_width, dense, vocab):
        s.L, s.E, s.k, s.I, s.Is, s.dense_I, s.nd, s.vocab = layers, E, k, width, width * shared, dense_width, dense, vocab
        s.nsm = layers if group == 1 else layers // group  # softmax layers; the others are lightning attention
        s.nli, s.nmoe, hd = layers - s.nsm, layers - dense, s.H * s.d
        s.w_sm = s.h * (hd + 2 * s.Hkv * s.d) + hd * s.h  # q k v, o
        s.w_li = s.h * 3 * hd + s.h * hd + hd * s.h  # q k v of all heads, gate, o
        s.w_exp, s.w_sh, s.w_dense, s.w_head = 3 * s.h * width, 3 * s.h * s.Is, 3 * s.h * dense_width, vocab * s.h

    def matrices(s, experts):
        return (s.nsm * s.w_sm + s.nli * s.w_li + s.nd * s.w_dense
                + s.nmoe * (experts * s.w_exp + s.w_sh + s.h * s.E))

    def active(s):  # without embeddings and head
        return s.matrices(s.k)

    def total(s):
        return s.matrices(s.E) + 2 * s.w_head

    def kv_token(s):
        return s.nsm * 2 * s.Hkv * s.d * 2

    def state(s):
        return s.nli * s.H * s.d * s.d * 4


MODELS = {
    "ring-mini-linear-2.0": Model(20, 5, 256, 8, 512, 1, 5120, 1, 157184),
    "ring-mini-2.0": Model(20, 1, 256, 8, 512, 1, 5120, 1, 157184),
    "ring-lite-linear": Model(28, 7, 64, 6, 1408, 2, 0, 0, 126464),
    "ring-lite": Model(28, 1, 64, 6, 1408, 2, 0, 0, 126464)}
# Peak bf16 FLOP/s, bytes/s, bytes; efficiencies of attention, dense and grouped products, lightning, bandwidth;
# seconds a kernel.
GPUS = {
    "a100-80": dict(pk=312e12, bw=2.04e12, mem=80e9, at=.60, ge=.78, mo=.45, li=.15, eb=.85, kt=2.5e-6),
    "h100": dict(pk=989e12, bw=3.35e12, mem=80e9, at=.60, ge=.70, mo=.45, li=.15, eb=.88, kt=2.0e-6),
    "h200": dict(pk=989e12, bw=4.80e12, mem=141e9, at=.60, ge=.70, mo=.45, li=.15, eb=.88, kt=2.0e-6),
    "h20": dict(pk=148e12, bw=4.00e12, mem=96e9, at=.72, ge=.85, mo=.70, li=.40, eb=.85, kt=2.0e-6)}
KERNELS_PER_LAYER = 10
CONTEXTS = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144, 393216, 524288)


def ideal(g):
    return dict(g, at=1, ge=1, mo=1, li=1, eb=1, kt=0)


def hit(m, tokens):  # experts expected to be hit, choices uniform and independent
    return m.E * (1 - (1 - m.k / m.E) ** tokens)


def op(g, efficiency, flops, moved):
    return max(flops / (g["pk"] * efficiency), moved / (g["bw"] * g["eb"]))


def prefill_chunk(m, g, T, done, C=64):
    h, hd, t = m.h, m.H * m.d, 0.0
    for n, linear in ((m.nsm, False), (m.nli, True)):
        w, qkv = (m.w_li, 3 * hd) if linear else (m.w_sm, hd + 2 * m.Hkv * m.d)
        t += n * op(g, g["ge"], 2 * T * w, 2 * w + T * 2 * (2 * h + qkv + hd + (h + hd if linear else 0)))
        moved = T * 16 * h + T * 2 * 2 * (2 * hd if linear else hd + m.Hkv * m.d) + (T * 2 * 3 * hd if linear else 0)
        t += n * op(g, 1, 0, moved)  # norms and residual; norm and rope of q and k; group norm and gate
        if linear:
            t += n * op(g, g["li"], T * m.H * (4 * C * m.d + 4 * m.d * m.d), T * 2 * hd * 6 + 2 * m.H * m.d * m.d * 4)
        else:
            t += n * op(g, g["at"], 4 * hd * (T * done + T * (T + 1) / 2),
                        T * 2 * (2 * hd + 2 * m.Hkv * m.d) + (done + T) * 4 * m.Hkv * m.d)
    t += m.nmoe * op(g, 1, 0, T * 2 * (m.k * h + h))  # sum of the experts' rows
    t += m.nmoe * op(g, g["mo"], 2 * T * (m.k * m.w_exp + m.w_sh),
                     2 * (hit(m, T) * m.w_exp + m.w_sh) + T * 2 * m.k * (2 * h + 2 * m.I) + T * 2 * (2 * h + 2 * m.Is))
    t += m.nmoe * op(g, g["ge"], 2 * T * h * m.E, 4 * h * m.E + T * 2 * h + T * 4 * m.E)  # router, f32 weights
    if m.nd:
        t += m.nd * op(g, g["ge"], 2 * T * m.w_dense, 2 * m.w_dense + T * 2 * (2 * h + 3 * m.dense_I))
    return t + g["kt"] * KERNELS_PER_LAYER * m.L


def ttft(m, g, ctx, chunk=16384):
    t = sum(prefill_chunk(m, g, min(chunk, ctx - done), done) for done in range(0, ctx, chunk))
    return t + op(g, 1, 0, 2 * m.w_head)


def decode_bytes(m, B, ctx):
    return dict(
        experts=m.nmoe * 2 * (hit(m, B) * m.w_exp + m.w_sh) + m.nmoe * 4 * m.h * m.E + m.nd * 2 * m.w_dense,
        proj=2 * (m.nsm * m.w_sm + m.nli * m.w_li),
        kv=B * ctx * m.kv_token(),
        state=B * m.state() * 2,
        head=2 * m.w_head + B * 4 * m.vocab * 2)


def decode_step(m, g, B, ctx):
    moved = sum(decode_bytes(m, B, ctx).values())
    flops = 2 * B * (m.active() + m.w_head) + B * ctx * 4 * m.nsm * m.H * m.d
    return max(moved / (g["bw"] * g["eb"]), flops / (g["pk"] * .5)) + g["kt"] * KERNELS_PER_LAYER * m.L


def decode_rate(m, g, B, out, within_memory=False, n=64):
    """Tokens/s over an output of `out` tokens; within_memory: sequences that do not fit wait, nothing is computed twice."""
    free, step = g["mem"] * .9 - 2 * m.total() - 3e9, out // n
    made, t = [0] * B, 0.0
    while any(c < out for c in made):
        live, used = [], 0.0
        for i in sorted(range(B), key=lambda i: -made[i]):
            need = m.state() + (made[i] + step) * m.kv_token()
            if made[i] >= out or (within_memory and used + need > free): continue
            used += need
            live.append(i)
        t += step * decode_step(m, g, len(live), sum(made[i] for i in live) / len(live) + step / 2)
        for i in live: made[i] += step
    return B * out / t


def number(x):
    return float(f"{x:.9g}")


def rows(items):
    return "[\n    " + ",\n    ".join(json.dumps(item) for item in items) + "\n  ]"


def main():
    sizes = {name: dict(total=m.total(), active_non_embedding=m.active(), kv_bytes_per_token=m.kv_token(),
                        state_bytes=m.state()) for name, m in MODELS.items()}
    pairs = [(name, m, gpu, g) for name, m in MODELS.items() for gpu, g in GPUS.items()]
    prefill = [[name, gpu, ctx, number(ttft(m, ideal(g), ctx)), number(ttft(m, g, ctx))]
               for name, m, gpu, g in pairs for ctx in CONTEXTS]
    decode = [[name, gpu, out, number(decode_rate(m, ideal(g), 64, out)), number(decode_rate(m, g, 64, out)),
               number(decode_rate(m, g, 64, out, within_memory=True))]
              for name, m, gpu, g in pairs for out in (512, 4096, 16384, 32768)]
    moved = [[name, B, ctx] + [number(x) for x in decode_bytes(m, B, ctx).values()] for name, m in MODELS.items()
             for B, ctx in ((1, 1024), (1, 131072), (64, 1024), (64, 16384), (64, 32768), (256, 16384))]
    print('{\n  "made_by": "python3 tests/goldens/roofline.py",')
    print('  "models": {\n    ' + ",\n    ".join(f'"{n}": {json.dumps(s)}' for n, s in sizes.items()) + "\n  },")
    print('  "prefill_columns": "model, device, ctx, seconds ideal, seconds",\n  "prefill": ' + rows(prefill) + ",")
    print('  "decode_columns": "model, device, output, tok/s ideal, tok/s, tok/s within the memory",\n  "decode": '
          + rows(decode) + ",")
    print('  "decode_bytes_columns": "model, batch, ctx; bytes of experts with router and dense MLPs, projections, KV, '
          'states, head",\n  "decode_bytes": ' + rows(moved) + "\n}")


main()
