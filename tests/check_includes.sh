#!/usr/bin/env bash
# Who may include whom: reference <- cuda <- harness <- main, reference <- evals <- harness; nothing includes tests.
# And which libraries are seen where. Then every rule is broken once, in a small tree of its own, and must be noticed.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

border='config|bf16|tensor|weights|state|precision|engine|random'  # the headers of reference/ that other folders are made for

# includes FILES-REGEX HEADERS-REGEX: the include lines of matching headers in matching files, "file:line:#include ...".
includes() {
  local files
  mapfile -t files < <(find reference cuda harness evals -type f 2>/dev/null | grep -E "^($1)$")
  [[ ${#files[@]} == 0 ]] || grep -nHE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($2)" "${files[@]}"
}
forbid() {  # forbid FILES-REGEX HEADERS-REGEX RULE [LINES-REGEX]: but for lines that match the last
  includes "$1" "$2" | grep -vE "${4:-^$}" | sed "s|\$|   <- $3|"
}
violations() (
  cd "$1" || exit
  forbid 'reference/.*' '(cuda|harness|evals|tests)/' "reference/ knows none of the others"
  forbid 'cuda/.*' '(harness|evals|tests)/' "cuda/ knows reference/ only"
  forbid 'cuda/.*' reference/ "cuda/ shares types, no equations" "\"reference/($border)\.h\""
  forbid 'evals/.*' '(cuda|harness|tests)/' "evals/ knows reference/ only"
  forbid 'evals/.*' 'reference/' "evals/ knows engine.h, config.h, random.h and sha256.h" '"reference/(engine|config|random|sha256)\.h"'
  forbid 'harness/.*' 'tests/' "nothing includes tests/"
  forbid '(cuda|evals|harness)/.*' 'Eigen/|unsupported/Eigen' "Eigen stays in reference/" '^harness/bench_[a-z_]+\.cpp:'
  forbid '.*\.(h|cuh|in)' 'nlohmann/json\.hpp' "nlohmann/json only in .cpp files, and in what only they include" \
    '^harness/json_object\.h:'
  forbid '.*\.(h|cuh|in)' 'harness/json_object\.h' "json_object.h brings nlohmann/json: only in .cpp files"
  forbid '.*' 'CLI/' "CLI11 only in harness/arguments.cpp" '^harness/arguments\.cpp:'
  forbid '.*' 'boost/' "Boost only in harness/statistics.cpp" '^harness/statistics\.cpp:'
  forbid '.*' 'benchmark/' "Google Benchmark only in harness/bench_*.cpp" '^harness/bench_[a-z_]+\.cpp:'
  forbid '.*' 'httplib|openssl/' "cpp-httplib and OpenSSL only in harness/endpoint.cpp and its client_overhead.cpp" \
    '^harness/(endpoint|client_overhead)\.cpp:'
  forbid '.*' 'pcre2' "PCRE2 only in evals/regex.cpp" '^evals/regex\.cpp:'
  forbid '.*' 'utf8proc' "utf8proc only in evals/unicode.cpp" '^evals/unicode\.cpp:'
  forbid '.*\.(cpp|h|cu|cuh|in)' 'mpfr' "MPFR only in evals/numeric.cpp" '^evals/numeric\.cpp:'
  forbid '(reference|cuda|harness)/.*' 'gmp' "GMP stays in evals/"
  forbid '.*' 'cublas' "cuBLAS only in cuda/gemm_cublas.cpp" '^cuda/gemm_cublas\.cpp:'
  # Through other headers too. -MG: a header that is not found is listed by the name it was asked for.
  for header in $(find reference -type f | grep -E "^reference/($border|sha256)\.h$"); do
    c++ -std=c++20 -I. -M -MG -x c++ "$header" | grep -q Eigen/ && echo "$header   <- reaches Eigen; cuda/ includes it"
  done
)

failures=0
found=$(violations "$root")
[[ -z $found ]] || { echo "$found" && failures=1; }

plant() {  # plant FILE INCLUDE
  rm -rf "$work/tree" && mkdir -p "$work/tree/$(dirname "$1")" "$work/tree/reference"
  printf '#pragma once\n' >"$work/tree/reference/config.h"
  printf '#include <Eigen/Core>\n' >"$work/tree/reference/norm.h"
  printf '#include %s\n' "$2" >>"$work/tree/$1"
}
must_notice() {
  plant "$@"
  [[ -n $(violations "$work/tree") ]] || { echo "not noticed: $1 with #include $2" && failures=1; }
}
must_allow() {
  plant "$@"
  found=$(violations "$work/tree")
  [[ -z $found ]] || { echo "wrongly refused: $found" && failures=1; }
}
# Two types of one name in one namespace: the linker would keep one of their inline functions. cuda/ has its own.
twice=$(cat reference/*.h harness/*.h evals/*.h | grep -oE '^(struct|class|enum class) [A-Za-z0-9]+( final)?( : [^;]*)? \{' |
  awk '{print $1 == "enum" ? $3 : $2}' | sort | uniq -d)
[[ -z $twice ]] || { echo "types that two headers define: $twice" && failures=1; }

must_notice reference/norm.h '"cuda/gpu.h"'
must_notice reference/model.cpp '"harness/plan.h"'
must_notice cuda/norm.cu '"reference/norm.h"'
must_notice cuda/norm.cu '"harness/plan.h"'
must_notice cuda/norm.cu '<Eigen/Core>'
must_notice evals/grade.cpp '"reference/weights.h"'
must_notice evals/grade.cpp '"cuda/cuda_engine.h"'
must_notice harness/plan.cpp '"tests/catch.h"'
must_notice harness/plan.cpp '<Eigen/Dense>'
must_notice reference/json.h '<nlohmann/json.hpp>'
must_notice harness/plan.h '"harness/json_object.h"'
must_notice harness/plan.cpp '<CLI/CLI.hpp>'
must_notice harness/measure.cpp '<boost/math/distributions/normal.hpp>'
must_notice harness/measure.cpp '<benchmark/benchmark.h>'
must_notice cuda/gemm.cpp '<cublas_v2.h>'
must_notice harness/endpoint_load.cpp '<httplib.h>'
must_notice harness/endpoint.h '<openssl/ssl.h>'
must_notice evals/tokenizer.cpp '<pcre2.h>'
must_notice harness/loss.cpp '<utf8proc.h>'
must_notice evals/exact.cpp '<mpfr.h>'
must_notice harness/loss.cpp '<gmpxx.h>'
must_notice reference/config.h '"reference/norm.h"'
must_allow reference/norm.h '"reference/config.h"'
must_allow cuda/norm.cu '"reference/bf16.h"'
must_allow evals/grade.cpp '"reference/config.h"'
must_allow harness/plan.cpp '<nlohmann/json.hpp>'
must_allow harness/plan.h '<nlohmann/json_fwd.hpp>'
must_allow harness/arguments.cpp '<CLI/CLI.hpp>'
must_allow harness/statistics.cpp '<boost/math/distributions/normal.hpp>'
must_allow harness/bench_kernels.cpp '<benchmark/benchmark.h>'
must_allow cuda/gemm_cublas.cpp '<cublas_v2.h>'
must_allow harness/endpoint.cpp '<httplib.h>'
must_allow evals/regex.cpp '<pcre2.h>'
must_allow evals/unicode.cpp '<utf8proc.h>'
must_allow evals/numeric.cpp '<mpfr.h>'
must_allow evals/exact.h '<gmpxx.h>'

[[ $failures == 0 ]] && echo "includes follow the rules"
exit $failures
