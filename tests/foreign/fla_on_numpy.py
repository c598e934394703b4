"""flash-linear-attention's naive recurrence, its own file, without torch: the few methods of tensors that it calls, on
numpy. A kernel for harness/foreign/run_case.py; and some that are wrong.
"""
import importlib.util
import pathlib
import sys
import types

import numpy as np


class Tensor(np.ndarray):
    def transpose(self, a, b):
        return self.swapaxes(a, b)

    def unsqueeze(self, axis):
        return np.expand_dims(self, axis)

    def float(self):
        return self.astype(np.float32)

    def to(self, dtype):
        return self.astype(dtype)

    def exp(self):
        return np.exp(self)

    def new_zeros(self, *shape):
        return np.zeros(shape, self.dtype).view(Tensor)


def naive_recurrence():
    folder = pathlib.Path(importlib.util.find_spec("fla").submodule_search_locations[0])
    file = folder / "ops/simple_gla/naive.py"
    stand_ins = {name: types.ModuleType(name) for name in ("torch", "torch.nn", "torch.nn.functional", "einops")}
    stand_ins["torch"].Tensor, stand_ins["torch"].nn = Tensor, stand_ins["torch.nn"]
    stand_ins["torch.nn"].functional = stand_ins["torch.nn.functional"]
    stand_ins["einops"].rearrange = None
    spec = importlib.util.spec_from_file_location("naive", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules.update(stand_ins)
    spec.loader.exec_module(module)
    for name in stand_ins:
        del sys.modules[name]
    return module.naive_recurrent_simple_gla, file


recurrence, recurrence_file = naive_recurrence()


def fla(inputs, case):
    p = case["parameters"]
    state, o = inputs["state"], np.zeros_like(inputs["q"])
    decay = np.array(p["log_decay"], np.float32)
    for first, end, slot, initial in zip(p["cu_seqlens"], p["cu_seqlens"][1:], p["slots"], p["has_initial_state"]):
        if slot < 0:
            continue
        q, k, v = (inputs[name][None, first:end].view(Tensor) for name in "qkv")
        g = np.broadcast_to(decay, q.shape[:3]).view(Tensor)
        before = state[slot][None] if initial else None
        out, after = recurrence(q, k, v, g, scale=p["scale"], initial_state=before)
        o[first:end], state[slot] = out[0], after[0]
    return {"o": o, "state": state}


fla.kernel_file = recurrence_file


def ignores_initial_state(inputs, case):
    parameters = {**case["parameters"], "has_initial_state": [False] * len(case["parameters"]["slots"])}
    return fla(inputs, {**case, "parameters": parameters})


def raises(inputs, case):
    raise RuntimeError("an illegal memory access was encountered")
