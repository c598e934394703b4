// device_weights.h: one model's weights in device memory, packed as the kernels want them, whatever names and layout
// the checkpoint has. Random weights are made on the device; stored ones are streamed through pinned memory.
#pragma once

#include <vector>

#include "cuda/gpu.h"
#include "reference/config.h"
#include "reference/weights.h"

namespace ringbench::RINGBENCH_BACKEND {

// Letters as in kernels.h; H hidden_size, W an MLP's width. What a layer does not have is empty.
template <class Real> struct DeviceMlp {
  int64_t width = 0;
  DeviceBuffer<Real> gate_up, down;             // [2 W, H]: gate rows, then up rows; [H, W]. Experts: [E, ...] of both
  DeviceBuffer<float> gate_up_bias, down_bias;  // [E, 2 W], [E, H] (GPT-OSS)
};

template <class Real> struct DeviceLayer {
  DeviceBuffer<float> input_norm, post_attention_norm;  // [H]
  // [(n + 2 kv) d, H]: all q, all k, all v. Linear layers with a plain gate have its n d rows after them: one product.
  DeviceBuffer<Real> qkv;
  DeviceBuffer<float> qkv_bias;
  int64_t qkv_rows = 0;                    // of qkv, gate included
  DeviceBuffer<float> q_norm, k_norm;      // [d]
  DeviceBuffer<float> sinks;               // [n]
  DeviceBuffer<Real> gate_low, gate_high;  // low-rank gate: [d, H], [n d, d]
  DeviceBuffer<float> gate_norm;           // [n d]
  DeviceBuffer<float> log_decay;           // [n]
  DeviceBuffer<Real> o_proj;               // [H, n d]
  DeviceBuffer<float> o_bias;              // [H]

  DeviceMlp<Real> dense, shared, experts;
  DeviceBuffer<Real> router;        // [E, H]
  DeviceBuffer<float> router_bias;  // [E]
  DeviceBuffer<float> expert_bias;  // [E]
};

template <class Real> struct DeviceWeights {
  DeviceBuffer<Real> embeddings;  // [vocab_size, H]
  std::vector<DeviceLayer<Real>> layers;
  DeviceBuffer<float> final_norm;  // [H]
  DeviceBuffer<Real> lm_head;      // [vocab_size, H]; empty where it is the embeddings
  int64_t bytes = 0;
};

// Makes all of them. With null `weights`, nothing is allocated: only sizes and `bytes` are right.
template <class Real>
DeviceWeights<Real> make_device_weights(const ModelConfig& config, const Weights* weights, const Stream& stream);

}  // namespace ringbench::RINGBENCH_BACKEND
