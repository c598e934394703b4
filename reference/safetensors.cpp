// safetensors.cpp: tensors on disk: opening and checking files (the header is text that anybody may have written),
// writing them, and finding checkpoints in the Hugging Face cache. What the tensors mean is not known here.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "reference/weights.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors holds little-endian numbers");

constexpr uint64_t max_header_bytes = 100'000'000;  // the limit of the public readers

constexpr std::array<std::pair<std::string_view, DType>, 7> file_dtypes{{{"BF16", DType::bf16},
                                                                         {"F16", DType::f16},
                                                                         {"F32", DType::f32},
                                                                         {"F64", DType::f64},
                                                                         {"I64", DType::i64},
                                                                         {"I32", DType::i32},
                                                                         {"U8", DType::u8}}};

std::string_view file_name_of(DType dtype) {
  for (const auto& [name, type] : file_dtypes)
    if (type == dtype) return name;
  return "?";
}

// JSON that nests no deeper than `max_depth` objects and arrays and names no key twice in one object.
json parse_json(std::string_view text, int max_depth, const std::string& source) {
  std::vector<std::set<std::string>> keys(static_cast<size_t>(max_depth) + 1);  // of the open object at each depth
  const auto check = [&](int depth, json::parse_event_t event, const json& parsed) {
    if (event == json::parse_event_t::object_start || event == json::parse_event_t::array_start) {
      if (depth >= max_depth)
        throw WeightsError(source + ": JSON nested deeper than " + std::to_string(max_depth) + " levels");
      keys[static_cast<size_t>(depth) + 1].clear();
    } else if (event == json::parse_event_t::key) {
      const std::string& key = parsed.get_ref<const std::string&>();
      if (!keys[static_cast<size_t>(depth)].insert(key).second)
        throw WeightsError(source + ": " + quoted(key) + " is there twice");
    }
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), check);
  } catch (const json::exception& error) {
    throw WeightsError(source + ": not valid JSON: " + std::string(error.what()).substr(0, 200));
  }
}

int64_t parse_size(const json& value, const std::string& where) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
    throw WeightsError(where + " is not a list of sizes (whole numbers from 0 to 2^63-1)");
  return value.get<int64_t>();
}

int64_t checked_bytes(const std::vector<int64_t>& shape, DType dtype, const std::string& where) {
  int64_t bytes = size_of(dtype);
  for (const int64_t size : shape)
    if (__builtin_mul_overflow(bytes, size, &bytes)) throw WeightsError(where + " overflows 63 bits");
  return bytes;
}

struct Extent {
  int64_t begin = 0, end = 0;  // bytes from the start of the data
  std::string name;
};

// One entry of a header: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}. `data` is all of the file's data.
std::pair<HostTensorView, Extent> parse_entry(const std::string& name, const json& entry,
                                              std::span<const std::byte> data, const std::string& source) {
  const std::string tensor = source + ": tensor " + quoted(name);
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") || !entry.contains("data_offsets"))
    throw WeightsError(tensor + ": expected an object with dtype, shape and data_offsets");
  const json &dtype_name = entry["dtype"], &shape = entry["shape"], &offsets = entry["data_offsets"];

  if (!dtype_name.is_string()) throw WeightsError(tensor + ": dtype is not a string");
  const auto known = std::find_if(file_dtypes.begin(), file_dtypes.end(),
                                  [&](const auto& d) { return d.first == dtype_name.get_ref<const std::string&>(); });
  if (known == file_dtypes.end())
    throw WeightsError(tensor + ": dtype " + quoted(dtype_name.get<std::string>()) +
                       " is not supported; convert it to one of BF16, F16, F32, F64, I64, I32, U8");

  if (!shape.is_array()) throw WeightsError(tensor + ": shape is not a list of sizes");
  HostTensorView view;
  view.dtype = known->second;
  for (const json& size : shape) view.shape.push_back(parse_size(size, tensor + ": shape"));
  const int64_t bytes = checked_bytes(view.shape, view.dtype, tensor + ": shape " + shape_string(view.shape));

  if (!offsets.is_array() || offsets.size() != 2) throw WeightsError(tensor + ": data_offsets is not [begin, end]");
  const int64_t begin = parse_size(offsets[0], tensor + ": data_offsets");
  const int64_t end = parse_size(offsets[1], tensor + ": data_offsets");
  if (end < begin || end - begin != bytes)
    throw WeightsError(tensor + ": data_offsets [" + std::to_string(begin) + ", " + std::to_string(end) +
                       "] do not hold " + shape_string(view.shape) + " " + std::string(name_of(view.dtype)) + " (" +
                       std::to_string(bytes) + " bytes)");
  if (end > static_cast<int64_t>(data.size()))
    throw WeightsError(tensor + " ends at byte " + std::to_string(end) + " of the data, the file holds " +
                       std::to_string(data.size()) + "; is it cut short? Fetch it again");
  view.data = data.data() + begin;
  return {std::move(view), Extent{begin, end, name}};
}

// Every byte of the data belongs to one tensor.
void check_cover(std::vector<Extent> extents, int64_t data_bytes, const std::string& source) {
  std::sort(extents.begin(), extents.end(),
            [](const Extent& a, const Extent& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  int64_t covered = 0;
  for (const Extent& extent : extents) {
    if (extent.begin != covered)
      throw WeightsError(source + ": tensor " + quoted(extent.name) + " begins at byte " +
                         std::to_string(extent.begin) + " of the data, " +
                         (extent.begin < covered ? "inside the tensor before it" : "after a gap") + ": expected " +
                         std::to_string(covered));
    covered = extent.end;
  }
  if (covered != data_bytes)
    throw WeightsError(source + ": " + std::to_string(data_bytes - covered) + " trailing bytes after the last tensor");
}

[[noreturn]] void throw_system_error(const fs::path& path, const std::string& action) {
  throw WeightsError(path.string() + ": cannot " + action + ": " + std::generic_category().message(errno));
}

class File {
 public:
  File(const fs::path& path, int flags, const std::string& action)
      : descriptor(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (descriptor < 0) throw_system_error(path, action);
  }
  ~File() { ::close(descriptor); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const int descriptor;
};

// weight_map of a model.safetensors.index.json: tensor -> shard, a file beside the index.
std::map<std::string, std::string> read_index(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) throw WeightsError(path.string() + ": cannot read");
  const json index = parse_json(text, 4, path.string());
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    throw WeightsError(path.string() + ": expected an object with a \"weight_map\" of tensor names to files");
  std::map<std::string, std::string> shards;
  for (const auto& [name, shard] : index["weight_map"].items()) {
    if (!shard.is_string() || shard.get<std::string>().empty() ||
        shard.get<std::string>().find_first_of(std::string_view("/\0", 2)) != std::string::npos)
      throw WeightsError(path.string() + ": tensor " + quoted(name) +
                         ": expected the name of a file in the same folder");
    shards[name] = shard.get<std::string>();
  }
  if (shards.empty()) throw WeightsError(path.string() + ": \"weight_map\" is empty");
  return shards;
}

void write_all(int descriptor, const void* data, size_t bytes, const fs::path& path) {
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(descriptor, next, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw_system_error(path, "write");
    next += written;
    bytes -= static_cast<size_t>(written);
  }
}

// Header length and header, padded so that the data begins at a multiple of 8. `tensors` in the order of their data.
std::string make_header(const fs::path& path, const std::vector<std::pair<std::string, HostTensorView>>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t begin = 0;
  for (const auto& [name, view] : tensors) {
    if (header.contains(name) || name == "__metadata__")
      throw WeightsError(path.string() + ": cannot write: two tensors or metadata are named " + quoted(name));
    header[name] = {
        {"dtype", file_name_of(view.dtype)}, {"shape", view.shape}, {"data_offsets", {begin, begin + view.bytes()}}};
    begin += view.bytes();
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception&) {
    throw WeightsError(path.string() + ": cannot write: a tensor's name or metadata is not UTF-8");
  }
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t header_bytes = text.size();
  std::string length(sizeof(header_bytes), '\0');
  std::memcpy(length.data(), &header_bytes, sizeof(header_bytes));
  return length + text;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

std::string quoted(const std::string& name) {
  const std::string head = name.size() <= 200 ? name : name.substr(0, 200) + "...";
  return json(head).dump(-1, ' ', true, json::error_handler_t::replace);
}

// One file, mapped read-only.
struct SafeTensors::Mapping {
  explicit Mapping(const fs::path& path) {
    const File file(path, O_RDONLY | O_NONBLOCK, "open");  // a pipe is refused below, not waited for
    struct stat status {};
    if (::fstat(file.descriptor, &status) != 0) throw_system_error(path, "read");
    if (!S_ISREG(status.st_mode)) throw WeightsError(path.string() + ": not a file");
    size = static_cast<size_t>(status.st_size);
    if (size == 0) return;  // mmap refuses it; the header check names it
    address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.descriptor, 0);
    if (address == MAP_FAILED) throw_system_error(path, "map");
  }
  ~Mapping() {
    if (size > 0) ::munmap(address, size);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(address), size}; }

  void* address = nullptr;
  size_t size = 0;
};

std::map<std::string, HostTensorView> SafeTensors::parse_header(std::span<const std::byte> file,
                                                                const std::string& source) {
  uint64_t header_bytes = 0;
  if (file.size() < sizeof(header_bytes))
    throw WeightsError(source + ": " + std::to_string(file.size()) +
                       " bytes are too few for a safetensors file, which begins with 8 bytes of header length");
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  const auto rest = file.subspan(sizeof(header_bytes));
  if (header_bytes > max_header_bytes)
    throw WeightsError(source + ": header of " + std::to_string(header_bytes) + " bytes, at most " +
                       std::to_string(max_header_bytes) + " are allowed; is this a safetensors file?");
  if (header_bytes > rest.size())
    throw WeightsError(source + ": header of " + std::to_string(header_bytes) + " bytes, the file holds " +
                       std::to_string(rest.size()) + " after its length; is it cut short? Fetch it again");
  const auto data = rest.subspan(header_bytes);

  const json header = parse_json({reinterpret_cast<const char*>(rest.data()), header_bytes}, 3, source);
  if (!header.is_object()) throw WeightsError(source + ": header is not a JSON object of tensors");
  std::map<std::string, HostTensorView> tensors;
  std::vector<Extent> extents;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object() || !std::all_of(entry.begin(), entry.end(), [](const json& v) { return v.is_string(); }))
        throw WeightsError(source + ": __metadata__ is not an object of strings");
      continue;
    }
    auto [view, extent] = parse_entry(name, entry, data, source);
    tensors.emplace(name, std::move(view));
    extents.push_back(std::move(extent));
  }
  check_cover(std::move(extents), static_cast<int64_t>(data.size()), source);
  return tensors;
}

SafeTensors SafeTensors::open(const fs::path& path) {
  SafeTensors result;
  result.source_ = path.string();
  const auto map_file = [&](const fs::path& file) {
    result.files_.push_back(std::make_shared<const Mapping>(file));
    return parse_header(result.files_.back()->bytes(), file.string());
  };

  std::error_code ignored;
  if (!fs::exists(path, ignored)) throw WeightsError(path.string() + ": no such file or folder");
  if (!fs::is_directory(path, ignored)) {
    result.tensors_ = map_file(path);
    return result;
  }
  const fs::path index = path / "model.safetensors.index.json";
  if (fs::exists(path / "model.safetensors", ignored)) {
    result.tensors_ = map_file(path / "model.safetensors");
    return result;
  }
  if (!fs::exists(index, ignored))
    throw WeightsError(path.string() + ": neither model.safetensors nor model.safetensors.index.json is there");

  const auto shard_of = read_index(index);
  std::set<std::string> shards;
  for (const auto& [name, shard] : shard_of) shards.insert(shard);
  for (const std::string& shard : shards) {
    if (!fs::exists(path / shard, ignored))
      throw WeightsError((path / shard).string() + ": shard is missing, the index names it; fetch it again");
    for (auto& [name, view] : map_file(path / shard)) {
      const auto entry = shard_of.find(name);
      if (entry == shard_of.end() || entry->second != shard)
        throw WeightsError((path / shard).string() + ": holds tensor " + quoted(name) + ", which the index " +
                           (entry == shard_of.end() ? "does not have" : "places in " + quoted(entry->second)));
      result.tensors_.emplace(name, std::move(view));
    }
  }
  for (const auto& [name, shard] : shard_of)
    if (!result.contains(name))
      throw WeightsError((path / shard).string() + ": tensor " + quoted(name) +
                         " is missing, the index places it here");
  return result;
}

const HostTensorView& SafeTensors::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw WeightsError(source_ + ": no tensor " + quoted(name));
  return found->second;
}

void write_safetensors(const fs::path& path, const std::vector<std::pair<std::string, HostTensorView>>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  auto ordered = tensors;
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const auto& a, const auto& b) { return size_of(a.second.dtype) > size_of(b.second.dtype); });
  const std::string header = make_header(path, ordered, metadata);
  const auto write_to = [&](const fs::path& target, int flags, bool sync) {
    const File file(target, O_WRONLY | flags, "write");
    write_all(file.descriptor, header.data(), header.size(), target);
    for (const auto& [name, view] : ordered)
      write_all(file.descriptor, view.data, static_cast<size_t>(view.bytes()), target);
    if (sync && ::fsync(file.descriptor) != 0) throw_system_error(target, "write");
  };

  std::error_code ignored;
  if (fs::exists(path, ignored) && !fs::is_regular_file(path, ignored)) return write_to(path, 0, false);
  const fs::path temporary = path.string() + ".part" + std::to_string(::getpid());
  try {
    write_to(temporary, O_CREAT | O_TRUNC, true);
    if (::rename(temporary.c_str(), path.c_str()) != 0) throw_system_error(path, "write");
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

fs::path find_checkpoint(const std::string& name) {
  std::error_code ignored;
  if (fs::is_directory(name, ignored)) return name;

  const size_t slash = name.find('/');
  if (slash == 0 || slash == std::string::npos || slash + 1 == name.size() ||
      name.find('/', slash + 1) != std::string::npos)
    return {};
  fs::path hub;
  if (const std::string cache = environment("HF_HUB_CACHE"); !cache.empty())
    hub = cache;
  else if (const std::string home = environment("HF_HOME"); !home.empty())
    hub = fs::path(home) / "hub";
  else if (const std::string xdg = environment("XDG_CACHE_HOME"); !xdg.empty())
    hub = fs::path(xdg) / "huggingface" / "hub";
  else
    hub = fs::path(environment("HOME")) / ".cache" / "huggingface" / "hub";

  const fs::path repository = hub / ("models--" + name.substr(0, slash) + "--" + name.substr(slash + 1));
  std::string revision;
  std::ifstream(repository / "refs" / "main") >> revision;
  const fs::path snapshot = repository / "snapshots" / revision;
  return !revision.empty() && fs::is_directory(snapshot, ignored) ? snapshot : fs::path{};
}

}  // namespace ringbench
