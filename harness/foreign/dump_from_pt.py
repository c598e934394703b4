"""A dump of an engine that torch.save wrote, as safetensors for `ringbench parity --load`.

  dump_from_pt.py DUMP.pt DUMP.safetensors        a dict of tensors, or of dicts of them: names are joined by dots
"""
import sys

import torch
from safetensors.torch import save_file


def flat(values, prefix=""):
    items = values.items() if isinstance(values, dict) else enumerate(values)
    for key, value in items:
        if isinstance(value, torch.Tensor):
            yield f"{prefix}{key}", value.detach().cpu().clone(memory_format=torch.contiguous_format)
        elif isinstance(value, (dict, list, tuple)):
            yield from flat(value, f"{prefix}{key}.")


if len(sys.argv) != 3:
    sys.exit(print(__doc__, file=sys.stderr) or 2)
try:
    tensors = dict(flat(torch.load(sys.argv[1], map_location="cpu", weights_only=True)))
    save_file(tensors, sys.argv[2])
except Exception as e:
    sys.exit(print(f"error: {sys.argv[1]}: {type(e).__name__}: {str(e).splitlines()[0]}", file=sys.stderr) or 2)
print(f"{len(tensors)} tensors")
