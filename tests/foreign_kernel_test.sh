#!/usr/bin/env bash
# A kernel of others, as its author would check it: flash-linear-attention's naive recurrence passes every case of
# linear attention, wrong ones are named. The first run fetches 30 MB from PyPI into the build folder and keeps them.
# What cannot be installed fails. Without a network: ctest -E foreign_kernel_test.
# fla's file runs on numpy here, since torch from PyPI is over 2 GB; on torch it was run by hand (results/foreign).
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
program=${RINGBENCH_PROGRAM:-$root/build/ringbench}
place=$(dirname "$program")/foreign-kernel
packages=(fla-core==0.6.0 numpy==2.2.6 safetensors==0.8.0 ml_dtypes==0.5.4)

. "$root/tests/pypi.sh"
[[ -x $program ]] || give_up "no program $program; RINGBENCH_PROGRAM says where it is"
mkdir -p "$place" && exec 9>"$place/lock" && flock 9  # one at a time in a build folder
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

install_from_pypi flash-linear-attention "${packages[@]}"

cd "$work" || exit 1
run_case() {
  local kernel=$1 out=$2
  shift 2
  PYTHONPATH=$root/tests/foreign "$place/venv/bin/python" -B "$root/harness/foreign/run_case.py" "$@" \
    --run "fla_on_numpy:$kernel" --out "$out"
}

"$program" parity --op linear_attention --emit cases -q || give_up "no cases"
run_case fla fla cases/* >log 2>&1 || give_up "fla's recurrence did not run" log
run_case ignores_initial_state wrong cases/*-ring-mini-* >log 2>&1 || give_up "the wrong kernel did not run" log

"$program" parity --load fla=fla -q >log 2>&1 || give_up "fla's recurrence does not pass" log
grep -q "^fla: 24 of 24 cases pass$" log || give_up "not all cases were judged" log

"$program" parity --load fla=fla --load wrong=wrong -q --format md >log 2>err
[[ $? == 4 ]] || give_up "a wrong kernel passed" log
grep -q "^- 4 fail, initial state ignored: " log || give_up "the fault was not named" log
grep -q "^error: parity: wrong: linear_attention-ring-mini-" err || give_up "no error line" err

run_case raises raised cases/*-decode-* >log 2>&1
[[ $? == 2 ]] || give_up "a kernel that raises did not end with 2" log
[[ $(cat log) == "error: linear_attention-"*": RuntimeError: an illegal memory access was encountered" ]] ||
  give_up "its last line was not shown, or more than that" log
echo "passed"
