#include "harness/schedule.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "harness/engines.h"
#include "harness/session.h"

namespace ringbench {
namespace {

// The same for points that are timed as one; empty: this one is timed alone.
std::string lane_key(const Point& point) {
  if (!point.error.empty()) return "";
  if (is_served(point.engine)) return comparison_key(point) + " " + point.config_sha;
  return point.phase == "e2e" ? session_key(point) + " " + std::to_string(point.requests) : "";
}

}  // namespace

std::vector<Turn> make_turns(std::span<const Point> points, size_t first,
                             const std::function<bool(const Point&)>& interleave) {
  std::map<std::string, size_t> rank;  // of sessions, by their first point
  std::vector<size_t> order;
  for (size_t i = first; i < points.size(); ++i) {
    rank.emplace(session_key(points[i]), rank.size());
    order.push_back(i);
  }
  const auto place = [&](size_t i) { return std::pair(rank.at(session_key(points[i])), points[i].gen); };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return place(a) < place(b); });
  std::vector<Turn> turns;
  std::map<std::string, std::pair<size_t, size_t>> lanes;  // turn and lane, by lane_key()
  std::map<std::string, size_t> compared;                  // turn of points that are compared
  for (const size_t i : order) {
    const Point& point = points[i];
    const std::string key = lane_key(point);
    if (const auto found = lanes.find(key); found != lanes.end()) {
      turns[found->second.first][found->second.second].push_back(i);
      continue;
    }
    size_t turn = turns.size();
    if (interleave(point) && point.error.empty()) turn = compared.emplace(comparison_key(point), turn).first->second;
    if (turn == turns.size()) turns.emplace_back();
    turns[turn].push_back({i});
    if (!key.empty()) lanes[key] = {turn, turns[turn].size() - 1};
  }
  return turns;
}

std::vector<bool> points_of_shard(std::span<const Point> points, int64_t shard, int64_t shards) {
  std::map<std::string, int64_t> group;
  std::vector<bool> mine;
  for (const Point& point : points) {
    const int64_t number = group.emplace(comparison_key(point), static_cast<int64_t>(group.size())).first->second;
    mine.push_back(number % shards == shard - 1);
  }
  return mine;
}

}  // namespace ringbench
