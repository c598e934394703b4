#include "harness/served.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "harness/endpoint_url.h"
#include "harness/failure.h"
#include "harness/progress.h"

namespace ringbench {
namespace {

using Json = nlohmann::ordered_json;

EndpointOptions endpoint_options(const Plan& plan) {
  EndpointOptions options;
  options.model = plan.served_model;
  return options;
}

uint64_t fresh_seed() {
  std::random_device device;
  return uint64_t{device()} << 20 ^ device();  // a record's integers are signed
}

}  // namespace

Served::Served(const Plan& plan, const std::string& engine) : plan_(plan), input_seed_(fresh_seed()) {
  for (EndpointUrl& url : parse_endpoint_urls(engine))
    replicas_.push_back(std::make_unique<ServerEndpoint>(std::move(url), endpoint_options(plan)));
}

void Served::start(const std::filesystem::path& log, const std::function<void(const std::string&)>& progress) {
  if (!plan_.start.empty()) {
    if (replicas_.front()->is_ready())
      throw UsageError("--start: " + replicas_.front()->url().text() + " answers already.",
                       "stop what runs there, or leave --start out to measure it");
    process_ = std::make_unique<ServerProcess>(plan_.start, log);
    for (const auto& replica : replicas_) wait_for(*replica, progress);
  }
  for (const auto& replica : replicas_) identities_.push_back(replica->connect());
  refusal_of_token_ids_ = replicas_.front()->refusal_of_token_ids();
  if (refusal_of_token_ids_.empty() || identity().kind != ServerKind::sglang) return;
  if (!replicas_.front()->refusal_of_token_ids(CompletionApi::generate).empty()) return;
  api_ = CompletionApi::generate;
  refusal_of_token_ids_.clear();
}

void Served::wait_for(ServerEndpoint& replica, const std::function<void(const std::string&)>& progress) {
  const auto told = [&](double seconds) { progress("waiting for the server  " + duration_text(std::round(seconds))); };
  try {
    process_->wait_until_ready([&] { return replica.is_ready(); }, plan_.ready_timeout_s, told);
  } catch (const Failure&) {
    if (interrupted()) throw Interrupted();
    throw;
  }
}

std::string Served::settings() const {
  Json list = Json::array();
  for (size_t i = 0; i < identities_.size(); ++i) {
    const ServerIdentity& identity = identities_[i];
    Json server = {{"url", replicas_[i]->url().text()},
                   {"name", identity.name},
                   {"version", identity.version},
                   {"model", identity.model},
                   {"models", identity.models}};
    server["max_model_len"] = identity.max_model_len ? Json(*identity.max_model_len) : Json(nullptr);
    server["settings"] = Json::parse(identity.settings, nullptr, false);
    list.push_back(std::move(server));
  }
  return list.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<CacheCounters> Served::cache_counters(int64_t replica) {
  CacheCounters all;
  for (int64_t i = 1; i <= std::ssize(replicas_); ++i) {
    if (replica > 0 && i != replica) continue;
    const std::optional<CacheCounters> its = replicas_[static_cast<size_t>(i - 1)]->cache_counters();
    if (!its) return std::nullopt;
    all.queried += its->queried;
    all.hit += its->hit;
  }
  return all;
}

const ClientOverhead& Served::client_overhead(int64_t streams) {
  const auto [found, first] = overheads_.try_emplace(streams);
  if (first) found->second = measure_client_overhead(static_cast<int>(streams));
  return found->second;
}

}  // namespace ringbench
