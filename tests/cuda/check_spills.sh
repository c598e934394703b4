#!/usr/bin/env bash
# check_spills.sh BUILD [EXCEPT]: compiles the kernels of a CUDA build (its compile_commands.json) once more, and asks
# ptxas: none may spill registers, but for those whose names match the regular expression EXCEPT.
set -euo pipefail
commands=$(realpath "$1")/compile_commands.json except=${2:-^$}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd "$1"
mapfile -t compilations < <(sed -n 's/^ *"command": "\(.* -x cu -c .*\)",\{0,1\}$/\1/p' "$commands" | grep '/cuda/[^/]*\.cu ' |
  sed 's/ -MD -MT [^ ]* -MF [^ ]*//; s/ -o [^ ]*$//; s/\\"/"/g')
[[ ${#compilations[@]} -gt 0 ]] || { echo "no compilations by nvcc in $commands" && exit 2; }
for i in "${!compilations[@]}"; do
  printf '%s\n' "${compilations[i]} -Xptxas -v -o $work/$i.o 2>$work/$i.log || { cat $work/$i.log; exit 255; }"
done | xargs -P "$(nproc)" -d '\n' -n 1 bash -c

# "Compiling entry function 'NAME' for 'ARCH'", then "N bytes stack frame, N bytes spill stores, N bytes spill loads".
cat "$work"/*.log | awk -v except="$except" '
  /Compiling entry function/ { split($0, part, "\047"); name = part[2]; arch = part[4]; ++kernels }
  /bytes spill/ && name != "" {
    if ($0 !~ / 0 bytes spill stores, 0 bytes spill loads/ && name !~ except) { ++bad; print arch ": " name ": " $0 }
    name = ""
  }
  END { print kernels + 0 " kernels, " bad + 0 " with spills"; exit !kernels || bad > 0 }' | tee "$work/report" |
  { command -v c++filt >/dev/null && c++filt || cat; }
grep -q ', 0 with spills$' "$work/report"
