#!/usr/bin/env bash
# ringbench against a server that others made: mlx-lm, over HTTP, on the CPU, with a small trained hybrid.
# The first run fetches 48 MB from PyPI into the build folder and keeps them: Python 3.11 or newer, glibc 2.35 or newer.
# What cannot be installed or does not start fails. Without a network: ctest -E real_server_test.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
program=${RINGBENCH_PROGRAM:-$root/build/ringbench}
place=$(dirname "$program")/real-server
checkpoint=$root/evals/training/checkpoints/3-1-s0
packages=(
  mlx-lm==0.32.2 mlx==0.32.4 mlx-cpu==0.32.4 numpy==2.4.6 transformers==5.24.0 tokenizers==0.23.3 huggingface-hub==2.4.0
  safetensors==0.8.0 PyYAML==6.0.4 packaging==26.4 filelock==4.3.1 tqdm==4.70.1 typing_extensions==4.16.0
  fsspec==2026.9.0 regex==2026.11.19 httpx2==2.16.2 httpcore2==2.16.2 anyio==4.16.0 h11==0.16.0 idna==3.20
  truststore==0.10.5 Jinja2==3.1.6 MarkupSafe==3.0.4
)  # what importing mlx_lm.server needs; with all that they ask for it would be 59 MB

. "$root/tests/pypi.sh"
[[ -x $program ]] || give_up "no program $program; RINGBENCH_PROGRAM says where it is"
mkdir -p "$place" && exec 9>"$place/lock" && flock 9  # one at a time in a build folder
work=$(mktemp -d)
server=
stop() {  # the whole process group, and not before it is gone
  [[ -n $server ]] || return 0
  kill -TERM -- "-$server" 2>/dev/null
  for _ in {1..50}; do kill -0 -- "-$server" 2>/dev/null || break; sleep 0.1; done
  kill -KILL -- "-$server" 2>/dev/null
  wait "$server" 2>/dev/null
  server=
}
trap 'stop; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- install it, unless these very versions are there -------------------------------------------------------------
install_from_pypi mlx-lm "${packages[@]}"
rm -rf "$place/model"
python3 "$root/tests/real_server.py" prepare "$checkpoint" "$place/model" || give_up "no model to serve"

# ---- start it -----------------------------------------------------------------------------------------------------
# --prompt-concurrency 1: prompts of different lengths that go through together get padding into their linear states.
# --prompt-cache-size 0: a prompt that equals an earlier one with its answer ends the server's generating thread.
# --chat-template: the model was trained on bare problems, so a chat's text is its messages and nothing else.
mkdir -p "$place/home/hub"  # without such a folder /v1/models answers 200 with an empty body
start() {
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  HF_HOME=$place/home HF_HUB_OFFLINE=1 setsid timeout 570 "$place/venv/bin/python" -m mlx_lm server \
    --model "$place/model" --host 127.0.0.1 --port "$port" --prompt-concurrency 1 --prompt-cache-size 0 \
    --chat-template '{% for m in messages %}{{ m.content }}{% endfor %}' --log-level WARNING \
    >"$work/server.log" 2>&1 9>&- &
  server=$!
}
# ask METHOD PATH [BODY]: the answer as it comes, headers and all.
ask() {
  exec 3<>"/dev/tcp/127.0.0.1/$port" || return 1
  printf '%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' \
    "$1" "$2" "${#3}" "$3" >&3
  timeout 60 cat <&3
  exec 3>&-
}
ready() {  # /health says 200 before the model is loaded, so it must have answered; 503: never again
  local status one='{"prompt": "1", "max_tokens": 1}'
  for _ in {1..300}; do
    kill -0 "$server" 2>/dev/null || return 1
    status=$( (ask GET /health "") 2>/dev/null | head -n 1)
    case $status in
      *' 200 '*) (ask POST /v1/completions "$one") | head -n 1 | grep -q ' 200 ' && return 0 ;;
      *' 503 '*) return 1 ;;
    esac
    sleep 0.2
  done
  return 1
}
for attempt in 1 2; do  # the port may be taken by another in between
  start
  ready && break
  stop
  [[ $attempt == 1 ]] || give_up "mlx-lm does not serve $place/model" "$work/server.log"
done

failures=0
claim() {  # claim NAME TEST...: prints what happened where the test does not hold
  local name=$1
  shift
  if "$@"; then echo "ok: $name"; else
    echo "FAILED: $name ($*)"
    printf 'printed:\n%s\nthe end of the log:\n%s\n' "$output" "$(tail -n 20 "$work/server.log")"
    failures=$((failures + 1))
  fi
}
prints() { [[ $output == *"$1"* ]]; }
lacks() { [[ $output != *"$1"* ]]; }
equal() { [[ $1 == "$2" ]]; }
gone() { ! kill -0 -- "-$1" 2>/dev/null; }

# ---- what this server is like: what the client has to cope with ---------------------------------------------------
output=$(ask GET /v1/models "")
claim "it lists its model by its folder" prints "\"id\": \"$(readlink -f "$place/model")\""
output=$(ask POST /v1/completions '{"prompt": "Compute 99 + 9 * 9.", "max_tokens": 40}')
claim "it solves a problem" prints '= 180. \\boxed{180}'
claim "the end token is one of the answer's tokens, and no text" prints '"completion_tokens": 25'
messages='[{"role": "user", "content": "Compute 99 + 9 * 9."}]'
output=$(ask POST /v1/chat/completions '{"messages": '"$messages"', "max_tokens": 40}')
claim "a chat gives the same" prints '= 180. \\boxed{180}'
output=$(ask POST /v1/completions '{"prompt": [10, 20, 30], "max_tokens": 1}')
claim "token ids are refused" prints 'HTTP/1.0 404'
stream='"stream": true, "stream_options": {"include_usage": true}'
output=$(ask POST /v1/completions '{"prompt": "Compute 1 + 2.", "max_tokens": 3, '"$stream"'}')
claim "a stream's body ends with the connection" lacks 'Content-Length'
claim "a stream begins with comments" prints $'\n\n: keepalive '
claim "a stream has a chunk for each token" equal "$(grep -c '"finish_reason": null' <<<"$output")" 3
claim "a stream has usage" prints '"usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8'
claim "a stream ends with [DONE]" prints $'data: [DONE]'
output=$(ask POST /v1/completions '{"prompt": "Compute 99 + 9 * 9.", "max_tokens": 40, "logit_bias": {"0": -10000}}')
claim "a bias against the end token gives every token that was asked for" prints '"completion_tokens": 40'
output=$(ask POST /v1/completions '{"model": "nobody/nothing", "prompt": "Compute 1 + 2.", "max_tokens": 1}')
claim "a model that it has not is an error" prints 'HTTP/1.0 404'

output=$(python3 "$root/tests/real_server.py" parity "$port" "$place/model" "$program" \
  "Compute 99 + 9 * 9." "Solve 12x + 39 = 255 for x." \
  "Prices: pencil 76, marble 41, carpet 75, honey 42. Price of marble?" 2>&1)
claim "its tokens and logprobs are the reference's" equal $? 0
echo "$output"

# ---- ringbench as its client --------------------------------------------------------------------------------------
# The server takes no token ids and generates 32 streams at once; it computes slopes by mlx's layer index.
cd "$work"
run() { output=$("$program" "$@" 2>&1 </dev/null) && code=0 || code=$?; }
field() { python3 -c 'import json, sys; print(*(json.loads(line)[sys.argv[1]] for line in open(sys.argv[2])))' "$@"; }
same_model=(--weights "$place/model" --slope-layer-offset mlx --dtype f32)
served=("${same_model[@]}" --engine "openai:http://127.0.0.1:$port")
points=(--ctx 64,256 --gen 8 --reps 2 --warmup 0)

run throughput "${served[@]}" "${points[@]}" --batch 1,4 -o served.jsonl
claim "throughput measures it" equal "$code" 0
claim "its prompts have as many tokens as was asked for" equal "$(field isl_actual served.jsonl)" "64 64 256 256 64 64 256 256"
claim "its log-probabilities are the reference's" equal "$(field parity served.jsonl | tr ' ' '\n' | sort -u)" "pass"
claim "the engine of others says who it is" equal "$(field weights served.jsonl | tr ' ' '\n' | sort -u)" "model"

run throughput "${same_model[@]}" --engine reference "${points[@]}" --batch 1,4 --parity off --hybrid model -o ours.jsonl
claim "the same plan runs on the reference" equal "$code" 0
run compare ours.jsonl served.jsonl --across engine --fail-on none
claim "compare pairs their rows" equal "$code" 0
claim "all of them" lacks "UNMATCHED 8"
run prefill "${served[@]/mlx/0}" --ctx 64 --reps 1 --parity require
claim "with slopes by another index it is no longer the reference" equal "$code" 4

run eval tiny-math "${served[@]}" --chat-format none --limit 12 --n 1 --temperature 0 --format jsonl -o eval-served.jsonl
claim "eval asks it" equal "$code" 0
run eval tiny-math "${same_model[@]}" --engine reference --limit 12 --n 1 --temperature 0 --parity off -o eval-ours.jsonl
claim "eval asks the reference" equal "$code" 0
claim "both have the same score" equal "$(field value eval-served.jsonl)" "$(field value eval-ours.jsonl)"

run prefill "${served[@]}" --ctx 64 --served-model nobody/nothing
claim "a model that it has not is refused" equal "$code" 3
claim "with what it has" prints "$(readlink -f "$place/model")"

# ---- it is gone afterwards ----------------------------------------------------------------------------------------
claim "it lived through all of this" kill -0 "$server"
output=$(ask GET /health "")
claim "and is healthy" prints '"ok"'
group=$server
stop
claim "no process of it is left" gone "$group"

echo "$failures failed"
[[ $failures == 0 ]]
