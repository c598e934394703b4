// published.h: the numbers that cards, papers and repositories state in text and tables, as data (configs/published).
// Nothing is read off pictures. What is claimed by them and whether it holds: claims.h.
//
// A file holds sets of numbers; `shared` says what all numbers of its set have in common, and each number adds to it or
// overrides it (its conditions key by key).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "harness/result.h"

namespace ringbench {

// Under which a number was obtained, as far as its source says.
struct PublishedConditions {
  std::string phase;  // prefill decode e2e
  std::string task;   // of scores: "aime24"
  std::string device, framework, dtype, sampling, note;
  Maybe<int64_t> ctx;       // prompt tokens, or those in the cache
  Maybe<int64_t> ctx_from;  // stated of all contexts from here on
  Maybe<int64_t> gen;       // tokens generated, or allowed
  Maybe<int64_t> batch, tp, samples, questions;
};

struct PublishedNumber {
  std::string id;        // "lite-linear-ttft-384k"
  std::string what;      // in words: "output throughput", "score"
  std::string model;     // a preset where there is one
  std::string baseline;  // what a ratio or a change is against; else empty
  double value = 0;
  std::string relation = "=";  // = ~ > >= < <=
  std::string unit;            // one of published_units()
  PublishedConditions conditions;
  std::string source;      // public name
  std::string confidence;  // "primary", "third-party digest"
  std::string kind;        // "stated", "derived" (by arithmetic of ours)
  std::string formula;     // of what is derived
  std::string note;
  std::string file;  // "ring-lite-linear.json"
};

// All files of configs/published, by file name, read once. Throws UsageError naming file, place and key for anything
// that is missing, unknown, of a wrong type, or an id that is there twice.
const std::vector<PublishedNumber>& published_numbers();
std::vector<PublishedNumber> read_published(const std::filesystem::path& folder);
// Null: there is none.
const PublishedNumber* find_published(std::string_view id);

const std::vector<std::string>& published_units();

// "3.5x", "~1/6", "> 8k tokens", "-27.24 %", "17.1B".
std::string stated_text(const PublishedNumber& number);

}  // namespace ringbench
