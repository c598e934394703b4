"""Other people's kernels behind one signature: function(inputs, case) -> {"o": ..., "state": ...}. For run_case.py.

A case is a batch as engines run it: q, k, v [tokens, heads, d], sequences at cu_seqlens, states [slots, heads, d_k,
d_v] in slots (-1: padding), which count where has_initial_state says so. Which program a kernel is from stands at each.
"""
import functools, importlib, importlib.util, pathlib

import torch


def sequences(case):
    """(first token, end, slot, has_initial_state) of every sequence that is not padding."""
    p = case["parameters"]
    every = zip(p["cu_seqlens"], p["cu_seqlens"][1:], p["slots"], p["has_initial_state"])
    return [s for s in every if s[2] >= 0]


def log_decay(inputs, case):
    return torch.tensor(case["parameters"]["log_decay"], dtype=torch.float32, device=inputs["q"].device)


def by_sequence(kernel, kernel_file):
    """An adapter for kernel(q, k, v, log_decay, scale, state or None) -> (o, state), by sequences: [1, T, H, d]."""
    def adapter(inputs, case):
        state, o = inputs["state"], torch.zeros_like(inputs["q"])
        for first, end, slot, initial in sequences(case):
            q, k, v = (inputs[name][None, first:end] for name in "qkv")
            before = state[slot][None] if initial else None
            out, after = kernel(q, k, v, log_decay(inputs, case), case["parameters"]["scale"], before)
            o[first:end], state[slot] = out[0], after[0]
        return {"o": o, "state": state}
    adapter.kernel_file = kernel_file
    return adapter


def packed(kernel, kernel_file):
    """The same for kernels that take all sequences at once, with cu_seqlens and initial states [N, H, d_k, d_v]."""
    def adapter(inputs, case):
        state, o = inputs["state"], torch.zeros_like(inputs["q"])
        lengths = [end - first for first, end, _, _ in sequences(case)]
        rows = torch.cat([torch.arange(first, end) for first, end, _, _ in sequences(case)]).to(o.device)
        slots = torch.tensor([slot for _, _, slot, _ in sequences(case)], device=o.device)
        fresh = torch.tensor([not initial for _, _, _, initial in sequences(case)], device=o.device)
        before = state[slots].masked_fill(fresh[:, None, None, None], 0)
        cu_seqlens = torch.tensor([0] + lengths, device=o.device).cumsum(0)
        q, k, v = (inputs[name][rows][None] for name in "qkv")
        out, after = kernel(q, k, v, g_gamma=log_decay(inputs, case), scale=case["parameters"]["scale"],
                            initial_state=before, output_final_state=True, cu_seqlens=cu_seqlens)
        o[rows], state[slots] = out[0], after
        return {"o": o, "state": state}
    adapter.kernel_file = kernel_file
    return adapter


@functools.cache
def fla_file(name):
    """A file of flash-linear-attention, found without importing the package: that asks for Triton and a GPU."""
    for folder in importlib.util.find_spec("fla").submodule_search_locations:
        if (path := pathlib.Path(folder) / "ops/simple_gla" / name).exists():
            return path
    raise ImportError(f"flash-linear-attention is installed, but has no ops/simple_gla/{name}")


@functools.cache
def fla_naive_module():
    spec = importlib.util.spec_from_file_location("fla_naive_simple_gla", fla_file("naive.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def naive_recurrence(q, k, v, decay, scale, state):
    g = decay.expand(q.shape[:3])
    return fla_naive_module().naive_recurrent_simple_gla(q, k, v, g, scale=scale, initial_state=state)


def naive_chunks(q, k, v, decay, scale, state):
    g = decay.expand(q.shape[:3])
    return fla_naive_module().naive_chunk_simple_gla(q, k, v, g, initial_state=state, output_final_state=True,
                                                     scale=scale)


def seg_la_kernel(inputs, case):
    """SGLang's: packed tokens, the whole pool of states written in place, decay as a positive number, padding at -1."""
    seg_la = importlib.import_module("sglang.srt.layers.attention.linear.seg_la")
    p = case["parameters"]
    tensor = functools.partial(torch.tensor, dtype=torch.int32, device=inputs["q"].device)
    lengths = [end - first for first, end in zip(p["cu_seqlens"], p["cu_seqlens"][1:])]
    meta = seg_la.SegLaMeta(batch_size=len(lengths), max_q_length=max(lengths), q_offsets=tensor(p["cu_seqlens"]),
                            s_offsets=tensor(p["slots"]), q_lengths=tensor(lengths),
                            s_scales=tensor([int(initial) for initial in p["has_initial_state"]]))
    o = seg_la.seg_la_fwd(inputs["q"], inputs["k"], inputs["v"], inputs["state"], -log_decay(inputs, case), meta,
                          softmax_scale=p["scale"])
    return {"o": o, "state": inputs["state"]}


def heads_first(q, k, v, decay, scale, state):
    """ThunderKittens' layout: bf16 [1, heads, T, d], T a multiple of 64, slopes positive, no scale, no state before or
    after. The state is summed up here, so that a case is complete; a sequence that begins with one is refused."""
    if state is not None:
        raise ValueError("begins with a state, which this kernel does not take")
    kernel = importlib.import_module("thunderkittens").lightning_attention
    T = q.shape[1]
    pad = lambda x: torch.nn.functional.pad(x.transpose(1, 2).to(torch.bfloat16), (0, 0, 0, -T % 64)).contiguous()
    o = kernel(pad(q * scale), pad(k), pad(v), -decay)[:, :, :T].transpose(1, 2)
    weights = (decay[:, None] * torch.arange(T - 1, -1, -1, device=q.device)).exp()
    return o, torch.einsum("ht,bthi,bthj->bhij", weights, k.float(), v.float())


def __getattr__(name):
    """Adapters by name, made when they are asked for: none of these programs has to be installed for another's sake."""
    simple_gla = lambda kernel: getattr(importlib.import_module("fla.ops.simple_gla"), kernel)
    makers = {
        "fla_naive": lambda: by_sequence(naive_recurrence, fla_file("naive.py")),
        "fla_naive_chunk": lambda: by_sequence(naive_chunks, fla_file("naive.py")),
        "fla_chunk": lambda: packed(simple_gla("chunk_simple_gla"), fla_file("chunk.py")),
        "fla_recurrent": lambda: packed(simple_gla("fused_recurrent_simple_gla"), fla_file("fused_recurrent.py")),
        "seg_la": lambda: seg_la_kernel,
        "thunderkittens": lambda: by_sequence(heads_first, __file__),
    }
    if name not in makers:
        raise AttributeError(f"no adapter {name!r}; there are {', '.join(makers)}")
    return makers[name]()
