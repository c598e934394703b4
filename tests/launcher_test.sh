#!/usr/bin/env bash
# The launcher ./ringbench, in a tree of its own, among tools that only pretend: dpkg-query, apt-get, sudo, cmake.
# PATH holds nothing else than these and the plain commands that any machine has.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/fake" "$work/plain" "$work/absent" "$work/elsewhere"
for tool in bash cat chmod cp dirname env find flock grep head id ln mkdir mv nproc readlink rm sleep tail tee touch; do
  ln -s "$(command -v "$tool")" "$work/plain/$tool"
done
export PATH=$work/fake:$work/plain WORK=$work
unset RINGBENCH_NO_INSTALL RINGBENCH_DEPS OMP_WAIT_POLICY

fake() { { echo '#!/usr/bin/env bash' && cat; } >"$work/fake/$1" && chmod +x "$work/fake/$1"; }
fake dpkg-query <<'F'
grep -qx "${@: -1}" "$WORK/installed" && echo installed
F
fake apt-get <<'F'
echo "apt-get $*" >>"$WORK/calls"
[[ $1 == install ]] || exit 0
[[ ! -e $WORK/no_network ]] || { echo "E: Unable to fetch some archives"; exit 100; }
for package in "$@"; do
  echo "$package" >>"$WORK/installed"
  case $package in
    cmake) mv "$WORK/absent/cmake" "$WORK/fake/cmake" ;;
    ninja-build) mv "$WORK/absent/ninja" "$WORK/fake/ninja" ;;
    g++) mv "$WORK/absent/c++" "$WORK/fake/c++" ;;
  esac
done
F
fake sudo <<'F'
echo "sudo $*" >>"$WORK/calls"
exec "$@"
F
fake cmake <<'F'
echo "cmake $*" >>"$WORK/calls"
[[ ! -e $WORK/broken_source ]] || { echo "x.cpp:7: error: expected ';'"; exit 1; }
if [[ $1 == --build ]]; then
  mkdir "$WORK/building" || { echo "overlap" >>"$WORK/calls"; exit 1; }
  [[ ! -e $WORK/editing ]] || touch "$2/../reference/model.h"
  sleep 0.2
  {
    echo '#!/usr/bin/env bash'
    echo 'echo "program: $# [$*] in $PWD, $OMP_WAIT_POLICY"'
    echo '[[ ${1:-} != exit ]] || exit "$2"'
    echo '[[ ${1:-} != wait ]] || { echo $$ >"$WORK/pid"; exec sleep 30; }'
  } >"$2/ringbench"
  chmod +x "$2/ringbench"
  rm -r "$WORK/building"
else
  while [[ $1 != -B ]]; do shift; done
  touch "$2/CMakeCache.txt"
fi
F
for tool in ninja c++; do fake "$tool" </dev/null; done

tree=$work/tree
new_tree() {  # a fresh clone, on a machine that has everything
  mv "$work"/absent/* "$work/fake/" 2>/dev/null
  rm -rf "$tree" "$work/calls" "$work/no_network" "$work/broken_source" "$work/fake/id"
  mkdir -p "$tree/reference" "$tree/harness"
  cp "$root/ringbench" "$tree/"
  touch "$tree/CMakeLists.txt" "$tree/reference/model.h" "$tree/harness/main.cpp" "$work/calls"
  printf '%s\n' libeigen3-dev nlohmann-json3-dev libcli11-dev libboost-math-dev libpcre2-dev libutf8proc-dev libgmp-dev libmpfr-dev zlib1g-dev libcpp-httplib-dev libssl-dev \
    ca-certificates >"$work/installed"
}
bare_machine() {  # nothing but apt
  : >"$work/installed"
  mv "$work/fake/cmake" "$work/fake/ninja" "$work/fake/c++" "$work/absent/"
}
as_user() { fake id <<<'echo 1000'; }

failures=0
run() { output=$("$tree/ringbench" "$@" 2>&1 </dev/null) && code=0 || code=$?; }
builds() { grep -c -- '--build' "$work/calls"; }
claim() {  # claim NAME TEST...: prints what happened where the test does not hold
  local name=$1
  shift
  if "$@"; then echo "ok: $name"; else
    echo "FAILED: $name ($*)" && printf 'exit %s, printed:\n%s\ncalls:\n%s\n' "$code" "$output" "$(<"$work/calls")"
    failures=$((failures + 1))
  fi
}
prints() { [[ $output == *"$1"* ]]; }
calls() { grep -qF -- "$1" "$work/calls"; }
never_calls() { ! grep -qF -- "$1" "$work/calls"; }
equal() { [[ $1 == "$2" ]]; }

everything='cmake ninja-build g++ libeigen3-dev nlohmann-json3-dev libcli11-dev libboost-math-dev libpcre2-dev libutf8proc-dev libgmp-dev libmpfr-dev zlib1g-dev libcpp-httplib-dev libssl-dev'

new_tree && bare_machine
RINGBENCH_NO_INSTALL=1 run info
claim "RINGBENCH_NO_INSTALL names the missing packages" prints "missing packages: $everything"
claim "RINGBENCH_NO_INSTALL prints the command" prints "apt-get install -y --no-install-recommends $everything"
claim "RINGBENCH_NO_INSTALL exits 3" equal "$code" 3
claim "RINGBENCH_NO_INSTALL calls nothing" equal "$(<"$work/calls")" ""

fake id <<<'echo 0'
run info
claim "missing packages are named and installed" prints "missing packages: $everything"
claim "package lists are renewed first" equal "$(head -n 1 "$work/calls")" "apt-get update"
claim "root needs no sudo" never_calls sudo
claim "the program runs after the installation" prints 'program: 1 [info]'
claim "exit code 0 is passed on" equal "$code" 0
claim "the build is a Release build" calls '-DCMAKE_BUILD_TYPE=Release'

new_tree && as_user && printf '%s\n' libeigen3-dev nlohmann-json3-dev libboost-math-dev libpcre2-dev libutf8proc-dev libgmp-dev libmpfr-dev zlib1g-dev libcpp-httplib-dev libssl-dev >"$work/installed"
run info
claim "only what is missing is installed, with sudo when not root" calls \
  'sudo apt-get install -y --no-install-recommends libcli11-dev'

new_tree && as_user && bare_machine && mv "$work/fake/sudo" "$work/elsewhere/"
run info
mv "$work/elsewhere/sudo" "$work/fake/"
claim "without root and sudo it says what root should run" prints 'as root, run: apt-get update && apt-get install'
claim "without root and sudo it exits 3" equal "$code" 3

new_tree && bare_machine && touch "$work/no_network"
run info
claim "a failing installation shows apt's words" prints 'E: Unable to fetch'
claim "a failing installation says what to do" prints 'check the network'
claim "a failing installation exits 3" equal "$code" 3

new_tree && echo ca-certificates >"$work/installed"
RINGBENCH_DEPS=fetch run info
claim "RINGBENCH_DEPS=fetch needs no libraries from apt" never_calls apt-get
claim "RINGBENCH_DEPS=fetch reaches cmake" calls '-DRINGBENCH_DEPS=fetch'

new_tree && touch "$work/broken_source"
run info
claim "a failing build shows the compiler's words" prints "x.cpp:7: error: expected ';'"
claim "a failing build says what to do" prints 'remove'
claim "a failing build exits 3" equal "$code" 3
rm "$work/broken_source"
run info
claim "it builds once the source is mended" prints 'program: 1 [info]'

new_tree
run exit 7
claim "the exit code is passed on" equal "$code" 7
: >"$work/calls"
run exit 7
claim "nothing changed: cmake is not called" equal "$(<"$work/calls")" ""
claim "nothing changed: nothing is said" equal "$output" "program: 2 [exit 7] in $PWD, passive"
run 'two words'
claim "arguments keep their spaces" prints 'program: 1 [two words]'
OMP_WAIT_POLICY=active run
claim "the user's OMP_WAIT_POLICY stays" prints ', active'

touch "$tree/reference/model.h" && run
claim "a changed source is built" equal "$(builds)" 1
touch "$tree/harness/new.cpp" && run
claim "a new source is built" equal "$(builds)" 2
rm "$tree/harness/new.cpp" && run
claim "a source that is gone is built without" equal "$(builds)" 3
mkdir -p "$tree/.git/logs" && touch "$tree/.git/logs/HEAD" && run
claim "a commit is built in" equal "$(builds)" 4
run
claim "and then nothing more" equal "$(builds)" 4
touch "$work/editing" "$tree/reference/model.h" && run && rm "$work/editing" && run
claim "what was edited during a build is built by the next" equal "$(builds)" 6
RINGBENCH_DEPS=fetch run
claim "other dependencies: everything is built again" calls --clean-first

ln -sf "$tree/ringbench" "$work/elsewhere/rb"
output=$(cd "$work/elsewhere" && RINGBENCH_DEPS=fetch ./rb 2>&1) && code=0 || code=$?
claim "through a link, from another folder, in that folder" equal "$output" "program: 0 [] in $work/elsewhere, passive"

new_tree
"$tree/ringbench" first >"$work/first" 2>&1 &
"$tree/ringbench" second >"$work/second" 2>&1 &
wait
output=$(cat "$work/first" "$work/second")
claim "of two at once one builds" equal "$(builds)" 1
claim "of two at once both run" equal "$(grep -c '^program' <<<"$output")" 2

"$tree/ringbench" wait >/dev/null 2>&1 &
launcher=$!
for _ in {1..50}; do [[ -s $work/pid ]] || sleep 0.1; done
claim "the program takes the launcher's place" equal "$(<"$work/pid")" "$launcher"
kill -TERM "$launcher"
wait "$launcher" 2>/dev/null && code=0 || code=$?
claim "a signal reaches the program" equal "$code" 143

echo "$failures failed"
[[ $failures == 0 ]]
