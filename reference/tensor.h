// tensor.h: arrays with a shape. TensorView and Tensor know element type and rank at compile time, HostTensor at run
// time. All are dense and row-major, with 64-bit sizes. No arithmetic here.
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "reference/bf16.h"

namespace ringbench {

enum class DType { f64, f32, f16, bf16, i64, i32, u8 };

constexpr int64_t size_of(DType type) {
  switch (type) {
    case DType::f64:
    case DType::i64: return 8;
    case DType::f32:
    case DType::i32: return 4;
    case DType::f16:
    case DType::bf16: return 2;
    case DType::u8: return 1;
  }
  return 0;
}

constexpr std::string_view name_of(DType type) {
  switch (type) {
    case DType::f64: return "f64";
    case DType::f32: return "f32";
    case DType::f16: return "f16";
    case DType::bf16: return "bf16";
    case DType::i64: return "i64";
    case DType::i32: return "i32";
    case DType::u8: return "u8";
  }
  return "?";
}

template <class T> constexpr DType dtype_of() {
  using U = std::remove_cv_t<T>;
  if constexpr (std::is_same_v<U, double>)
    return DType::f64;
  else if constexpr (std::is_same_v<U, float>)
    return DType::f32;
  else if constexpr (std::is_same_v<U, bf16>)
    return DType::bf16;
  else if constexpr (std::is_same_v<U, int64_t>)
    return DType::i64;
  else if constexpr (std::is_same_v<U, int32_t>)
    return DType::i32;
  else {
    static_assert(std::is_same_v<U, uint8_t>, "no DType for this element type");
    return DType::u8;
  }
}

inline int64_t element_count(std::span<const int64_t> shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

// "[2048, 128]", for messages.
inline std::string shape_string(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// Somebody else's memory: element type and rank in the type, sizes at run time.
template <class T, int Rank> struct TensorView {
  T* data = nullptr;
  std::array<int64_t, Rank> shape{};

  int64_t size() const { return element_count(shape); }
};

// An array whose element type is known at run time; owns its memory. Used where tensors cross a border: files,
// states of engines, hooks. Fresh memory is not initialised.
class HostTensor {
 public:
  HostTensor() = default;
  HostTensor(DType dtype, std::vector<int64_t> shape)
      : dtype_(dtype), shape_(std::move(shape)), data_(new std::byte[static_cast<size_t>(bytes())]) {}

  DType dtype() const { return dtype_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t size() const { return data_ ? element_count(shape_) : 0; }
  int64_t bytes() const { return element_count(shape_) * size_of(dtype_); }
  bool empty() const { return data_ == nullptr; }
  std::byte* raw() { return data_.get(); }
  const std::byte* raw() const { return data_.get(); }

  // The elements as T; throws std::logic_error if the tensor holds another type.
  template <class T> std::span<T> as() {
    require(dtype_of<T>());
    return {reinterpret_cast<T*>(data_.get()), static_cast<size_t>(size())};
  }
  template <class T> std::span<const T> as() const {
    require(dtype_of<T>());
    return {reinterpret_cast<const T*>(data_.get()), static_cast<size_t>(size())};
  }

 private:
  void require(DType wanted) const {
    if (dtype_ != wanted)
      throw std::logic_error("tensor holds " + std::string(name_of(dtype_)) + ", asked for " +
                             std::string(name_of(wanted)));
  }

  DType dtype_ = DType::f32;
  std::vector<int64_t> shape_{0};
  std::unique_ptr<std::byte[]> data_;
};

// A read-only look at a tensor whose element type is known at run time: what files and hooks hand out.
struct HostTensorView {
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  const std::byte* data = nullptr;

  HostTensorView() = default;
  HostTensorView(DType type, std::vector<int64_t> sizes, const void* elements)
      : dtype(type), shape(std::move(sizes)), data(static_cast<const std::byte*>(elements)) {}
  HostTensorView(const HostTensor& t) : dtype(t.dtype()), shape(t.shape()), data(t.raw()) {}  // NOLINT: a view of it
  int64_t size() const { return element_count(shape); }
  int64_t bytes() const { return size() * size_of(dtype); }
  template <class T> std::span<const T> as() const {
    if (dtype != dtype_of<T>()) throw std::logic_error("tensor holds " + std::string(name_of(dtype)));
    return {reinterpret_cast<const T*>(data), static_cast<size_t>(size())};
  }
};

}  // namespace ringbench
