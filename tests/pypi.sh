# What shell tests share that run programs of others from PyPI: sourced with $place, a folder that stays, and $work, one
# that does not.

give_up() {  # MESSAGE [LOG]
  echo "FAILED: $1"
  [[ ! -s ${2:-} ]] || { echo "the end of its output:" && tail -n 20 "$2"; }
  exit 1
}

# install_from_pypi NAME PACKAGE==VERSION...: into $place/venv, unless these very versions are there; without what they ask for.
install_from_pypi() {
  local name=$1
  shift
  [[ $(cat "$place/installed" 2>/dev/null) != "$*" ]] || return 0
  rm -rf "$place/venv" "$place/installed"
  python3 -m venv "$place/venv" >"$work/log" 2>&1 ||
    give_up "python3 -m venv (Debian and Ubuntu have it in the package python3-venv)" "$work/log"
  "$place/venv/bin/pip" install --disable-pip-version-check --no-deps --no-compile "$@" >"$work/log" 2>&1 </dev/null ||
    give_up "no $name from PyPI; without a network: ctest -E $(basename "$0" .sh)" "$work/log"
  echo "$*" >"$place/installed"
}
