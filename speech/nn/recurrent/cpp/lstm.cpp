// The LSTM as two operators of TensorFlow, SpeechLstm and SpeechLstmGradient: the part that has to go frame by frame.
//
// A frame multiplies few rows, the states of a batch, with a matrix that is larger than the caches: 67 MB at width
// 2048. A general library packs the matrix anew in each call, or reads it with large strides; both cost as much as the
// product. Here it is packed once, in the order in which it is read, and what comes next is fetched from memory while
// the processor multiplies. What makes gates, states and their gradients out of the product happens where the product
// is still in the cache.
//
// The units of a frame are cut into tasks, which any thread takes. Each number is summed in an order that follows from
// the width alone, so results do not depend on the number of threads. Of TensorFlow only the C interface is used.

#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_status.h"
#include "tensorflow/c/tf_tensor.h"

namespace {

constexpr int64_t kUnits = 32;          // of the LSTM, in a task
constexpr int64_t kBlock = 512;         // words of depth that are multiplied at a time
constexpr int kDepthStep = 4;           // of which so many in one turn of the innermost loop
constexpr int64_t kTasksPerThread = 2;  // at least, of each frame; with fewer, threads wait for each other

// Here and not of the standard library, so that kernel.h may use it.
inline __attribute__((always_inline)) int64_t least(int64_t one, int64_t two) { return one < two ? one : two; }

// Words of the block of depth that begins at `begin`.
inline __attribute__((always_inline)) int64_t block_depth(int64_t words, int64_t begin) {
  return least(kBlock, words - begin);
}

struct Run {
  int64_t frames, rows, hidden, tasks, threads;
  float* panels;   // the packed kernel
  float* left[2];  // the packed left factors, states or gradients of gates: the one that is read, the one that is made
};

struct Forward : Run {
  const void* projected;  // [frames, rows, 4 * hidden], floats or bfloat16 numbers
  bool halves;
  const float *state_c, *state_h;
  float *activations, *cells, *outputs;
};

struct Backward : Run {
  const float *d_outputs, *d_last_c, *d_last_h, *activations, *cells, *state_c;
  void* d_gates;  // [frames, rows, 4 * hidden], floats or bfloat16 numbers
  bool halves;
  float *d_bias, *d_state_c, *d_state_h;  // d_state_c is that of the frame at hand
};

}  // namespace

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define SPEECH_KERNEL avx2
#define SPEECH_PAIRS 0
namespace avx2 {
using Vector = __m256;
constexpr int kLanes = 8;
constexpr int64_t kTileRows = 6;
static inline Vector load(const float* from) { return _mm256_loadu_ps(from); }
static inline void store(float* to, Vector value) { _mm256_storeu_ps(to, value); }
static inline Vector broadcast(const float* from) { return _mm256_broadcast_ss(from); }
static inline Vector fused(Vector a, Vector b, Vector sum) { return _mm256_fmadd_ps(a, b, sum); }
static inline Vector multiply_add(Vector a, Vector b, Vector sum) { return fused(a, b, sum); }

static inline void transpose_8x8(uint32_t square[8][8]) {
  __m256 row[8], pair[8];
  for (int i = 0; i < 8; ++i) row[i] = _mm256_loadu_ps(reinterpret_cast<const float*>(square[i]));
  for (int i = 0; i < 8; i += 2) {
    pair[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
    pair[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    row[i] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0x44);
    row[i + 1] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0xee);
    row[i + 2] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0x44);
    row[i + 3] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(reinterpret_cast<float*>(square[i]), _mm256_permute2f128_ps(row[i], row[i + 4], 0x20));
    _mm256_storeu_ps(reinterpret_cast<float*>(square[i + 4]), _mm256_permute2f128_ps(row[i], row[i + 4], 0x31));
  }
}
}  // namespace avx2
#include "kernel.h"
#undef SPEECH_KERNEL
#undef SPEECH_PAIRS
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")
#define SPEECH_KERNEL avx512
#define SPEECH_PAIRS 0
namespace avx512 {
using avx2::transpose_8x8;
using Vector = __m512;
constexpr int kLanes = 16;
constexpr int64_t kTileRows = 8;
static inline Vector load(const float* from) { return _mm512_loadu_ps(from); }
static inline void store(float* to, Vector value) { _mm512_storeu_ps(to, value); }
static inline Vector broadcast(const float* from) { return _mm512_set1_ps(*from); }
static inline Vector fused(Vector a, Vector b, Vector sum) { return _mm512_fmadd_ps(a, b, sum); }
static inline Vector multiply_add(Vector a, Vector b, Vector sum) { return fused(a, b, sum); }
}  // namespace avx512
#include "kernel.h"
#undef SPEECH_KERNEL
#undef SPEECH_PAIRS
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#define SPEECH_KERNEL avx512_bf16
#define SPEECH_PAIRS 1
namespace avx512_bf16 {
using avx512::broadcast;
using avx512::fused;
using avx512::kLanes;
using avx512::kTileRows;
using avx512::load;
using avx512::store;
using avx512::transpose_8x8;
using avx512::Vector;
static inline Vector multiply_add(Vector a, Vector b, Vector sum) {
  return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_castps_si512(a), (__m512bh)_mm512_castps_si512(b));
}
static inline Vector widened(const uint16_t* words) {
  typedef uint16_t Halves __attribute__((vector_size(kLanes * sizeof(uint16_t))));
  typedef uint32_t Words __attribute__((vector_size(kLanes * sizeof(uint32_t))));
  Halves halves;
  __builtin_memcpy(&halves, words, sizeof halves);
  return (Vector)(__builtin_convertvector(halves, Words) << 16);
}
static inline void store_narrowed(uint16_t* words, Vector value) {
  const __m256bh narrow = _mm512_cvtneps_pbh(value);
  __builtin_memcpy(words, &narrow, sizeof narrow);
}
}  // namespace avx512_bf16
#include "kernel.h"
#undef SPEECH_KERNEL
#undef SPEECH_PAIRS
#pragma GCC pop_options

namespace {

struct Kernel {
  int64_t words_of_units;
  decltype(&avx512::pack_forward) pack_forward, pack_backward;
  decltype(&avx512::begin_forward) begin_forward;
  decltype(&avx512::forward) forward;
  decltype(&avx512::backward) backward;
  bool (*runs_here)();
};

// Numbered as in speech/nn/recurrent/recurrence.py.
const Kernel kKernels[] = {
    {kUnits, avx2::pack_forward, avx2::pack_backward, avx2::begin_forward, avx2::forward, avx2::backward,
     [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }},
    {kUnits, avx512::pack_forward, avx512::pack_backward, avx512::begin_forward, avx512::forward, avx512::backward,
     [] {
       return kKernels[0].runs_here() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
     }},
    {kUnits / 2, avx512_bf16::pack_forward, avx512_bf16::pack_backward, avx512_bf16::begin_forward,
     avx512_bf16::forward, avx512_bf16::backward,
     [] { return kKernels[1].runs_here() && __builtin_cpu_supports("avx512bf16"); }},
};
constexpr int64_t kKernelCount = sizeof kKernels / sizeof *kKernels;

// Spins a while, then lets others run: what is waited for takes microseconds, unless its thread has lost its processor.
template <typename Condition>
void wait_until(const Condition& holds) {
  for (int spins = 0; !holds(); ++spins) {
    if (spins < 1000) {
      _mm_pause();
    } else {
      std::this_thread::yield();
    }
  }
}

// Numbers too small for full precision become 0, as in TensorFlow's own threads: in all threads, or results would
// depend on which one computed them.
class FlushesToZero {
 public:
  FlushesToZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  FlushesToZero(const FlushesToZero&) = delete;
  ~FlushesToZero() { _mm_setcsr(before_); }

 private:
  const unsigned before_;
};

// Threads for tasks. Whoever has tasks works on them as well, so they get done even without another thread.
class Pool {
 public:
  static Pool& instance() {
    static Pool* pool = new Pool;  // never destroyed: its threads may outlive what runs at exit
    return *pool;
  }

  void set_threads(int threads) {
    std::lock_guard<std::mutex> lock(mutex_);
    threads_ = std::max(1, threads);
  }

  int64_t threads() {
    std::lock_guard<std::mutex> lock(mutex_);
    return threads_;
  }

  // Calls `task` with 0 to `tasks` - 1, begun in this order, on at most `threads` threads.
  void run(int64_t tasks, int64_t threads, const std::function<void(int64_t)>& task) {
    const FlushesToZero flushes;
    if (threads <= 1) {
      for (int64_t one = 0; one < tasks; ++one) task(one);
      return;
    }
    auto job = std::make_shared<Job>(&task, tasks, threads - 1);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      for (; started_ + 1 < threads_; ++started_) std::thread([this] { work(); }).detach();
      jobs_.push_back(job);
    }
    wake_.notify_all();
    job->work();
    wait_until([&] { return job->left.load(std::memory_order_acquire) == 0; });
    std::lock_guard<std::mutex> lock(mutex_);
    jobs_.erase(std::find(jobs_.begin(), jobs_.end(), job));
  }

 private:
  struct Job {
    Job(const std::function<void(int64_t)>* task, int64_t tasks, int64_t helpers)
        : task(task), tasks(tasks), helpers(helpers), left(tasks) {}

    void work() {
      for (int64_t one; (one = next.fetch_add(1)) < tasks;) {
        (*task)(one);
        left.fetch_sub(1, std::memory_order_release);
      }
    }

    const std::function<void(int64_t)>* task;  // alive until `left` is 0
    const int64_t tasks;
    int64_t helpers;  // that may still come; guarded by the pool's mutex
    std::atomic<int64_t> next{0}, left;
  };

  void work() {
    const FlushesToZero flushes;
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      auto found = std::find_if(jobs_.begin(), jobs_.end(), [](const std::shared_ptr<Job>& job) {
        return job->helpers > 0 && job->next.load() < job->tasks;
      });
      if (found == jobs_.end()) {
        wake_.wait(lock);
        continue;
      }
      std::shared_ptr<Job> job = *found;
      --job->helpers;
      lock.unlock();
      job->work();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Job>> jobs_;
  int threads_ = 1, started_ = 0;
};

// Memory that outlives a call, as fresh memory costs a page fault for every 4 kB.
class Scratch {
 public:
  explicit Scratch(int64_t count) {
    {
      std::lock_guard<std::mutex> lock(mutex());
      auto& kept = buffers();
      auto found = std::find_if(kept.begin(), kept.end(), [&](const Buffer& one) { return one.count >= count; });
      if (found != kept.end()) {
        buffer_ = *found;
        kept.erase(found);
        return;
      }
    }
    buffer_.count = count;
    const size_t bytes = (count * sizeof(float) + kLine - 1) / kLine * kLine;
    buffer_.data = static_cast<float*>(std::aligned_alloc(kLine, std::max(bytes, kLine)));
  }
  Scratch(const Scratch&) = delete;
  ~Scratch() {
    if (!buffer_.data) return;
    std::lock_guard<std::mutex> lock(mutex());
    auto& kept = buffers();
    kept.insert(std::upper_bound(kept.begin(), kept.end(), buffer_,
                                 [](const Buffer& one, const Buffer& two) { return one.count < two.count; }),
                buffer_);
    if (kept.size() > kMostKept) {  // the smallest is the cheapest to make anew
      std::free(kept.front().data);
      kept.erase(kept.begin());
    }
  }

  float* data() const { return buffer_.data; }  // null where memory is short

 private:
  static constexpr size_t kLine = 64, kMostKept = 4;
  struct Buffer {
    float* data;
    int64_t count;
  };
  static std::mutex& mutex() {
    static std::mutex* one = new std::mutex;
    return *one;
  }
  static std::vector<Buffer>& buffers() {  // by size
    static auto* kept = new std::vector<Buffer>;
    return *kept;
  }

  Buffer buffer_{};
};

// A call of an operator: its tensors, and its first error.
class Call {
 public:
  explicit Call(TF_OpKernelContext* context) : context_(context), status_(TF_NewStatus()) {}
  Call(const Call&) = delete;
  ~Call() {
    if (TF_GetCode(status_) != TF_OK) TF_OpKernelContext_Failure(context_, status_);
    for (TF_Tensor* tensor : tensors_) TF_DeleteTensor(tensor);
    TF_DeleteStatus(status_);
  }

  // Input `index`, which must have this shape; null once something has failed.
  TF_Tensor* input(int index, const std::vector<int64_t>& shape) {
    TF_Tensor* tensor = input(index);
    if (!tensor) return nullptr;
    bool fits = TF_NumDims(tensor) == static_cast<int>(shape.size());
    for (size_t i = 0; fits && i < shape.size(); ++i) fits = TF_Dim(tensor, static_cast<int>(i)) == shape[i];
    if (fits) return tensor;
    TF_SetStatus(status_, TF_INVALID_ARGUMENT, "an input of the LSTM has another shape than the others require");
    return nullptr;
  }

  TF_Tensor* input(int index) {
    if (failed()) return nullptr;
    TF_Tensor* tensor = nullptr;
    TF_GetInput(context_, index, &tensor, status_);
    return keep(tensor);
  }

  const float* floats(int index, const std::vector<int64_t>& shape) {
    TF_Tensor* tensor = input(index, shape);
    return tensor ? static_cast<const float*>(TF_TensorData(tensor)) : nullptr;
  }

  void* output(int index, TF_DataType type, const std::vector<int64_t>& shape) {
    if (failed()) return nullptr;
    size_t bytes = TF_DataTypeSize(type);
    for (int64_t size : shape) bytes *= size;
    TF_Tensor* made = keep(
        TF_AllocateOutput(context_, index, type, shape.data(), static_cast<int>(shape.size()), bytes, status_));
    return made ? TF_TensorData(made) : nullptr;
  }

  float* floats_out(int index, const std::vector<int64_t>& shape) {
    return static_cast<float*>(output(index, TF_FLOAT, shape));
  }

  // Gives the run its memory, where there is some; otherwise the call fails.
  bool equip(Run* run, const Scratch& panels, const Scratch& left, int64_t left_size) {
    if (!panels.data() || !left.data()) {
      TF_SetStatus(status_, TF_RESOURCE_EXHAUSTED, "no memory for the LSTM's packed weights");
      return false;
    }
    run->panels = panels.data();
    run->left[0] = left.data();
    run->left[1] = left.data() + left_size;
    return true;
  }

  bool failed() const { return TF_GetCode(status_) != TF_OK; }

 private:
  TF_Tensor* keep(TF_Tensor* tensor) {
    if (tensor) tensors_.push_back(tensor);
    return tensor;
  }

  TF_OpKernelContext* context_;
  TF_Status* status_;
  std::vector<TF_Tensor*> tensors_;
};

// An instance of an operator is its kernel.
void* create(TF_OpKernelConstruction* construction) {
  TF_Status* status = TF_NewStatus();
  int64_t number = -1;
  TF_OpKernelConstruction_GetAttrInt64(construction, "kernel", &number, status);
  if (TF_GetCode(status) == TF_OK && (number < 0 || number >= kKernelCount || !kKernels[number].runs_here())) {
    TF_SetStatus(status, TF_INVALID_ARGUMENT, "this processor lacks the instructions of this kernel of the LSTM");
  }
  const bool failed = TF_GetCode(status) != TF_OK;
  if (failed) TF_OpKernelConstruction_Failure(construction, status);
  TF_DeleteStatus(status);
  return failed ? nullptr : const_cast<Kernel*>(&kKernels[number]);
}

void destroy(void*) {}

// Runs `stages` stages of run.tasks tasks each; a stage begins when the one before is done.
template <typename Task>
void run_stages(int64_t stages, int64_t tasks, int64_t threads, const Task& task) {
  std::atomic<int64_t> done{0};
  Pool::instance().run(stages * tasks, threads, [&](int64_t one) {
    const int64_t stage = one / tasks;
    // Tasks begin in their order, so those that are waited for are being worked on.
    wait_until([&] { return done.load(std::memory_order_acquire) >= stage * tasks; });
    task(stage, one % tasks);
    done.fetch_add(1, std::memory_order_release);
  });
}

// Memory of a thread for what a task makes: the sums of the gates or their gradients, and the states' gradients.
float* room_for(int64_t rows) {
  static thread_local std::vector<float> room;
  room.resize(std::max(room.size(), static_cast<size_t>(rows * 5 * kUnits)));
  return room.data();
}

// The sizes of a run, by a tensor [frames, rows, parts * hidden]; where it has no such shape, sizes that fit nothing.
template <typename Kind>
Kind sized(const TF_Tensor* tensor, int64_t parts) {
  Kind run{};
  const bool is_cube = TF_NumDims(tensor) == 3;
  run.frames = is_cube ? TF_Dim(tensor, 0) : -1;
  run.rows = is_cube ? TF_Dim(tensor, 1) : -1;
  run.hidden = is_cube ? TF_Dim(tensor, 2) / parts : -1;
  run.tasks = (run.hidden + kUnits - 1) / kUnits;
  run.threads = std::max<int64_t>(1, std::min(Pool::instance().threads(), run.tasks / kTasksPerThread));
  return run;
}

void lstm(void* state, TF_OpKernelContext* context) {
  const Kernel& kernel = *static_cast<const Kernel*>(state);
  Call call(context);
  TF_Tensor* projected = call.input(0);
  if (!projected) return;
  auto run = sized<Forward>(projected, 4);
  const int64_t frames = run.frames, rows = run.rows, hidden = run.hidden;
  call.input(0, {frames, rows, 4 * hidden});
  run.projected = TF_TensorData(projected);
  run.halves = TF_TensorType(projected) == TF_BFLOAT16;
  const float* weights = call.floats(1, {2 * hidden, 4 * hidden});
  run.state_c = call.floats(2, {rows, hidden});
  run.state_h = call.floats(3, {rows, hidden});
  run.activations = call.floats_out(0, {frames, rows, 4 * hidden});
  run.cells = call.floats_out(1, {frames, rows, hidden});
  run.outputs = call.floats_out(2, {frames, rows, hidden});
  if (call.failed() || !frames || !rows || !hidden) return;
  const int64_t words = run.tasks * kernel.words_of_units;
  const Scratch panels(run.tasks * words * 4 * kUnits), left(2 * rows * words);
  if (!call.equip(&run, panels, left, rows * words)) return;
  run_stages(1 + frames, run.tasks, run.threads, [&](int64_t stage, int64_t task) {
    if (stage) return kernel.forward(run, stage - 1, task, room_for(rows));
    kernel.pack_forward(weights + hidden * 4 * hidden, hidden, task, run.tasks,
                        run.panels + task * words * 4 * kUnits);
    kernel.begin_forward(run, task, room_for(rows));
  });
}

void lstm_gradient(void* state, TF_OpKernelContext* context) {
  const Kernel& kernel = *static_cast<const Kernel*>(state);
  Call call(context);
  TF_Tensor* d_outputs = call.input(0);
  if (!d_outputs) return;
  auto run = sized<Backward>(d_outputs, 1);
  const int64_t frames = run.frames, rows = run.rows, hidden = run.hidden;
  run.d_outputs = call.floats(0, {frames, rows, hidden});
  run.d_last_c = call.floats(1, {rows, hidden});
  run.d_last_h = call.floats(2, {rows, hidden});
  run.activations = call.floats(3, {frames, rows, 4 * hidden});
  run.cells = call.floats(4, {frames, rows, hidden});
  run.state_c = call.floats(5, {rows, hidden});
  const float* weights = call.floats(6, {2 * hidden, 4 * hidden});
  run.halves = !call.failed() && TF_ExpectedOutputDataType(context, 0) == TF_BFLOAT16;
  run.d_gates = call.output(0, run.halves ? TF_BFLOAT16 : TF_FLOAT, {frames, rows, 4 * hidden});
  run.d_bias = call.floats_out(1, {4 * hidden});
  run.d_state_c = call.floats_out(2, {rows, hidden});
  run.d_state_h = call.floats_out(3, {rows, hidden});
  if (call.failed() || !hidden) return;
  if (!frames || !rows) {
    std::fill(run.d_bias, run.d_bias + 4 * hidden, 0.0f);
    std::copy(run.d_last_c, run.d_last_c + rows * hidden, run.d_state_c);
    std::copy(run.d_last_h, run.d_last_h + rows * hidden, run.d_state_h);
    return;
  }
  const int64_t words = 4 * run.tasks * kernel.words_of_units;
  const Scratch panels(run.tasks * words * kUnits), left(2 * rows * words);
  if (!call.equip(&run, panels, left, rows * words)) return;
  run_stages(1 + frames, run.tasks, run.threads, [&](int64_t stage, int64_t task) {
    if (!stage) {
      kernel.pack_backward(weights + hidden * 4 * hidden, hidden, task, run.tasks,
                           run.panels + task * words * kUnits);
    }
    kernel.backward(run, stage, task, room_for(rows));
  });
}

void shape_is_unknown(TF_ShapeInferenceContext* context, TF_Status* status) {
  TF_ShapeInferenceContextSetUnknownShape(context, status);
}

void register_operator(const char* name, std::initializer_list<const char*> inputs,
                       std::initializer_list<const char*> outputs, void (*compute)(void*, TF_OpKernelContext*)) {
  TF_Status* status = TF_NewStatus();
  TF_OpDefinitionBuilder* definition = TF_NewOpDefinitionBuilder(name);
  for (const char* attribute : {"T: {float, bfloat16}", "kernel: int"}) {
    TF_OpDefinitionBuilderAddAttr(definition, attribute);
  }
  for (const char* input : inputs) TF_OpDefinitionBuilderAddInput(definition, input);
  for (const char* output : outputs) TF_OpDefinitionBuilderAddOutput(definition, output);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(definition, shape_is_unknown);
  TF_RegisterOpDefinition(definition, status);
  TF_RegisterKernelBuilder(name, TF_NewKernelBuilder(name, "CPU", create, compute, destroy), status);
  TF_DeleteStatus(status);
}

const bool kRegistered = [] {
  register_operator("SpeechLstm", {"projected: T", "weights: float", "state_c: float", "state_h: float"},
                    {"activations: float", "cells: float", "outputs: float"}, lstm);
  register_operator("SpeechLstmGradient",
                    {"d_outputs: float", "d_last_c: float", "d_last_h: float", "activations: float", "cells: float",
                     "state_c: float", "weights: float"},
                    {"d_gates: T", "d_bias: float", "d_state_c: float", "d_state_h: float"}, lstm_gradient);
  return true;
}();

}  // namespace

#define SPEECH_EXPORT extern "C" __attribute__((visibility("default")))

// How many threads compute, with the one that calls.
SPEECH_EXPORT void speech_lstm_set_threads(int threads) { Pool::instance().set_threads(threads); }

// Whether this processor runs the kernel of this number.
SPEECH_EXPORT int speech_lstm_runs_here(int kernel) {
  return kernel >= 0 && kernel < kKernelCount && kKernels[kernel].runs_here();
}
