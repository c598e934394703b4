#include "harness/completion.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "harness/loose_json.h"

namespace ringbench {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kErrorBytes = 300;

std::optional<int32_t> token_id_of(const Json& json) {
  constexpr std::string_view prefix = "token_id:";  // vLLM with return_tokens_as_token_ids
  const std::string text = text_of(json);
  const Json number = text.starts_with(prefix) ? Json::parse(text.substr(prefix.size()), nullptr, false) : json;
  const int64_t id = integer_of(number).value_or(-1);
  return id >= 0 && id <= INT32_MAX ? std::optional(static_cast<int32_t>(id)) : std::nullopt;
}

std::string message_of(const Json& error) {
  const std::string message = text_of(member(error, "message"));
  return !message.empty() ? message : !text_of(error).empty() ? text_of(error) : error.dump();
}

// The error that an answer or an event tells of; empty: none.
std::string error_in(const Json& json) {
  if (const Json& error = member(json, "error"); !error.is_null()) return message_of(error);
  if (member(json, "object") == "error") return message_of(json);  // vLLM before 0.9
  return text_of(member(json, "detail"));                          // FastAPI
}

// --- Logprobs: one shape for each API ---

void add_likeliest(TokenLogprob& token, const Json& name, const Json& logprob) {
  if (logprob.is_number()) token.likeliest.emplace_back(text_of(name), logprob.get<double>());
}

void add_token(CompletionEvent& event, const Json& token, const Json& id, const Json& logprob, const Json& likeliest) {
  if (!logprob.is_number()) return;
  TokenLogprob entry{text_of(token), token_id_of(id), logprob.get<double>(), {}};
  if (likeliest.is_object())
    for (const auto& [name, value] : likeliest.items()) add_likeliest(entry, name, value);
  else if (likeliest.is_array())
    for (const Json& other : likeliest) add_likeliest(entry, member(other, "token"), member(other, "logprob"));
  event.logprobs.push_back(std::move(entry));
}

void take_logprobs(CompletionEvent& event, const Json& logprobs) {
  const Json& tokens = member(logprobs, "tokens");
  for (size_t i = 0; i < tokens.size(); ++i)
    add_token(event, element(tokens, i), element(tokens, i), element(member(logprobs, "token_logprobs"), i),
              element(member(logprobs, "top_logprobs"), i));
  const Json& content = member(logprobs, "content");
  if (!content.is_array()) return;
  for (const Json& entry : content) {
    const Json& id = member(entry, "id");  // of mlx-lm; vLLM has it in place of the token
    add_token(event, member(entry, "token"), id.is_null() ? member(entry, "token") : id, member(entry, "logprob"),
              member(entry, "top_logprobs"));
  }
}

// --- Events ---

void take_usage(CompletionReply& reply, const Json& usage) {
  const auto set = [](std::optional<int64_t>& count, const Json& value) {
    if (const auto number = integer_of(value)) count = number;
  };
  set(reply.prompt_tokens, member(usage, "prompt_tokens"));
  set(reply.completion_tokens, member(usage, "completion_tokens"));
  set(reply.cached_tokens, member(usage, "cached_tokens"));
  set(reply.cached_tokens, member(member(usage, "prompt_tokens_details"), "cached_tokens"));
}

void take_choice(CompletionReply& reply, CompletionEvent& event, const Json& choice) {
  const Json &piece = member(choice, "delta"), &delta = piece.is_null() ? member(choice, "message") : piece;
  event.text = text_of(member(choice, "text")) + text_of(member(delta, "content"));
  for (const char* key : {"reasoning_content", "reasoning"})  // servers differ in the word, none sends both
    if (event.reasoning.empty()) event.reasoning = text_of(member(delta, key));
  take_logprobs(event, member(choice, "logprobs"));
  if (const Json& ids = member(choice, "token_ids"); ids.is_array())
    for (const Json& id : ids)
      if (const auto known = token_id_of(id)) event.token_ids.push_back(*known);
  if (const std::string reason = text_of(member(choice, "finish_reason")); !reason.empty())
    reply.finish_reason = reason;
}

void put_sampling(Json& body, const Sampling& sampling, ServerKind kind) {
  const Sampling standard;
  const bool all = kind != ServerKind::openai;
  body["temperature"] = sampling.temperature;
  body["top_p"] = sampling.top_p;
  if (all || sampling.top_k != standard.top_k) body["top_k"] = sampling.top_k == 0 ? -1 : sampling.top_k;
  if (all || sampling.min_p != standard.min_p) body["min_p"] = sampling.min_p;
  if (all || sampling.repetition_penalty != standard.repetition_penalty)
    body["repetition_penalty"] = sampling.repetition_penalty;
}

Json generate_body(const CompletionRequest& request, ServerKind kind) {
  Json body = Json::object(), sampling = {{"max_new_tokens", request.max_tokens}};
  if (request.tokens.empty())
    body["text"] = request.text;
  else
    body["input_ids"] = request.tokens;
  put_sampling(sampling, request.sampling, kind);
  if (request.fixed_length) sampling.update({{"min_new_tokens", request.max_tokens}, {"ignore_eos", true}});
  if (request.seed) sampling["sampling_seed"] = *request.seed;
  if (!request.stop.empty()) sampling["stop"] = request.stop;
  body["sampling_params"] = sampling;
  if (request.stream) body["stream"] = true;
  if (request.logprobs) body.update({{"return_logprob", true}, {"top_logprobs_num", *request.logprobs}});
  return body;
}

void put_logprobs(Json& body, const CompletionRequest& request, ServerKind kind) {
  if (request.logprobs_flag)
    body["logprobs"] = true;
  else if (request.api == CompletionApi::chat)
    body.update({{"logprobs", true}, {"top_logprobs", *request.logprobs}});
  else
    body["logprobs"] = *request.logprobs;
  if (kind == ServerKind::vllm) body["return_tokens_as_token_ids"] = true;
}

Json openai_body(const CompletionRequest& request, const std::string& model, ServerKind kind) {
  Json body = {{"model", model}};
  if (request.api == CompletionApi::chat) {
    body["messages"] = Json::array();
    for (const ChatMessage& message : request.messages)
      body["messages"].push_back({{"role", message.role}, {"content", message.content}});
  } else if (request.tokens.empty()) {
    body["prompt"] = request.text;
  } else {
    body["prompt"] = request.tokens;
  }
  body["max_tokens"] = request.max_tokens;
  if (request.fixed_length) body.update({{"min_tokens", request.max_tokens}, {"ignore_eos", true}});
  put_sampling(body, request.sampling, kind);
  if (request.seed) body["seed"] = *request.seed;
  if (!request.stop.empty()) body["stop"] = request.stop;
  if (request.logprobs) put_logprobs(body, request, kind);
  if (!request.stream) return body;
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  // With every event, how many tokens there are by now: an event may hold several, or one without a text.
  if (kind != ServerKind::openai) body["stream_options"]["continuous_usage_stats"] = true;
  return body;
}

template <class Predicate>
std::optional<double> time_of(const std::vector<CompletionEvent>& events, const Predicate& wanted) {
  const auto found = std::find_if(events.begin(), events.end(), wanted);
  return found == events.end() ? std::nullopt : std::optional(found->at_s);
}

bool carries_token(const CompletionEvent& event) { return event.carries_token; }

}  // namespace

std::string one_line(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool blank = byte <= 0x20 || byte == 0x7f;
    if (blank && (line.empty() || line.back() == ' ')) continue;
    line += blank ? ' ' : c;
  }
  while (line.ends_with(' ')) line.pop_back();
  if (line.size() <= kErrorBytes) return line;
  size_t end = kErrorBytes - 3;
  while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0) == 0x80) --end;  // not within a character
  return line.substr(0, end) + "...";
}

std::string error_message(std::string_view body) {
  const Json json = Json::parse(body, nullptr, false);
  if (const std::string message = error_in(json); !message.empty()) return one_line(message);
  std::string text(body);
  for (char& c : text)
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';  // of an encoding that nobody knows
  return one_line(text);
}

std::string completion_path(CompletionApi api) {
  switch (api) {
    case CompletionApi::chat: return "/v1/chat/completions";
    case CompletionApi::generate: return "/generate";
    case CompletionApi::completions: break;
  }
  return "/v1/completions";
}

std::string completion_body(const CompletionRequest& request, const std::string& model, ServerKind kind) {
  const Json body =
      request.api == CompletionApi::generate ? generate_body(request, kind) : openai_body(request, model, kind);
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// --- The reply ---

std::optional<double> CompletionReply::first_event_s() const {
  return events.empty() ? std::nullopt : std::optional(events.front().at_s);
}

std::optional<double> CompletionReply::ttft_s() const { return time_of(events, carries_token); }

std::optional<double> CompletionReply::last_token_s() const {
  const auto last = std::find_if(events.rbegin(), events.rend(), carries_token);
  return last == events.rend() ? std::nullopt : std::optional(last->at_s);
}

std::string CompletionReply::text() const {
  std::string all;
  for (const CompletionEvent& event : events) all += event.text;
  return all;
}

std::string CompletionReply::reasoning() const {
  std::string all;
  for (const CompletionEvent& event : events) all += event.reasoning;
  return all;
}

// --- The stream ---

void CompletionStream::take(const SseEvent& sse, double at_s) {
  if (sse.data == "[DONE]") {
    done_ = true;
    reply_.end_s = at_s;
    return;
  }
  const Json json = Json::parse(sse.data, nullptr, false);
  if (!json.is_object()) return fail("an event is not a JSON object: " + sse.data);
  if (const std::string error = error_in(json); !error.empty()) return fail("the server says: " + error);
  CompletionEvent event;
  event.at_s = at_s;
  if (api_ == CompletionApi::generate) {
    take_generated(event, json);
  } else {
    const Json &usage = member(json, "usage"), &choice = element(member(json, "choices"), 0);
    take_usage(reply_, usage);
    if (choice.is_object()) {  // the event of the final counts has none
      take_choice(reply_, event, choice);
      event.tokens_so_far = integer_of(member(usage, "completion_tokens"));
    }
  }
  const int64_t before = std::exchange(tokens_so_far_, event.tokens_so_far.value_or(tokens_so_far_));
  event.carries_token = !event.text.empty() || !event.reasoning.empty() || !event.logprobs.empty() ||
                        !event.token_ids.empty() || (counts_ && tokens_so_far_ > before);
  reply_.events.push_back(std::move(event));
}

// Text, ids and logprobs are all there were so far, or, of a server that was started so, the new ones alone.
void CompletionStream::take_generated(CompletionEvent& event, const nlohmann::ordered_json& json) {
  const Json& meta = member(json, "meta_info");
  take_usage(reply_, meta);
  event.tokens_so_far = integer_of(member(meta, "completion_tokens"));
  const std::string text = text_of(member(json, "text"));
  event.text = text.starts_with(text_so_far_) ? text.substr(text_so_far_.size()) : text;
  text_so_far_ += event.text;
  const auto first_new = [&](const Json& list) {
    return static_cast<int64_t>(list.size()) == event.tokens_so_far ? static_cast<size_t>(tokens_so_far_) : 0;
  };
  const Json &ids = member(json, "output_ids"), &logprobs = member(meta, "output_token_logprobs");
  for (size_t i = first_new(ids); i < ids.size(); ++i)
    if (const auto id = token_id_of(element(ids, i))) event.token_ids.push_back(*id);
  for (size_t i = first_new(logprobs); i < logprobs.size(); ++i) {
    const Json& entry = element(logprobs, i);  // [logprob, id, text or null]
    add_token(event, element(entry, 2), element(entry, 1), element(entry, 0), {});
  }
  const Json& reason = member(meta, "finish_reason");
  if (member(reason, "type") == "abort") fail("the server says: " + message_of(reason));
  const std::string type = reason.is_object() ? text_of(member(reason, "type")) : text_of(reason);
  if (!type.empty()) reply_.finish_reason = type;
}

void CompletionStream::end() {
  if (!done_ && reply_.finish_reason.empty()) fail("the stream ended before its end");
}

void CompletionStream::fail(const std::string& what) {
  if (reply_.error.empty()) reply_.error = one_line(what);
}

}  // namespace ringbench
