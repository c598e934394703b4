"""Runs somebody else's kernel on cases that `ringbench parity --emit` wrote, and stores what it puts out.
FUNCTION(inputs, case) gets the tensors of inputs.safetensors by name (torch, on the GPU where there is one; else numpy,
with ml_dtypes for bf16) and case.json, and returns the outputs by name. See adapters.py."""
import argparse, hashlib, inspect, json, pathlib, pkgutil, platform, sys

try:
    import torch
    from safetensors.torch import load_file, save_file
except ImportError:
    torch = None
    import ml_dtypes  # gives numpy a bf16
    from safetensors.numpy import load_file, save_file
cuda = torch is not None and torch.cuda.is_available()


def copied(inputs):  # a kernel may write into its state
    return {name: tensor.clone() if torch else tensor.copy() for name, tensor in inputs.items()}


def times_ms(function, inputs, case):
    samples = []
    for _ in range(33 if cuda else 0):  # three to warm up
        begin, end, copies = torch.cuda.Event(True), torch.cuda.Event(True), copied(inputs)
        begin.record()
        function(copies, case)
        end.record()
        end.synchronize()
        samples.append(begin.elapsed_time(end))
    return samples[3:]


def run(folder, name, out):
    case = json.loads((folder / "case.json").read_text())
    inputs = load_file(folder / "inputs.safetensors")
    inputs = {key: tensor.cuda() if cuda else tensor for key, tensor in inputs.items()}
    function = pkgutil.resolve_name(name)
    outputs = function(copied(inputs), case)
    kernel = pathlib.Path(getattr(function, "kernel_file", None) or inspect.getsourcefile(function))
    record = {"fingerprint": case["fingerprint"], "function": name, "kernel_file": kernel.name,
              "kernel_sha256": hashlib.sha256(kernel.read_bytes()).hexdigest(),
              "device": torch.cuda.get_device_name() if cuda else "cpu", "times_ms": times_ms(function, inputs, case),
              "software": f"Python {platform.python_version()}" + (f", torch {torch.__version__}" if torch else "")}
    (own := out / case["name"]).mkdir(parents=True, exist_ok=True)
    outputs = {key: tensor.contiguous().cpu() if torch else tensor for key, tensor in outputs.items()}
    save_file(outputs, own / "outputs.safetensors")
    (own / "record.json").write_text(json.dumps(record, indent=1) + "\n")


arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("cases", nargs="+", type=pathlib.Path)
arguments.add_argument("--run", required=True, metavar="MODULE:FUNCTION")
arguments.add_argument("--out", required=True, type=pathlib.Path)
a = arguments.parse_args()
sys.path.insert(0, ".")
for folder in a.cases:
    try:
        run(folder, a.run, a.out)
    except Exception as e:
        sys.exit(print(f"error: {folder.name}: {a.run}: {type(e).__name__}: {e}", file=sys.stderr) or 2)
