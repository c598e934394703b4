#!/usr/bin/env bash
# tests/gpu without a GPU. First among programs that only pretend: what fails, hangs, is missing or is resumed. Then, in
# a build that has what it takes, its smallest rehearsal on the emulator.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/fake" "$work/bin"
# A small tree: its sources are what the records belong to.
tree=$work/tree
mkdir -p "$tree"/{reference,cuda,harness,tests/cuda}
cp "$root"/tests/{gpu,gpu_table.py,gpu_peers.py,CMakeLists.txt} "$tree/tests/"
cp "$root"/harness/statistics.{h,cpp} "$tree/harness/" && cp "$root/reference/random.h" "$tree/reference/"
touch "$tree"/{CMakeLists.txt,tests/catch.h,cuda/norm.cu} "$tree"/tests/cuda/test_{conformance,emulator,engine,moe,norm}.cpp
export WORK=$work PATH=$work/fake:$PATH
unset RINGBENCH_ENGINE RINGBENCH_MODEL
failures=0
wrong() { echo "WRONG: $*" && failures=$((failures + 1)); }

# --- Programs that pretend: each writes down its call, prints a record, and does what $WORK/<name> says ---

fake() { { echo '#!/usr/bin/env bash' && cat; } >"$1" && chmod +x "$1"; }
for program in ringbench ringbench_gpu_tests bench_cuda_kernels; do
  fake "$work/bin/$program" <<'F'
name=$(basename "$0")
call="$name $*"
if [[ $* == --list ]]; then printf '%s\n' moe_gemm gemm argmax advance; exit; fi
echo "$call" >>"$WORK/calls"
case $name in
  ringbench) [[ $1 != parity ]] || {
    while [[ $1 != --results ]]; do shift; done
    mkdir -p "$2/parity"
    printf '{\n  "id": "c0ffee",\n  "schema": "ringbench.parity/1",\n  "engine": "cuda"\n}\n' >"$2/parity/c0ffee.json"
  } ;;
  bench_cuda_kernels) echo '{"schema": "ringbench.kernel/1", "op": "gemm", "variant": "plain", "shape": "1 x 1", "ok": true}' ;;
  ringbench_gpu_tests) echo "All tests passed" ;;
esac
[[ $call != *"$(cat "$WORK/broken" 2>/dev/null || echo nothing)"* ]] || { echo 'out of "luck" \ today' >&2; exit 5; }
[[ $call != *"$(cat "$WORK/crash" 2>/dev/null || echo nothing)"* ]] || kill -SEGV $$
[[ $call != *"$(cat "$WORK/empty" 2>/dev/null || echo nothing)"* ]] || { echo 'No tests ran'; exit 0; }
[[ $call != *"$(cat "$WORK/hang" 2>/dev/null || echo nothing)"* ]] || { printf '{"schema": "cut o'; sleep 60; }
exit 0
F
done
fake "$work/fake/nvidia-smi" <<'F'
case $* in
  *compute_cap*) echo 9.0 ;;
  *-l\ 2*) echo 1980 && exec sleep 60 ;;
  *) echo NVIDIA pretended ;;
esac
F
fake "$work/fake/compute-sanitizer" <<'F'
echo "compute-sanitizer $*" >>"$WORK/calls"
F
python=$(command -v python3)
fake "$work/fake/python" <<F
case \$* in
  *import\ torch*) [[ -e $work/torch ]] ;;
  *gpu_peers.py*) echo "peers \$*" >>$work/calls && echo '{"schema": "ringbench.peer/1", "group": "dense", "name": "torch.mm"}' ;;
  *) ${python:+exec $python "\$@"} ;;
esac
F
touch "$work/torch"
export PYTHON=$work/fake/python

new_run() { rm -rf "$work/out" "$work/calls" "$work"/{broken,crash,empty,hang} && touch "$work/calls"; }
gpu() {
  bash "$tree/tests/gpu" --out "$work/out" --binaries "$work/bin" "$@" >"$work/table" 2>"$work/err"
  code=$?
}
expect_code() { [[ $code == "$1" ]] || wrong "$2: exit $code instead of $1: $(tail -n 3 "$work/err")"; }
expect() { grep -qF -- "$2" "$work/$1" || wrong "$3: '$2' is not in $1: $(tail -n 5 "$work/$1" | cut -c 1-200)"; }
expect_not() { ! grep -qF -- "$2" "$work/$1" || wrong "$3: '$2' is in $1"; }
status_of() { sed -n "s/.*\"step\": \"$1\", \"status\": \"\([a-z]*\)\".*/\1/p" "$work/out/results.jsonl" | tail -n 1; }
expect_status() { [[ $(status_of "$1") == "$2" ]] || wrong "step $1 is '$(status_of "$1")', not $2"; }
json_lines() { # every record can be read
  [[ -z $python ]] || "$python" -c 'import json, sys
for line in open(sys.argv[1]): json.loads(line)' "$work/out/results.jsonl" || wrong "a record is no JSON"
}

# Programs of other sources are refused; so are flags, stages and folders that are none.
new_run
echo 0123456789ab >"$work/bin/sources"
gpu
expect_code 2 "stale programs" && expect err "other sources" "stale programs"
for flags in "--only build,peer" "--seconds soon" "--what" "--binaries $work/none" "--headers $work/none" "--out"; do
  # shellcheck disable=SC2086
  gpu $flags
  expect_code 2 "$flags"
done

# What the programs must bear, as a record tells it.
stamp_programs() {
  bash "$tree/tests/gpu" --rehearse --binaries "$work/bin" --out "$work/hash" --resume --only sanitizer >/dev/null 2>&1
  tail -n 1 "$work/hash/results.jsonl" | sed 's/.*"sources": "\([0-9a-f]*\)".*/\1/' >"$work/bin/sources"
  [[ $(wc -c <"$work/bin/sources") == 13 ]] || wrong "no hash of the sources"
}
stamp_programs

# All is well: every stage runs, and what they print is kept.
new_run && touch "$work/torch"
gpu
expect_code 0 "all is well" && json_lines
for call in 'ringbench_gpu_tests -# [#test_conformance]' '[#test_moe][cuda]' 'parity --engine cuda' '--model tests/goldens/gpt_oss' \
  '--model ring-mini-linear-2.0 --level depth --ctx 32k' '--hybrid softmax --level layer,state' 'bench_cuda_kernels --op moe_gemm' '--op argmax,advance' \
  '--hybrid model --ctx 384k --gen 32 --full --reps 2' '--hybrid softmax --ctx 384k' '--batch 64' 'peers' \
  'compute-sanitizer --tool racecheck --error-exitcode 9'; do
  expect calls "$call" "all is well"
done
expect out/results.jsonl '"schema": "ringbench.parity/1"' "certificates are kept"
expect out/results.jsonl '"schema": "ringbench.kernel/1"' "rows are kept"
expect out/clocks.csv 1980 "clocks are kept"
[[ -z $python ]] || expect table "kernels      " "the table"
expect out/table.txt "$(head -n 3 "$work/table" | tail -n 1)" "the table is kept"
[[ $(find "$work/out" -mindepth 1 | wc -l) -le 8 ]] || wrong "more than 8 files: $(ls "$work/out")"
! find "$work/out" -mindepth 1 | sed 's|.*/||' | grep '[^A-Za-z0-9._-]' || wrong "odd file names"
! pgrep -f "$work/fake/nvidia-smi" >/dev/null || wrong "nvidia-smi is still running"

# Records are not overwritten; resumed, nothing is done twice; other sources are another matter.
: >"$work/calls"
gpu
expect_code 2 "records that are there" && expect err "--resume" "records that are there"
gpu --resume
expect_code 0 "resumed"
[[ ! -s $work/calls ]] || wrong "resumed, but done again: $(head -n 3 "$work/calls")"
echo '// mended' >>"$tree/cuda/norm.cu"
stamp_programs
gpu --resume --only tests
[[ $(wc -l <"$work/calls") == 3 ]] || wrong "other sources, but only $(wc -l <"$work/calls") steps were repeated"
[[ -z $python ]] || expect table 'records of 2 versions of the sources' "other sources"

# A step that fails, one that crashes, one that selects nothing: each is said, nothing else is stopped.
new_run
printf '%s\n' '--op gemm' >"$work/broken"
echo '[#test_norm]' >"$work/crash" && echo '[#test_conformance]' >"$work/empty"
gpu --only conformance,tests,kernels,decode
expect_code 1 "steps that fail" && json_lines
expect_status gemm fail && expect_status norm fail && expect_status words fail
expect_status others pass && expect_status moe pass && expect_status 'batch 1, 8k, model' pass
expect out/results.jsonl '"note": "out of luck  today"' "the last line of what failed"
expect err 'fail (exit 5)' "a step that fails"
rm "$work"/{broken,crash,empty} && : >"$work/calls"
gpu --only conformance,tests,kernels,decode --resume
expect_code 0 "mended"
[[ $(wc -l <"$work/calls") == 3 ]] || wrong "mended: $(wc -l <"$work/calls") steps were repeated instead of 3"

# A step that hangs is ended, and half a record does no harm; beyond the total nothing starts, and that is said.
new_run
echo '--op moe_gemm' >"$work/hang"
gpu --only kernels --limit 1
expect_code 1 "a step that hangs" && json_lines
expect_status moe_gemm timeout && expect_status gemm pass
expect out/log.txt '{"schema": "cut o' "half a record"
new_run
echo '--op moe_gemm' >"$work/hang"
gpu --only kernels,decode --seconds 11 --limit 100
expect_code 1 "out of time"
expect_status moe_gemm unfinished && expect_status others skipped && expect_status 'batch 64, 8k, softmax' skipped
expect table 'left out  kernels: gemm (no time)' "out of time"
rm "$work/hang"
gpu --only kernels,decode --resume
expect_code 0 "with time again"
expect_status moe_gemm pass && expect_status others pass && expect_status 'batch 64, 8k, softmax' pass

# What is missing is said: a program, torch, compute-sanitizer.
new_run
mv "$work/bin/bench_cuda_kernels" "$work/kept" && rm "$work/torch" "$work/fake/compute-sanitizer"
gpu --only kernels,peers
expect_code 0 "things missing"
expect table 'kernels: all (no program bench_cuda_kernels)' "no program"
expect table 'peers: all (torch is missing)' "no torch"
mv "$work/kept" "$work/bin/bench_cuda_kernels"
new_run
if ! command -v compute-sanitizer >/dev/null && [[ ! -x /usr/local/cuda/bin/compute-sanitizer ]]; then
  gpu --only sanitizer
  expect table 'sanitizer: all (compute-sanitizer is missing)' "no sanitizer"
fi

# Packed headers are found by CMake, and by their names.
mkdir -p "$work"/include/{eigen3/Eigen,eigen3/unsupported,nlohmann,CLI,catch2}
touch "$work/include/eigen3/Eigen/Core"
ln -s /usr/include/boost "$work/include/boost"
RINGBENCH_INCLUDE=$work/include bash "$tree/tests/gpu" --pack "$work/packed" >/dev/null || wrong "--pack failed"
[[ -f $work/packed/include/eigen3/Eigen/Core ]] || wrong "--pack left Eigen out"
[[ -f $work/packed/include/boost/math/distributions/students_t.hpp ]] || wrong "--pack left Boost.Math out"
[[ ! -e $work/packed/include/boost/asio ]] || wrong "--pack took more of Boost than is used"
rm -r "$work/include/CLI"
! RINGBENCH_INCLUDE=$work/include bash "$tree/tests/gpu" --pack "$work/packed2" >/dev/null 2>&1 || wrong "--pack without CLI11"
if command -v cmake >/dev/null; then
  mkdir "$work/user" && cat >"$work/user/CMakeLists.txt" <<'C'
cmake_minimum_required(VERSION 3.25)
project(user NONE)
foreach(name Eigen3 nlohmann_json CLI11 Boost Catch2 benchmark)
  find_package(${name} REQUIRED NO_DEFAULT_PATH PATHS ${CMAKE_PREFIX_PATH})
endforeach()
get_target_property(folder Eigen3::Eigen INTERFACE_INCLUDE_DIRECTORIES)
if(NOT EXISTS ${folder}/Eigen/Core OR NOT Catch2_VERSION VERSION_LESS 3)
  message(FATAL_ERROR "wrong: ${folder}, Catch2 ${Catch2_VERSION}")
endif()
C
  cmake -S "$work/user" -B "$work/user/build" -DCMAKE_PREFIX_PATH="$work/packed" >"$work/err" 2>&1 ||
    wrong "packed headers are not found: $(tail -n 5 "$work/err")"
fi

# The rehearsal, with a build's own programs.
build=$(dirname "${RINGBENCH_PROGRAM:-$root/build/ringbench}")
if [[ ! -x $build/ringbench || ! -x $build/tests/ringbench_tests || ! -x $build/bench_emulated_kernels ]]; then
  echo "not rehearsed: $build has not all programs"
elif grep -q 'FLAGS:.*-fsanitize' "$build/CMakeCache.txt"; then
  echo "not rehearsed: the programs of $build are too slow"
else
  new_run
  tree=$root
  gpu --rehearse --quick --binaries "$build"
  expect_code 0 "the rehearsal: $(grep -v '^---' "$work/err")"
  json_lines
  for stage in conformance tests parity kernels throughput decode; do
    expect out/results.jsonl "\"stage\": \"$stage\"" "the rehearsal"
  done
  expect_not out/results.jsonl '"median_s"' "speeds of kernels on an emulator"
  expect_not out/results.jsonl '"engine":"cuda"' "a GPU that is not there"
  expect table REHEARSAL "the table of a rehearsal"
fi

[[ $failures == 0 ]] && echo "tests/gpu does what it says"
exit $((failures > 0))
