#!/usr/bin/env python3
"""gpu_peers.py --group NAME [--records FILE] [--dry-run]: what the kernels that others wrote reach on this GPU, through
PyTorch, as JSON lines on stdout: the same shapes as bench_cuda_kernels.

Shapes are those of Ring-mini-linear-2.0 (hidden 2048, 16 query and 4 key/value heads of 128, 256 experts of 512, 8 per
token). Each row: median, 10 % and 90 % of CUDA-event samples, inputs rotated through more memory than the L2 cache.
Short operations are replayed as CUDA graphs, so that Python's launch time is not in them (note "no graph" where that
failed). GB/s counts the bytes the operation needs, read and written once; TFLOP/s only causal attention's half. The
device copy of the group `first`, found in FILE, is what of_copy refers to."""
import argparse
import json
import math
import statistics
import sys
import time
import warnings

HEADS, KV_HEADS, DIM, HIDDEN, EXPERTS, WIDTH, TOP = 16, 4, 128, 2048, 256, 512, 8
DATASHEETS = {"H200": (989e12, 4.8e12), "H100": (989e12, 3.35e12)}    # dense bf16 FLOP/s, bytes/s


def emit(group, row):
    print(json.dumps({"schema": "ringbench.peer/1", "group": group, **row}), flush=True)


try:
    import torch
    import torch.nn.functional as F
except ImportError as missing:
    emit("machine", {"name": "torch", "error": f"{missing}: no peers were measured"})
    sys.exit(0)


class Bench:
    def __init__(self, group, records, dry):
        self.group, self.records, self.dry = group, records, dry
        self.device = "cpu" if dry else "cuda"
        self.name = "CPU" if dry else torch.cuda.get_device_name(0)
        self.sheet = next((v for k, v in DATASHEETS.items() if k in self.name), None)
        self.l2 = 1 << 20 if dry else getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 60 << 20)
        self.copy = self.copy_rate()
        torch.manual_seed(1)
        if not dry:                        # bring the clocks up
            x = self.randn(4096, 4096)
            stop = time.perf_counter() + 0.3
            while time.perf_counter() < stop:
                x @ x
                torch.cuda.synchronize()

    def copy_rate(self):                   # of an earlier group of the same run
        rate = None
        try:
            with open(self.records, encoding="utf-8") as lines:
                for line in lines:
                    row = json.loads(line)
                    if row.get("schema") == "ringbench.peer/1" and row.get("name") == "device copy":
                        rate = row.get("gbs", rate)
        except (OSError, TypeError, ValueError):
            pass
        return rate

    def emit(self, row):
        emit(self.group, {**row, "device": self.name, "torch": torch.__version__})

    def randn(self, *shape, dtype=torch.bfloat16, scale=1.0):
        return torch.randn(*shape, device=self.device, dtype=dtype) * scale

    def size(self, t, tiny):               # the real size, or a tiny one in a dry run
        return tiny if self.dry else t

    def row(self, name, make, run, flop=0.0, moved=0.0, note="", seconds=1.2, fallback=False):
        """run(*make()) is timed. A failure becomes a row of its own, or is returned if there is a fallback."""
        sets = None
        try:
            sets = [make()]
            once = sum(t.numel() * t.element_size() for t in sets[0] if isinstance(t, torch.Tensor))
            count = 1 if once > 8 << 30 else max(2, min(512, math.ceil(2.5 * self.l2 / max(once, 1))))
            sets += [make() for _ in range(count - 1)]
            samples, how = self.sample(sets, run, seconds)
            notes = [n for n in (note, how) if n]
            self.emit(self.figures(name, samples, flop, moved, "; ".join(notes)))
            return ""
        except Exception as e:             # noqa: BLE001: any failure is a result here
            why = f"{type(e).__name__}: {e}".split("\n")[0][:160]
            if not fallback:
                self.emit({"name": name, "error": why, **({"note": note} if note else {})})
            return why
        finally:
            sets = None
            if not self.dry:
                try:
                    torch.cuda.synchronize()
                    torch.cuda.empty_cache()
                except Exception as e:     # noqa: BLE001: the context is gone, the other groups have their own
                    self.emit({"name": name, "error": f"context lost: {e}".split("\n")[0][:200]})
                    sys.exit(1)

    def figures(self, name, samples, flop, moved, note):
        ordered = sorted(samples)
        at = lambda q: ordered[min(len(ordered) - 1, round(q * (len(ordered) - 1)))]
        median = statistics.median(ordered)
        row = {"name": name, "flops": flop, "bytes": moved, "n": len(ordered)}
        if self.dry:                       # what a CPU takes says nothing
            return {**row, "note": "; ".join(n for n in (note, "no speeds recorded") if n)}
        row.update({"median_s": median, "p10_s": at(0.1), "p90_s": at(0.9), "samples": samples})
        if flop:
            row["tflops"] = flop / median / 1e12
        if moved:
            row["gbs"] = moved / median / 1e9
            if self.copy:
                row["of_copy"] = row["gbs"] / self.copy
        if self.sheet:
            row["of_datasheet"] = max(flop / self.sheet[0], moved / self.sheet[1]) / median
        if note:
            row["note"] = note
        return row

    def sample(self, sets, run, seconds):
        if self.dry:
            out = []
            for i in range(3):
                start = time.perf_counter()
                run(*sets[i % len(sets)])
                out.append(time.perf_counter() - start)
            return out, ""

        def timed(f):
            a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            a.record()
            f()
            b.record()
            b.synchronize()
            return a.elapsed_time(b) / 1e3
        for i in range(3):
            run(*sets[i % len(sets)])
        torch.cuda.synchronize()
        once = min(timed(lambda: run(*sets[i % len(sets)])) for i in range(3))
        how, per, step = "", 1, None
        if once < 2e-3:                    # a graph of about 2 ms that goes through every set
            per = max(len(sets), min(128, math.ceil(2e-3 / once)))
            try:
                side = torch.cuda.Stream()
                side.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(side):
                    run(*sets[0])
                torch.cuda.current_stream().wait_stream(side)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    for i in range(per):
                        run(*sets[i % len(sets)])
                step = graph.replay
                step()
                torch.cuda.synchronize()
            except Exception:              # noqa: BLE001: some operations cannot be captured
                torch.cuda.synchronize()
                how, step = "no graph", None
        if step is None:
            def step():
                for i in range(per):
                    run(*sets[i % len(sets)])
        first = timed(step)
        count = max(3 if first > 0.1 else 10, min(100, int(seconds / max(first, 1e-6))))
        return [timed(step) / per for _ in range(count)], how


# --- Groups ---

def ceilings(b):
    n = b.size(2 << 30, 1 << 20)
    b.row("device copy", lambda: (torch.ones(n, device=b.device, dtype=torch.uint8), torch.empty(n, device=b.device, dtype=torch.uint8)),
          lambda x, y: y.copy_(x), moved=2.0 * n)
    m = b.size(8192, 64)
    b.row("bf16 matmul 8192^3", lambda: (b.randn(m, m), b.randn(m, m)), lambda x, y: x @ y, flop=2.0 * m ** 3)


def dense(b):
    try:
        torch.backends.cuda.preferred_blas_library("cublaslt")
    except Exception as e:                 # noqa: BLE001: then it is cuBLAS
        b.emit({"name": "preferred_blas_library", "note": str(e).split("\n")[0][:120]})
    for t in (b.size(16384, 32), b.size(64, 4), 1):
        for n, what in ((8192, "linear q k v gate"), (3072, "softmax q k v"), (2048, "output")):
            h, n = b.size(HIDDEN, 64), b.size(n, 48)
            b.row(f"torch.mm {t} x {n} x {h}, {what}", lambda: (b.randn(t, h), b.randn(n, h, scale=0.02)), lambda x, w: torch.mm(x, w.t()),
                  flop=2.0 * t * h * n, moved=2.0 * (t * h + n * h + t * n) if t <= 64 else 0)
    for t in (b.size(64, 4), 1):
        h, n = b.size(HIDDEN, 64), b.size(157184, 80)
        b.row(f"torch.mm {t} x {n} x {h}, LM head", lambda: (b.randn(t, h), b.randn(n, h, scale=0.02)), lambda x, w: torch.mm(x, w.t()),
              flop=2.0 * t * h * n, moved=2.0 * (t * h + n * h + t * n), note="logits in bf16")


def attention(b, name, q_len, kv_len, batch, backends=("FLASH_ATTENTION", "CUDNN_ATTENTION"), mode="causal", seconds=1.2):
    """mode: causal (q_len = kv_len), decode (q_len 1, no mask), last (lower-right causal mask), last_two (see below)."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    prefix = kv_len - q_len
    pairs = {"causal": q_len * (q_len + 1) / 2, "decode": q_len * kv_len}.get(mode, q_len * prefix + q_len * (q_len + 1) / 2)
    flop = 4.0 * batch * HEADS * DIM * pairs
    moved = 2.0 * 2 * batch * KV_HEADS * kv_len * DIM if mode == "decode" else 0.0
    for backend in backends:
        refusal = ""
        for gqa in (True, False):
            def make():
                k, v = (b.randn(batch, KV_HEADS, kv_len, DIM) for _ in "kv")
                if not gqa:
                    k, v = (x.repeat_interleave(HEADS // KV_HEADS, 1) for x in (k, v))
                return b.randn(batch, HEADS, q_len, DIM), k, v

            def run(q, k, v):
                with sdpa_kernel([getattr(SDPBackend, backend)]):
                    if mode == "last":
                        from torch.nn.attention.bias import causal_lower_right
                        return F.scaled_dot_product_attention(q, k, v, attn_mask=causal_lower_right(q_len, kv_len), enable_gqa=gqa)
                    if mode == "last_two":
                        return (F.scaled_dot_product_attention(q, k[:, :, :prefix], v[:, :, :prefix], enable_gqa=gqa),
                                F.scaled_dot_product_attention(q, k[:, :, prefix:], v[:, :, prefix:], is_causal=True, enable_gqa=gqa))
                    return F.scaled_dot_product_attention(q, k, v, is_causal=mode == "causal", enable_gqa=gqa)
            note = [] if gqa else [f"with enable_gqa: {refusal}", "K/V expanded 4x" + (", so 4x the counted bytes are read" if moved else "")]
            if mode == "last_two":
                note.append("prefix and own chunk as two calls, merging not counted")
            refusal = b.row(f"{name} {backend.split('_')[0].lower()}", make, run, flop=flop, moved=moved, note="; ".join(note), seconds=seconds,
                            fallback=gqa)
            if not refusal:
                break


def prefill(b):
    for t in (16384, 8192, 32768, 131072):
        attention(b, f"attention causal {t >> 10}k", b.size(t, 64), b.size(t, 64), 1)
    q, kv = b.size(16384, 32), b.size(393216, 128)
    attention(b, "attention last 16k of 384k", q, kv, 1, backends=("FLASH_ATTENTION",), mode="last")
    attention(b, "attention last 16k of 384k, two calls", q, kv, 1, mode="last_two")


def decode(b):
    attention(b, "attention decode batch 64 ctx 16k", 1, b.size(16384, 64), b.size(64, 2), mode="decode")
    attention(b, "attention decode batch 1 ctx 16k", 1, b.size(16384, 64), 1, mode="decode")
    attention(b, "attention decode batch 1 ctx 512k", 1, b.size(524288, 256), 1, mode="decode")


def moe(b):
    grouped = getattr(F, "grouped_mm", None) or torch._grouped_mm
    e, h, w, top = b.size(EXPERTS, 4), b.size(HIDDEN, 64), b.size(WIDTH, 32), b.size(TOP, 2)
    for t, what in ((b.size(16384, 32), "prefill"), (b.size(64, 8), "decode"), (1, "decode")):
        counts = torch.bincount(torch.rand(t, e).topk(top, dim=1).indices.flatten(), minlength=e)
        offsets = counts.cumsum(0).to(device=b.device, dtype=torch.int32)
        active, rows = int((counts > 0).sum()), t * top
        for part, k, n in (("gate and up", h, 2 * w), ("down", w, h)):
            b.row(f"torch grouped_mm {part}, {what} {t} tokens, {active} active",
                  lambda: (b.randn(rows, k), b.randn(e, n, k, scale=0.02).transpose(1, 2)), lambda x, weights: grouped(x, weights, offs=offsets),
                  flop=2.0 * rows * k * n, moved=2.0 * (active * n * k + rows * (k + n)) if t <= 64 else 0)


def lightning_torch(q, slopes, chunk):
    """A function for chunked linear attention in torch products: q, k, v [batch, heads, tokens, dim], decay exp(-slope) per token."""
    n = q.shape[2] // chunk
    i = torch.arange(chunk, device=q.device, dtype=torch.float32)
    s = slopes.float().view(-1, 1, 1, 1)
    gap = (i[:, None] - i[None, :]).view(1, 1, chunk, chunk)
    inside = torch.where(gap >= 0, torch.exp(-s * gap.clamp(min=0)), 0.0).to(q.dtype)
    to_end, from_start = torch.exp(-s * (chunk - 1 - i).view(1, 1, -1, 1)).to(q.dtype), torch.exp(-s * (i + 1).view(1, 1, -1, 1)).to(q.dtype)
    m = torch.arange(n, device=q.device, dtype=torch.float32)
    later = (m[:, None] - m[None, :] - 1).view(1, n, n)
    across = torch.where(later >= 0, torch.exp(-s.view(-1, 1, 1) * chunk * later.clamp(min=0)), 0.0)

    def run(q, k, v):
        batch, heads, _, d = q.shape
        q, k, v = (x.view(batch, heads, n, chunk, d) for x in (q, k, v))
        out = ((q @ k.transpose(-1, -2)) * inside) @ v
        states = ((k * to_end).transpose(-1, -2) @ v).float().view(batch, heads, n, d * d)
        before = (across @ states).view(batch, heads, n, d, d).to(q.dtype)
        return out + (q * from_start) @ before
    return run


def lightning(b):
    h, d = b.size(HEADS, 2), b.size(DIM, 16)
    slopes = 2.0 ** (-8.0 / h * torch.arange(1, h + 1, device=b.device, dtype=torch.float32))
    if b.dry:                              # the torch form against the recurrence
        q, k, v = (torch.randn(1, h, 96, d) for _ in "qkv")
        state, want = torch.zeros(1, h, d, d), torch.zeros(1, h, 96, d)
        for t in range(96):
            state = state * torch.exp(-slopes).view(1, h, 1, 1) + k[:, :, t, :, None] * v[:, :, t, None, :]
            want[:, :, t] = (q[:, :, t, None, :] @ state)[:, :, 0]
        error = ((lightning_torch(q, slopes, 32)(q, k, v).view_as(want) - want).norm() / want.norm()).item()
        b.emit({"name": "torch form against the recurrence", "rel": error, "ok": error < 1e-5})
        if not error < 1e-5:
            sys.exit("the torch form of linear attention is wrong")
    # Of the recurrence, as bench_cuda_kernels counts; bytes of q, k, v and the output.
    cost = lambda batch, t: {"flop": 4.0 * batch * t * h * d * d, "moved": batch * t * h * d * 8.0}
    shapes = ((1, b.size(16384, 64)), (1, b.size(131072, 128)), (8, b.size(2048, 64)))
    for batch, t in shapes:
        form = lightning_torch(torch.empty(batch, h, t, d, device=b.device, dtype=torch.bfloat16), slopes, b.size(128, 16))
        b.row(f"linear attention batch {batch} x {t} torch products", lambda: tuple(b.randn(batch, h, t, d) for _ in "qkv"), form, **cost(batch, t),
              note="weak: intermediate results go through memory")
    for batch in (b.size(64, 2), 1):
        decay = torch.exp(-slopes).repeat(batch).view(-1, 1, 1)

        def step(state, q, k, v):
            state.mul_(decay)
            torch.baddbmm(state, k, v, out=state)
            return torch.bmm(q, state)
        b.row(f"linear attention decode batch {batch} torch baddbmm",
              lambda: (b.randn(batch * h, d, d, dtype=torch.float32), b.randn(batch * h, 1, d, dtype=torch.float32),
                       b.randn(batch * h, d, 1, dtype=torch.float32), b.randn(batch * h, 1, d, dtype=torch.float32)),
              step, moved=batch * h * d * d * 8.0, note="weak: several passes over the state")
    try:
        from fla.ops.simple_gla import chunk_simple_gla, fused_recurrent_simple_gla
    except Exception as e:                 # noqa: BLE001: not installed, or broken
        b.emit({"name": "fla", "error": f"not importable: {e}".split("\n")[0][:120]})
        return
    if b.dry:                              # its kernels need a GPU
        return
    for batch, t in shapes:                # last: its tuning may take the group's time
        b.row(f"linear attention batch {batch} x {t} fla chunk_simple_gla", lambda: tuple(b.randn(batch, t, h, d) for _ in "qkv"),
              lambda q, k, v: chunk_simple_gla(q, k, v, g_gamma=-slopes, scale=d ** -0.5), **cost(batch, t))
    for batch in (64, 1):
        b.row(f"linear attention decode batch {batch} fla fused_recurrent_simple_gla",
              lambda: (*(b.randn(batch, 1, h, d) for _ in "qkv"), b.randn(batch, h, d, d, dtype=torch.float32)),
              lambda q, k, v, s: fused_recurrent_simple_gla(q, k, v, g_gamma=-slopes, scale=d ** -0.5, initial_state=s, output_final_state=True),
              moved=batch * h * d * d * 8.0)


def norms(b):
    h = b.size(HIDDEN, 64)
    for t in (b.size(16384, 32), b.size(64, 4)):
        b.row(f"rms_norm {t} x {h}", lambda: (b.randn(t, h), b.randn(h)), lambda x, w: F.rms_norm(x, (h,), w, 1e-6), moved=4.0 * t * h, seconds=0.6)


GROUPS = {"first": ceilings, "dense": dense, "prefill": prefill, "decode": decode, "moe": moe, "lightning": lightning, "norms": norms, "last": ceilings}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--group", choices=list(GROUPS), action="append", help="may be given several times; all if left out")
    p.add_argument("--records", help="JSON lines of this run so far")
    p.add_argument("--dry-run", action="store_true", help="tiny shapes on the CPU, no speeds: does every line run?")
    a = p.parse_args()
    if not a.dry_run and not torch.cuda.is_available():
        sys.exit("gpu_peers.py: torch sees no CUDA device")
    warnings.filterwarnings("ignore")      # which backend declined, and why, is in the rows
    for group in a.group or GROUPS:
        b = Bench(group, a.records, a.dry_run)
        if group == "first" and not a.dry_run:
            props = torch.cuda.get_device_properties(0)
            b.emit({"name": "machine", "note": f"{props.name}, {props.multi_processor_count} SM, L2 {b.l2 >> 20} MiB, "
                    f"{props.total_memory / 2 ** 30:.1f} GiB, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"})
        with torch.inference_mode():
            GROUPS[group](b)


if __name__ == "__main__":
    main()
