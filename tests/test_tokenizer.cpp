// The tokenizer: exactly what Hugging Face fast tokenizers give (tests/goldens/tokenizer), byte pairs against the
// plainest way to merge, long and awkward texts in linear time, damaged files, and the command `tokenize`.
#include "evals/tokenizer.h"

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "evals/byte_pairs.h"
#include "evals/unicode.h"
#include "tests/catch.h"
#include "tests/checks.h"
#include "tests/folder.h"
#include "tests/golden.h"
#include "tests/json_file.h"
#include "tests/program.h"

using namespace ringbench;
namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

const fs::path folder = goldens() / "tokenizer";

Tokenizer with_changes(const std::function<void(Json&)>& change) {
  Json file = read_json(folder / "v1" / "tokenizer.json");
  change(file);
  return Tokenizer::parse(file.dump(), "tokenizer.json");
}

}  // namespace

TEST_CASE("ids, pieces and texts are those of Hugging Face's tokenizers, for both forms of merges") {
  for (const char* name : {"v1", "v2"}) {
    const Json golden = read_json(folder / name / "golden.json");
    const Tokenizer tokenizer = Tokenizer::load(folder / name);
    CHECK(tokenizer.size() == golden["vocab_size"]);
    for (const Json& one : golden["encode"]) {
      INFO(one["text"]);
      REQUIRE(tokenizer.encode(one["text"].get<std::string>()) == one["ids"].get<std::vector<int32_t>>());
      REQUIRE(tokenizer.split(one["text"].get<std::string>()) ==
              one["pieces_without_special_tokens"].get<std::vector<std::string>>());
    }
    for (const Json& one : golden["chats"])
      REQUIRE(tokenizer.encode(one["text"].get<std::string>()) == one["ids"].get<std::vector<int32_t>>());
    REQUIRE(golden["decode"].size() == 59);
    for (const Json& one : golden["decode"]) {
      INFO(one["note"]);
      const auto ids = one["ids"].get<std::vector<int32_t>>();
      REQUIRE(tokenizer.decode(ids) == one["text"]);
      REQUIRE(tokenizer.decode(ids, true) == one["text_skip_special"]);
    }
  }
}

TEST_CASE("other patterns, NFC, digits, splits, added tokens and templates: also as Hugging Face's") {
  const Json golden = read_json(folder / "variants.json");
  REQUIRE(golden["variants"].size() == 18);
  for (const Json& variant : golden["variants"]) {
    const Tokenizer tokenizer = with_changes([&](Json& file) {
      for (const auto& [key, value] : variant["changes"].items()) file[key] = value;
      file["model"]["ignore_merges"] = variant["ignore_merges"];
    });
    for (const Json& one : variant["encode"]) {
      INFO(variant["name"] << " " << one["text"]);
      REQUIRE(tokenizer.encode(one["text"].get<std::string>()) == one["ids"].get<std::vector<int32_t>>());
    }
    if (!variant.contains("decode")) continue;
    for (const Json& one : variant["decode"]) {
      REQUIRE(tokenizer.decode(one["ids"].get<std::vector<int32_t>>()) == one["text"]);
      REQUIRE(tokenizer.decode(one["ids"].get<std::vector<int32_t>>(), true) == one["text_skip_special"]);
    }
  }
}

TEST_CASE("byte pairs merge the lowest rank first, the leftmost first, in short and long pieces") {
  // Ranks that the merges' order does not follow: a token made late takes part in early merges.
  BytePairs pairs;
  for (int32_t b = 0; b < 256; ++b) pairs.byte_ids[static_cast<size_t>(b)] = b;
  std::map<std::pair<int32_t, int32_t>, std::pair<int32_t, int32_t>> merges;  // pair -> rank, merged
  std::mt19937 random(5);
  for (int32_t i = 0; i < 60; ++i) {
    const auto any = [&] {
      const auto r = static_cast<int32_t>(random() % static_cast<uint32_t>(3 + i));
      return r < 3 ? 'a' + r : 256 + r - 3;
    };
    const int32_t left = any(), right = any(), rank = 1000 - static_cast<int32_t>(random() % 900);
    if (merges.contains({left, right}) ||
        std::any_of(merges.begin(), merges.end(), [&](const auto& m) { return m.second.first == rank; }))
      continue;
    merges[{left, right}] = {rank, 256 + i};
    pairs.add_merge(left, right, rank, 256 + i);
  }
  for (int trial = 0; trial < 400; ++trial) {
    std::string piece(random() % 120 + 1, 'a');
    for (char& c : piece) c = static_cast<char>('a' + static_cast<int>(random() % 3));
    std::vector<int32_t> expected(piece.begin(), piece.end());
    for (;;) {
      size_t best = expected.size();
      int32_t best_rank = INT32_MAX;
      for (size_t i = 0; i + 1 < expected.size(); ++i) {
        const auto merge = merges.find({expected[i], expected[i + 1]});
        if (merge != merges.end() && merge->second.first < best_rank) best = i, best_rank = merge->second.first;
      }
      if (best == expected.size()) break;
      expected[best] = merges[{expected[best], expected[best + 1]}].second;
      expected.erase(expected.begin() + static_cast<ptrdiff_t>(best) + 1);
    }
    std::vector<int32_t> ids;
    pairs.encode(piece, ids);
    INFO(piece);
    REQUIRE(ids == expected);
  }
}

TEST_CASE("texts come back, whatever is in them") {
  const Tokenizer tokenizer = Tokenizer::load(folder / "v2");
  std::mt19937 random(2);
  for (int trial = 0; trial < 300; ++trial) {
    std::string bytes(random() % 200, '\0');
    for (char& c : bytes) c = static_cast<char>(random() % (trial % 2 == 0 ? 256 : 128));
    const std::string text = replace_invalid_utf8(bytes);
    REQUIRE(first_invalid_utf8(text) == text.size());
    REQUIRE(tokenizer.decode(tokenizer.encode(text)) == text);
    if (const size_t bad = first_invalid_utf8(bytes); bad < bytes.size())
      REQUIRE_THROWS_WITH(tokenizer.encode(bytes), "the text is not UTF-8: byte " + std::to_string(bad) + ".");
  }
}

TEST_CASE("a long line of one letter, and other awkward texts, take time in proportion") {
  const Tokenizer plain = Tokenizer::load(folder / "v1");
  const Tokenizer nfc = with_changes([](Json& file) { file["normalizer"] = {{"type", "NFC"}}; });
  constexpr size_t size = 1'000'000;
  // Quadratic, any of these would take an hour.
  for (const std::string unit :
       {"a", " ", "ab", "\n", "\n ", "<", "<|", "'", "1", "\xCC\x81\xCC\x96", "\xE4\xBD\xA0"}) {
    const std::string text = repeated(unit, size / unit.size()) + "x";
    INFO(unit);
    const auto start = std::chrono::steady_clock::now();
    CHECK(plain.decode(plain.encode(text)) == text);
    CHECK_FALSE(nfc.encode(text).empty());
    CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() <= 60);
  }
}

TEST_CASE("a pattern that never comes to an end is given up") {
  const Tokenizer tokenizer = with_changes(
      [](Json& file) { file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(a+)+(b|c)*[de]+$"; });
  CHECK_THROWS_WITH(tokenizer.encode(repeated("a", 60) + "f"),
                    "the tokenizer's pattern takes too many steps on this text.");
}

TEST_CASE("NFC composes, orders marks, and leaves the rest") {
  CHECK(to_nfc("e\xCC\x81") == "\xC3\xA9");
  CHECK(to_nfc("a\xCC\x81\xCC\xA3") == "\xE1\xBA\xA1\xCC\x81");             // the dot below comes first and joins the a
  CHECK(to_nfc("\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8") == "\xEA\xB0\x81");  // Hangul
  CHECK(to_nfc("\xE2\x84\xAB") == "\xC3\x85");                              // Angstrom sign
  CHECK(to_nfc("\xEF\xAC\x81 \xC2\xBD") == "\xEF\xAC\x81 \xC2\xBD");        // ligature and fraction: only NFKC
  CHECK(to_nfc(std::string("\0\xCC\x81", 3)) == std::string("\0\xCC\x81", 3));
}

TEST_CASE("damaged and other kinds of tokenizer.json are refused by file and key") {
  const auto refuses = [](const std::string& message, const std::function<void(Json&)>& change) {
    INFO(message);
    std::string what;
    try {
      with_changes(change);
    } catch (const TokenizerError& e) {
      what = e.what();
    }
    CHECK(what.find("tokenizer.json: " + message) == 0);
    CHECK(what.find('\n') == std::string::npos);
  };
  refuses("model.merges[3] needs the token \"q\xC4\xA0\", which model.vocab lacks.",
          [](Json& file) { file["model"]["merges"][3] = "q\xC4\xA0 t"; });
  refuses("model.merges[0] needs the token \"ta\xC4\xA0\", which", [](Json& file) {
    file["model"]["merges"][0] = {"t", "a\xC4\xA0"};
    file["model"]["vocab"]["a\xC4\xA0"] = 5000;
  });
  refuses("model.merges[1] is not two tokens", [](Json& file) { file["model"]["merges"][1] = "abc"; });
  refuses("model.merges[1] is not two tokens", [](Json& file) { file["model"]["merges"][1] = "a b c"; });
  refuses("model.merges[1] is neither", [](Json& file) { file["model"]["merges"][1] = {"a", "b", "c"}; });
  refuses("model.merges is missing or no list.", [](Json& file) { file["model"].erase("merges"); });
  refuses("model.vocab is missing or no object.", [](Json& file) { file["model"]["vocab"] = Json::array(); });
  refuses("model.vocab[\"t\"] is no token id", [](Json& file) { file["model"]["vocab"]["t"] = -1; });
  refuses("model.vocab[\"t\"] has the id of another token, 7.", [](Json& file) { file["model"]["vocab"]["t"] = 7; });
  refuses("model.vocab has no token for byte 32, \"\xC4\xA0\".",
          [](Json& file) { file["model"]["vocab"].erase("\xC4\xA0"); });
  refuses("model is of type Unigram; supported is BPE.", [](Json& file) { file["model"]["type"] = "Unigram"; });
  refuses("model is of type WordPiece; supported is BPE.", [](Json& file) { file["model"]["type"] = "WordPiece"; });
  refuses("model.dropout is not supported", [](Json& file) { file["model"]["dropout"] = 0.1; });
  refuses("model.end_of_word_suffix is not supported",
          [](Json& file) { file["model"]["end_of_word_suffix"] = "</w>"; });
  refuses("normalizer is of type NFKC; supported are", [](Json& file) { file["normalizer"] = {{"type", "NFKC"}}; });
  refuses("pre_tokenizer is of type Metaspace; supported are", [](Json& file) {
    file["pre_tokenizer"] = {{"type", "Metaspace"}};
  });
  refuses("pre_tokenizer has no part ByteLevel", [](Json& file) { file["pre_tokenizer"]["pretokenizers"].erase(1); });
  refuses("pre_tokenizer.pretokenizers[1] comes after the part ByteLevel", [](Json& file) {
    auto& parts = file["pre_tokenizer"]["pretokenizers"];
    std::swap(parts[0], parts[1]);
  });
  const auto pattern = [](const std::string& regex) {
    return [regex](Json& file) { file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = regex; };
  };
  const std::string at = "pre_tokenizer.pretokenizers[0].pattern.Regex ";
  refuses(at + "is no regular expression: ", pattern("(a"));
  refuses(at + "uses \\h, which is not supported here.", pattern("\\h+"));
  refuses(at + "uses '}+', which is ambiguous, which", pattern("a{1,3}+"));
  refuses("pre_tokenizer.pretokenizers[0].behavior is missing or unknown.",
          [](Json& file) { file["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Eaten"; });
  refuses("decoder is of type WordPiece; supported is ByteLevel.", [](Json& file) {
    file["decoder"] = {{"type", "WordPiece"}};
  });
  refuses("post_processor is of type BertProcessing; supported are", [](Json& file) {
    file["post_processor"] = {{"type", "BertProcessing"}};
  });
  refuses("added_tokens[0].id is missing.", [](Json& file) { file["added_tokens"][0].erase("id"); });
  refuses("added_tokens[1] has the id of another token, 1400.",
          [](Json& file) { file["added_tokens"][1]["id"] = 1400; });
  refuses("added_tokens[0].special is neither true nor false.",
          [](Json& file) { file["added_tokens"][0]["special"] = "yes"; });

  CHECK_THROWS_WITH(Tokenizer::parse("{\"model\": ", "x.json"), "x.json: not a JSON object.");
  CHECK_THROWS_AS(Tokenizer::parse(repeated("[", 1'000'000), "x.json"), TokenizerError);
  const Folder empty;
  CHECK_THROWS_WITH(Tokenizer::load(empty.path), "there is no tokenizer.json in " + empty.path.string() + ".");
}

TEST_CASE("tokenize: one line for each line, and back; bad lines are named and nothing is left half done") {
  const Folder where;
  const std::string model = " --model '" + (folder / "v2").string() + "' ";
  std::ofstream(where.path / "in.jsonl") << "{\"text\": \"<role>1+1\"}\n{\"text\": \"\"}\n{\"text\": \"\\u00e9\"}\n";
  REQUIRE(shell("$R tokenize" + model + "--in in.jsonl --out ids.jsonl", where.path).code == 0);
  CHECK(read_file(where.path / "ids.jsonl") == "{\"ids\":[1404,16,10,16]}\n{\"ids\":[]}\n{\"ids\":[127,102]}\n");
  REQUIRE(shell("$R tokenize" + model + "--in ids.jsonl --out out.jsonl --decode", where.path).code == 0);
  CHECK(read_file(where.path / "out.jsonl") == "{\"text\":\"<role>1+1\"}\n{\"text\":\"\"}\n{\"text\":\"\xC3\xA9\"}\n");
  REQUIRE(shell("$R tokenize" + model + "--in ids.jsonl --out out.jsonl --decode --skip-special", where.path).code ==
          0);
  CHECK(read_file(where.path / "out.jsonl").find("{\"text\":\"1+1\"}\n") == 0);

  std::ofstream(where.path / "bad.jsonl") << "{\"text\": \"a\"}\n{\"txt\": \"b\"}\n";
  const auto refuses = [&](const std::string& flags, const std::string& message) {
    INFO(flags);
    const Ran r = shell("$R tokenize " + flags, where.path);
    CHECK(r.code == 2);
    CHECK(r.out.empty());
    CHECK(r.err.find("error: " + message) == 0);
  };
  const std::string before = read_file(where.path / "out.jsonl");
  refuses(model + "--in bad.jsonl --out out.jsonl", "--in: bad.jsonl:2: \"text\" is missing.\n");
  CHECK(read_file(where.path / "out.jsonl") == before);
  CHECK_FALSE(fs::exists(where.path / "out.jsonl.unfinished"));
  refuses(model + "--in in.jsonl --out out.jsonl --decode", "--in: in.jsonl:1: \"ids\" is missing.\n");
  refuses(model + "--in none.jsonl --out out.jsonl", "--in: cannot read 'none.jsonl'.\n");
  refuses(model + "--in in.jsonl --out no/out.jsonl",
          "--out: cannot write 'no/out.jsonl': No such file or directory.\n");
  refuses(model + "--in in.jsonl", "--out FILE is missing.\n");
  refuses(model + "--in in.jsonl --out x --skip-special", "--skip-special: only with --decode.\n");
  refuses("--model . --in in.jsonl --out x", "there is no tokenizer.json in .");
  refuses("--model nowhere --in in.jsonl --out x", "--model: 'nowhere' is neither a folder nor");
}

TEST_CASE("loss --text is loss --tokens of the tokenizer's ids") {
  const Folder where;
  const fs::path model = where.path / "model";
  fs::copy(goldens() / "v2_hybrid", model, fs::copy_options::recursive);
  fs::copy(folder / "v1" / "tokenizer.json", model / "tokenizer.json");
  const std::string text = repeated("1+2=3\n10-7=3 ", 30);  // bytes alone: ids below the 250 of this model
  std::ofstream(where.path / "text.txt") << text;
  std::ofstream(where.path / "text.jsonl") << Json({{"text", text}}) << "\n" << Json({{"text", ""}}) << "\n";
  std::ofstream(where.path / "ids.json") << Json({{"input_ids", Tokenizer::load(model).encode(text)}});
  const auto rows_of = [&](const std::string& flags) {
    Json rows = Json::parse(shell("$R loss --weights model --ctx 100 --json -q " + flags, where.path).out);
    for (Json& row : rows) row.erase("source");
    return rows;
  };
  const Json by_ids = rows_of("--tokens ids.json");
  CHECK(by_ids[0]["windows"] == 4);
  CHECK(rows_of("--text text.txt") == by_ids);
  CHECK(rows_of("--text text.jsonl") == by_ids);

  const auto refuses = [&](const std::string& more, const std::string& message) {
    const Ran r = shell("$R loss " + more, where.path);
    CHECK(r.code == 2);
    CHECK(r.err.find("error: " + message) == 0);
  };
  std::ofstream(where.path / "words.txt") << "the words";
  std::ofstream(where.path / "empty.txt");
  std::ofstream(where.path / "latin1.txt") << "caf\xE9";
  refuses("--weights model --text words.txt", "--text: words.txt: the tokenizer gives token ");
  refuses("--weights model --text empty.txt",
          "--text: empty.txt: no document has two tokens; nothing can be predicted.");
  refuses("--weights model --text latin1.txt", "--text: latin1.txt: the text is not UTF-8: byte 3.\n");
  refuses("--weights model --text none.txt", "--text: cannot read 'none.txt'.\n");
  refuses("--weights '" + (goldens() / "v2_hybrid").string() + "' --text words.txt", "there is no tokenizer.json in ");
  refuses("--model tiny --text words.txt", "--text: which tokenizer?");
}
