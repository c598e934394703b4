// schedule.h: in which order the points of a run are measured, which are timed together, and which part of them a shard
// takes. Not how they are timed (run.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "harness/plan.h"

namespace ringbench {

// Indices of points that are timed as one: e2e points that differ in `gen` alone, a point of several servers and those
// of its replicas, else a single point.
using Lane = std::vector<size_t>;
// Lanes whose repetitions take turns.
using Turn = std::vector<Lane>;

// Of points[first], points[first + 1], ...: in the order of the grid, but points that can share an engine and its
// caches follow each other, shorter outputs first: a cache counts as far as it has ever been filled. Points that are
// compared with each other make one turn where `interleave` says so of them.
std::vector<Turn> make_turns(std::span<const Point> points, size_t first,
                             const std::function<bool(const Point&)>& interleave);

// Which points the shard-th of `shards` processes takes: every N-th group of those that are compared with each other,
// so that ratios are of one machine. [points]
std::vector<bool> points_of_shard(std::span<const Point> points, int64_t shard, int64_t shards);

}  // namespace ringbench
