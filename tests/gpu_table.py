#!/usr/bin/env python3
"""gpu_table.py RESULTS: the short table of a run of tests/gpu, from its JSON lines. Of rows that were measured twice
(--resume) the later one counts."""
import json
import sys


def read(path):
    rows = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            try:
                rows.append(json.loads(line))
            except ValueError:
                print("unreadable line:", line.strip()[:100])
    return rows


def latest(rows, key):
    kept = {}
    for row in rows:
        kept.pop(key(row), None)   # in the order of the later one
        kept[key(row)] = row
    return list(kept.values())


def of_schema(rows, schema):
    return [row for row in rows if row.get("schema") == schema]


def number(row, key, pattern):
    value = row.get(key)
    return "" if value is None else pattern.format(value)


def duration(seconds):
    for scale, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if seconds * scale >= 1:
            return f"{seconds * scale:.4g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def show_steps(rows):
    steps = latest(of_schema(rows, "ringbench.gpu/1"), lambda r: (r["stage"], r["step"]))
    stages = list(dict.fromkeys(r["stage"] for r in steps))
    print("STAGES")
    for stage in stages:
        mine = [r for r in steps if r["stage"] == stage]
        ran = [r for r in mine if r["status"] != "skipped"]
        passed = sum(r["status"] == "pass" for r in ran)
        print(f"  {stage:12} {passed} of {len(ran)} steps passed, {sum(r['seconds'] for r in mine)} s")
        for r in mine:
            if r["status"] != "pass":
                code = "" if r["exit"] is None else f" (exit {r['exit']})"
                print(f"    {r['status']:11} {r['step']}{code}: {r['note'][:110]}")
    sources = {r["sources"] for r in steps}
    if len(sources) > 1:
        print(f"  NOTE: records of {len(sources)} versions of the sources: {', '.join(sorted(sources))}")


def show_parity(rows):
    certificates = of_schema(rows, "ringbench.parity/1")
    if not certificates:
        return
    print("\nPARITY  worst error as a share of its budget")
    for c in certificates:
        checks = c.get("checks", [])
        failed = [x for x in checks if x.get("status") == "fail"]
        shares = [x["value"] / x["budget"] for x in checks
                  if x.get("budget") and isinstance(x.get("value"), (int, float))]
        print(f"  {str(c.get('model', '')):26}{str(c.get('engine', '')):10}{str(c.get('dtype', '')):6}{len(checks):4} checks, "
              f"{len(failed)} failed{f', worst {max(shares):.2f}' if shares else ''}, {c.get('verdict', '')}  {str(c.get('id', ''))[:12]}")
        for x in failed[:3]:
            print(f"    FAIL {x.get('name')}: {x.get('value')} of {x.get('budget')} {x.get('text', '')[:80]}")


def show_kernels(rows):
    kernels = latest(of_schema(rows, "ringbench.kernel/1"), lambda r: (r.get("op"), r.get("variant"), r.get("shape"), r.get("when")))
    if not kernels:
        return
    timed = [r for r in kernels if "median_s" in r]
    wrong = [r for r in kernels if not r.get("ok")]
    checked = sum("when" not in r and "variant" in r for r in kernels)
    print(f"\nKERNELS  {checked} checked, {len(wrong)} failed, {len(timed)} timed; * what the engine takes, ! below its target")
    for r in wrong:
        print(f"  FAILED {r.get('op')} {r.get('variant', '')} {r.get('shape', '')}: {r.get('error_text') or r.get('error')} {r.get('note', '')}")
    if timed:
        print(f"  {'':65}{'median':>10}{'10-90 %':>22}{'TFLOP/s':>9}{'GB/s':>7}{'of floor':>9}{'target':>8}{'datasheet':>10}")
    for r in timed:
        name = f"{r['op']} {r.get('when', '')}{r['variant']}" if "when" not in r else f"{r['op']} ({r['when']})"
        name = f"{'*' if r.get('chosen') else ' '} {name}, {r['shape']}"
        below = "!" if r.get("target") and r.get("chosen") and r.get("of_floor", 0) < r["target"] else ""
        print(f"  {name[:65]:65}{duration(r['median_s']):>10}{duration(r['p10_s']) + '-' + duration(r['p90_s']):>22}"
              f"{number(r, 'tflops', '{:.1f}'):>9}{number(r, 'gbs', '{:.0f}'):>7}{number(r, 'of_floor', '{:.3f}') + below:>9}"
              f"{number(r, 'target', '{:.2f}'):>8}{number(r, 'of_datasheet', '{:.3f}'):>10}")


def show_points(rows):
    points = latest(of_schema(rows, "ringbench.point/1"),
                    lambda r: (r["engine"], r["model"], r["hybrid"], r["phase"], r["ctx"], r["gen"], r["batch"], r["metric"]))
    if not points:
        return
    print(f"\nMODELS\n  {'':54}{'median':>10}{'min-max':>22}{'n':>4}{'tok/s':>10}  flags parity")
    for r in points:
        name = f"{r['model']} {r['hybrid']} ({r['engine']}), {r['phase']} {r['ctx_label']} batch {r['batch']}"
        if r.get("value") is None:
            print(f"  {name:54} {r['status']}: {str(r.get('error'))[:90]}")
            continue
        spread = f"{duration(r['min'])}-{duration(r['max'])}"
        print(f"  {name:54}{duration(r['value']):>10}{spread:>22}{r['n']:>4}{number(r, 'tok_s', '{:.0f}'):>10}  {r['flags']:5} {r['parity']}")
    # Hybrid over softmax, where both were measured.
    key = lambda r: (r["engine"], r["phase"], r["ctx"], r["gen"], r["batch"])
    softmax = {key(r): r for r in points if r["hybrid"] == "softmax" and r.get("value")}
    for r in points:
        if r["hybrid"] != "softmax" and r.get("value") and key(r) in softmax:
            print(f"  hybrid over softmax, {r['phase']} {r['ctx_label']} batch {r['batch']}: "
                  f"{softmax[key(r)]['value'] / r['value']:.2f} x")


def show_peers(rows):
    peers = latest(of_schema(rows, "ringbench.peer/1"), lambda r: (r["group"], r["name"]))
    if not peers:
        return
    print(f"\nPEERS\n  {'':65}{'median':>10}{'10-90 %':>22}{'TFLOP/s':>9}{'GB/s':>7}{'of copy':>9}{'datasheet':>10}")
    for r in peers:
        name = r["name"] if r["group"] not in ("first", "last") else f"{r['name']} ({r['group']})"
        if "median_s" not in r:
            print(f"  {name[:65]:65} {r.get('error') or r.get('note', '')}"[:170])
            continue
        print(f"  {name[:65]:65}{duration(r['median_s']):>10}{duration(r['p10_s']) + '-' + duration(r['p90_s']):>22}"
              f"{number(r, 'tflops', '{:.1f}'):>9}{number(r, 'gbs', '{:.0f}'):>7}{number(r, 'of_copy', '{:.3f}'):>9}"
              f"{number(r, 'of_datasheet', '{:.3f}'):>10}{'  ' + r['note'][:70] if 'note' in r else ''}")


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: gpu_table.py RESULTS")
    rows = [r for r in read(sys.argv[1]) if isinstance(r, dict)]
    for show in (show_steps, show_parity, show_kernels, show_points, show_peers):
        show(rows)


if __name__ == "__main__":
    main()
