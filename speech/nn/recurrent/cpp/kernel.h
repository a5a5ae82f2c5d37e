// The LSTM for one set of vector instructions; lstm.cpp includes this file once for each, with
//   SPEECH_KERNEL   the namespace
//   SPEECH_PAIRS    1 if a word of a packed matrix is a pair of bfloat16 numbers of neighbouring depth, 0 if a float
// and, in that namespace, Vector, kLanes, kTileRows, load, store, broadcast, multiply_add for words, fused for floats,
// transpose_8x8 and, with pairs, widened and store_narrowed. No template of the standard library may be instantiated
// here: the linker might share it with code for other processors.

namespace SPEECH_KERNEL {

constexpr int kColumns = 2 * kLanes;              // of a panel
constexpr int64_t kWords = SPEECH_PAIRS ? 2 : 1;  // numbers in a word
constexpr int64_t kUnitWords = kUnits / kWords;   // the depth of a task's units
typedef int32_t Integers __attribute__((vector_size(kLanes * sizeof(int32_t))));

// --- Numbers.

static inline uint32_t bits(float value) {
  uint32_t word;
  __builtin_memcpy(&word, &value, sizeof word);
  return word;
}

static inline float number(uint32_t word) {
  float value;
  __builtin_memcpy(&value, &word, sizeof value);
  return value;
}

// To bfloat16: to the nearest, ties to even; NaN stays NaN.
static inline uint32_t rounded(float value) {
  const uint32_t word = bits(value);
  const uint32_t near = (word + 0x7fff + ((word >> 16) & 1)) >> 16;
  return (word & 0x7fffffff) > 0x7f800000 ? (word >> 16) | 0x40 : near;
}

static inline Vector all(float value) { return Vector{} + value; }

// To between -bound and bound; NaN stays.
static inline Vector limit(Vector value, float bound) {
  value = value > bound ? all(bound) : value;
  return value < -bound ? all(-bound) : value;
}

// exp(x) - 1 as `scale * part + (scale - 1)`, so that little is lost where it is small: |x| at most 87.
static inline void exponential(Vector x, Vector* scale, Vector* part) {
  constexpr float kLog2E = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: what is added to it becomes a whole number in its last bits
  const Vector shifted = fused(x, all(kLog2E), all(kRounder));
  const Vector whole = shifted - kRounder;
  *scale = (Vector)(((Integers)shifted << 23) + 0x3f800000);  // 2^whole
  const Vector rest = fused(whole, all(-kLn2Low), fused(whole, all(-kLn2High), x));  // at most ln(2) / 2
  Vector sum = all(1.0f / 5040);
  constexpr float kFactors[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f};
  for (int i = 0; i < 6; ++i) sum = fused(sum, rest, all(kFactors[i]));
  *part = sum * rest;
}

static inline Vector sigmoid(Vector x) {
  Vector scale, part;
  exponential(limit(-x, 87.0f), &scale, &part);
  return 1.0f / (1.0f + fused(scale, part, scale));
}

static inline Vector tanh(Vector x) {
  Vector scale, part;
  exponential(limit(x + x, 20.0f), &scale, &part);
  const Vector less_one = fused(scale, part, scale - 1.0f);  // exp(2x) - 1
  return less_one / (less_one + 2.0f);
}

#if !SPEECH_PAIRS
static inline Vector widened(const uint16_t* words) {
  float values[kLanes];
  for (int i = 0; i < kLanes; ++i) values[i] = number(static_cast<uint32_t>(words[i]) << 16);
  return load(values);
}

static inline void store_narrowed(uint16_t* words, Vector value) {
  float values[kLanes];
  store(values, value);
  for (int i = 0; i < kLanes; ++i) words[i] = static_cast<uint16_t>(rounded(values[i]));
}
#endif

// The first `count` lanes, the others 0, from floats or bfloat16 numbers.
static inline Vector load_some(const void* from, bool halves, int64_t position, int64_t count) {
  if (count >= kLanes) {
    return halves ? widened(static_cast<const uint16_t*>(from) + position)
                  : load(static_cast<const float*>(from) + position);
  }
  if (halves) {
    uint16_t words[kLanes] = {};
    __builtin_memcpy(words, static_cast<const uint16_t*>(from) + position, count * sizeof *words);
    return widened(words);
  }
  float values[kLanes] = {};
  __builtin_memcpy(values, static_cast<const float*>(from) + position, count * sizeof *values);
  return load(values);
}

static inline void store_some(void* to, bool halves, int64_t position, int64_t count, Vector value) {
  const int64_t some = least(count, kLanes);
  if (halves) {
    uint16_t words[kLanes];
    store_narrowed(words, value);
    __builtin_memcpy(static_cast<uint16_t*>(to) + position, words, some * sizeof *words);
  } else if (some == kLanes) {
    store(static_cast<float*>(to) + position, value);
  } else {
    float values[kLanes];
    store(values, value);
    __builtin_memcpy(static_cast<float*>(to) + position, values, some * sizeof *values);
  }
}

// --- Products.

// `Rows` packed rows [depth][Rows] times a panel [depth][kColumns], added to `out` or, where `add` is false, stored
// there. `depth` is a multiple of kDepthStep. Meanwhile the words at `next`, 1 / kDepthStep of a panel, come into the
// cache.
template <int Rows>
static void tile(int64_t depth, const float* left, const float* panel, float* out, int64_t stride, bool add,
                 const char* next) {
  Vector sum[Rows][2];
  for (int row = 0; row < Rows; ++row) {
    for (int half = 0; half < 2; ++half) sum[row][half] = add ? load(out + row * stride + half * kLanes) : Vector{};
  }
  for (int64_t k = 0; k < depth; k += kDepthStep) {
    for (size_t line = 0; line < kColumns * sizeof(float); line += 64) __builtin_prefetch(next + line, 0, 2);
    next += kColumns * sizeof(float);
#pragma GCC unroll 4
    for (int step = 0; step < kDepthStep; ++step) {
      const Vector first = load(panel), second = load(panel + kLanes);
      for (int row = 0; row < Rows; ++row) {
        const Vector value = broadcast(left + row);
        sum[row][0] = multiply_add(value, first, sum[row][0]);
        sum[row][1] = multiply_add(value, second, sum[row][1]);
      }
      left += Rows;
      panel += kColumns;
    }
  }
  for (int row = 0; row < Rows; ++row) {
    for (int half = 0; half < 2; ++half) store(out + row * stride + half * kLanes, sum[row][half]);
  }
}

template <int Rows>
static void tile_of(int64_t rows, int64_t depth, const float* left, const float* panel, float* out, int64_t stride,
                    bool add, const char* next) {
  if (rows == Rows) return tile<Rows>(depth, left, panel, out, stride, add, next);
  if constexpr (Rows > 1) tile_of<Rows - 1>(rows, depth, left, panel, out, stride, add, next);
}

// All rows of a packed left factor times the panels of a task, which lie one behind the other: in blocks of depth,
// `columns / kColumns` panels each. `out` is [rows][columns]; `after` is what is likely to be read next.
static void multiply(const float* left, int64_t rows, int64_t words, const float* panels, int64_t columns,
                     const float* after, float* out) {
  for (int64_t begin = 0; begin < words; begin += kBlock) {
    const int64_t depth = block_depth(words, begin);
    for (int64_t column = 0; column < columns; column += kColumns) {
      const bool last = begin + depth == words && column + kColumns == columns;
      const char* next = reinterpret_cast<const char*>(last ? after : panels + depth * kColumns);
      for (int64_t row = 0; row < rows; row += kTileRows) {
        const int64_t some = least(rows - row, kTileRows);
        const char* part = next + (row / kTileRows % kDepthStep) * depth * kColumns * sizeof(float) / kDepthStep;
        tile_of<kTileRows>(some, depth, left + row * depth, panels, out + row * columns + column, columns, begin > 0,
                           part);
      }
      panels += depth * kColumns;
    }
    left += rows * depth;
  }
}

// Word `k` of a row of `depth` numbers.
static __attribute__((noinline)) uint32_t word_at(const float* row, int64_t along, int64_t depth, int64_t k) {
  const int64_t inside = depth - kWords * k;
  if (inside <= 0) return 0;
  const float* first = row + kWords * k * along;
  if (!SPEECH_PAIRS) return bits(*first);
  return rounded(*first) | (inside > 1 ? rounded(first[along]) << 16 : 0);
}

// Numbers at data[row * across + k * along], 0 <= k < depth, as words: [words][width]. The rows from `rows` to `width`
// and the words behind the depth are 0.
static void interleave(const float* data, int64_t across, int64_t along, int64_t rows, int64_t depth, int64_t words,
                       int64_t width, uint32_t* out) {
  const int64_t whole = least(depth / kWords, words);
  int64_t k = 0;
  if (across == 1) {
    for (; k < whole; ++k) {
      const float *low = data + kWords * k * along, *high = low + along;
      uint32_t* to = out + k * width;
      if (SPEECH_PAIRS) {
        for (int64_t row = 0; row < rows; ++row) to[row] = rounded(low[row]) | rounded(high[row]) << 16;
      } else {
        __builtin_memcpy(to, low, rows * sizeof(float));
      }
      for (int64_t row = rows; row < width; ++row) to[row] = 0;
    }
  } else if (along == 1) {
    for (; k + 8 <= whole; k += 8) {
      for (int64_t row = 0; row < width; row += 8) {
        uint32_t square[8][8] = {};
        for (int64_t i = 0; i < 8 && row + i < rows; ++i) {
          const float* from = data + (row + i) * across + kWords * k;
#if SPEECH_PAIRS
          store_narrowed(reinterpret_cast<uint16_t*>(square[i]), load(from));  // 16 numbers, 8 words
#else
          __builtin_memcpy(square[i], from, sizeof square[i]);
#endif
        }
        transpose_8x8(square);
        const size_t bytes = least(width - row, 8) * sizeof(uint32_t);
        for (int w = 0; w < 8; ++w) __builtin_memcpy(out + (k + w) * width + row, square[w], bytes);
      }
    }
  }
  for (; k < words; ++k) {
    for (int64_t row = 0; row < width; ++row) {
      out[k * width + row] = row < rows ? word_at(data + row * across, along, depth, k) : 0;
    }
  }
}

// The numbers that a task made, [rows][parts][kUnits], into their places in a packed left factor of `words` depth: part
// p of task u is the depth from (p * tasks + u) * kUnits on.
static void pack_left(const float* made, int64_t rows, int64_t parts, int64_t task, int64_t tasks, float* packed) {
  const int64_t words = parts * tasks * kUnitWords;
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t word = (part * tasks + task) * kUnitWords, begin = word / kBlock * kBlock;
    const int64_t depth = block_depth(words, begin);
    for (int64_t row = 0; row < rows; row += kTileRows) {
      const int64_t some = least(rows - row, kTileRows);
      interleave(made + (row * parts + part) * kUnits, parts * kUnits, 1, some, kUnits, kUnitWords, some,
                 reinterpret_cast<uint32_t*>(packed + begin * rows + row * depth + (word - begin) * some));
    }
  }
}

// --- The LSTM. A task is kUnits units of one frame.

// The panels of task `task` of the state's half of the kernel, [H, 4H]: blocks of depth H, in them the four gates.
static void pack_forward(const float* from_state, int64_t hidden, int64_t task, int64_t tasks, float* panels) {
  const int64_t words = tasks * kUnitWords;
  for (int64_t begin = 0; begin < words; begin += kBlock) {
    const int64_t depth = block_depth(words, begin), k = begin * kWords;
    for (int64_t column = 0; column < 4 * kUnits; column += kColumns) {
      const int64_t gate = column / kUnits, unit = task * kUnits + column % kUnits;
      const int64_t some = least(hidden - unit, kColumns);
      interleave(from_state + k * 4 * hidden + gate * hidden + unit, 1, 4 * hidden, some > 0 ? some : 0,
                 hidden > k ? hidden - k : 0, depth, kColumns, reinterpret_cast<uint32_t*>(panels));
      panels += depth * kColumns;
    }
  }
}

// The same for its transpose: blocks of the gates' depth, in them the columns of the task.
static void pack_backward(const float* from_state, int64_t hidden, int64_t task, int64_t tasks, float* panels) {
  const int64_t words = 4 * tasks * kUnitWords;
  for (int64_t begin = 0; begin < words; begin += kBlock) {
    const int64_t depth = block_depth(words, begin);
    for (int64_t column = 0; column < kUnits; column += kColumns) {
      const int64_t unit = task * kUnits + column;
      const int64_t some = least(hidden - unit, kColumns);
      for (int64_t word = 0; word < depth; word += kUnitWords) {  // a block may hold several gates
        const int64_t place = (begin + word) / kUnitWords, gate = place / tasks, first = place % tasks * kUnits;
        const int64_t inside = least(hidden - first, kUnits);
        interleave(from_state + unit * 4 * hidden + gate * hidden + first, 4 * hidden, 1, some > 0 ? some : 0, inside,
                   kUnitWords, kColumns, reinterpret_cast<uint32_t*>(panels + word * kColumns));
      }
      panels += depth * kColumns;
    }
  }
}

// Packs the first states.
static void begin_forward(const Forward& run, int64_t task, float* made) {
  const int64_t unit = task * kUnits;
  for (int64_t row = 0; row < run.rows; ++row) {
    for (int64_t i = 0; i < kUnits; i += kLanes) {
      const int64_t count = run.hidden - unit - i;
      store(made + row * kUnits + i,
            count > 0 ? load_some(run.state_h, false, row * run.hidden + unit + i, count) : Vector{});
    }
  }
  pack_left(made, run.rows, 1, task, run.tasks, run.left[0]);
}

static void forward(const Forward& run, int64_t frame, int64_t task, float* made) {
  const int64_t hidden = run.hidden, unit = task * kUnits, words = run.tasks * kUnitWords;
  const int64_t size = words * 4 * kUnits, likely = (task + run.threads) % run.tasks;
  multiply(run.left[frame % 2], run.rows, words, run.panels + task * size, 4 * kUnits, run.panels + likely * size,
           made);
  for (int64_t row = 0; row < run.rows; ++row) {
    const int64_t clip = frame * run.rows + row;
    // What is made goes where sums have been read already.
    float *sums = made + row * 4 * kUnits, *made_h = made + row * kUnits;
    for (int64_t i = 0; i < kUnits; i += kLanes) {
      const int64_t count = hidden - unit - i, at = clip * hidden + unit + i, gates = clip * 4 * hidden + unit + i;
      if (count <= 0) {
        store(made_h + i, Vector{});
        continue;
      }
      Vector gate[4];
      for (int which = 0; which < 4; ++which) {
        gate[which] = load(sums + which * kUnits + i) +
                      load_some(run.projected, run.halves, gates + which * hidden, count);
        gate[which] = which == 1 ? tanh(gate[which]) : sigmoid(gate[which]);
        store_some(run.activations, false, gates + which * hidden, count, gate[which]);
      }
      const Vector before = frame ? load_some(run.cells, false, at - run.rows * hidden, count)
                                  : load_some(run.state_c, false, row * hidden + unit + i, count);
      const Vector cell = fused(gate[2], before, gate[0] * gate[1]), output = gate[3] * tanh(cell);
      store_some(run.cells, false, at, count, cell);
      store_some(run.outputs, false, at, count, output);
      store(made_h + i, output);
    }
  }
  if (frame + 1 < run.frames) pack_left(made, run.rows, 1, task, run.tasks, run.left[(frame + 1) % 2]);
}

// Stage 0 makes the gradients of the last frame's gates, stage s those of s frames before, out of those of the frame
// behind it; the last stage makes those of the first states.
static void backward(const Backward& run, int64_t stage, int64_t task, float* made) {
  const int64_t hidden = run.hidden, unit = task * kUnits, words = 4 * run.tasks * kUnitWords;
  const int64_t frame = run.frames - 1 - stage;
  float* const d_states = made + run.rows * 4 * kUnits;  // [rows][kUnits]
  if (stage) {
    const int64_t size = words * kUnits, likely = (task + run.threads) % run.tasks;
    multiply(run.left[(stage + 1) % 2], run.rows, words, run.panels + task * size, kUnits, run.panels + likely * size,
             d_states);
  }
  for (int64_t i = 0; i < kUnits; i += kLanes) {
    const int64_t count = hidden - unit - i;
    Vector bias[4] = {};
    for (int64_t row = 0; row < run.rows; ++row) {
      float* const d_gates = made + row * 4 * kUnits + i;
      if (count <= 0) {
        for (int which = 0; which < 4; ++which) store(d_gates + which * kUnits, Vector{});
        continue;
      }
      const int64_t state = row * hidden + unit + i;
      Vector d_h = stage ? load(d_states + row * kUnits + i) : load_some(run.d_last_h, false, state, count);
      if (frame < 0) {
        store_some(run.d_state_h, false, state, count, d_h);
        continue;
      }
      const int64_t clip = frame * run.rows + row, at = clip * hidden + unit + i;
      const int64_t gates = clip * 4 * hidden + unit + i;
      Vector gate[4];
      for (int which = 0; which < 4; ++which) {
        gate[which] = load_some(run.activations, false, gates + which * hidden, count);
      }
      const Vector in = gate[0], new_cell = gate[1], forget = gate[2], out = gate[3];
      d_h += load_some(run.d_outputs, false, at, count);
      const Vector squashed = tanh(load_some(run.cells, false, at, count));
      const Vector before = frame ? load_some(run.cells, false, at - run.rows * hidden, count)
                                  : load_some(run.state_c, false, state, count);
      Vector d_c = load_some(stage ? run.d_state_c : run.d_last_c, false, state, count);
      d_c += d_h * out * (1.0f - squashed * squashed);
      const Vector d_gate[4] = {d_c * new_cell * in * (1.0f - in), d_c * in * (1.0f - new_cell * new_cell),
                                d_c * before * forget * (1.0f - forget), d_h * squashed * out * (1.0f - out)};
      store_some(run.d_state_c, false, state, count, d_c * forget);
      for (int which = 0; which < 4; ++which) {
        store(d_gates + which * kUnits, d_gate[which]);
        store_some(run.d_gates, run.halves, gates + which * hidden, count, d_gate[which]);
        bias[which] += d_gate[which];
      }
    }
    if (count <= 0 || frame < 0) continue;
    for (int which = 0; which < 4; ++which) {
      const int64_t at = which * hidden + unit + i;
      if (stage) bias[which] += load_some(run.d_bias, false, at, count);
      store_some(run.d_bias, false, at, count, bias[which]);
    }
  }
  if (frame >= 0) pack_left(made, run.rows, 4, task, run.tasks, run.left[stage % 2]);
}

}  // namespace SPEECH_KERNEL
