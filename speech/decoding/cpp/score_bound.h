// A lower bound of the score that the last of the best `wanted` prefixes of a frame has, found by counting instead of
// by making the candidates: what lies below it need not be made.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "scorer.h"

namespace speech {

// Scores from `low` to `high` in steps, counted from the top. Every rounding makes the count smaller, never larger.
class ScoreBound {
 public:
  // False if the scores lie too close together to be told apart in steps.
  bool begin(float low, float high) {
    low_ = low;
    step_ = (double(high) - low) / kSteps;
    if (!(step_ > kRounding * std::max(std::abs(double(low)), std::abs(double(high))))) return false;
    per_step_ = 1.0 / step_;
    std::fill(prefixes_, prefixes_ + kSteps + 2, 0);
    std::fill(others_, others_ + kSteps + 2, 0);
    shifts_.clear();
    return true;
  }

  // A prefix that every label may extend; `best` is its score with the likeliest label.
  void add_prefix(float best) { add(prefixes_, best, 0, 1); }

  // One more score that counts, or one of the extended prefixes that does not.
  void add_score(float score) { add(others_, score, 0, 1); }
  void remove_extension(float score) { add(others_, score, 2, -1); }

  // A label by how much less likely it is than the likeliest, in ln; in ascending order.
  void add_label(float less) {
    const double shift = std::ceil(less * per_step_);
    if (shift <= kSteps) shifts_.push_back(static_cast<int32_t>(shift));
  }

  // At least `wanted` scores are not below the answer; -infinity if there are not so many from `low` on.
  float find(uint64_t wanted) {
    for (int32_t step = kSteps; step-- > 0;) {
      prefixes_[step] += prefixes_[step + 1];
      others_[step] += others_[step + 1];
    }
    if (count(0) < static_cast<int64_t>(wanted)) return -INFINITY;
    int32_t valid = 0, beyond = kSteps + 1;
    while (beyond - valid > 1) {
      const int32_t step = (valid + beyond) / 2;
      (count(step) >= static_cast<int64_t>(wanted) ? valid : beyond) = step;
    }
    return bounded(low_ + (valid - 1) * step_);  // a step less: the scores are rounded sums
  }

 private:
  static constexpr int32_t kSteps = 512;
  static constexpr double kRounding = 1e-6;  // of float32, relative, with a margin

  void add(int32_t* counts, float score, int32_t more, int32_t by) {
    if (!(score >= low_)) return;
    const double place = (score - low_) * per_step_;
    counts[place < kSteps ? std::min(static_cast<int32_t>(place) + more, kSteps) : kSteps] += by;
  }

  int64_t count(int32_t step) const {
    int64_t total = others_[step];
    for (int32_t shift : shifts_) {
      if (step + shift > kSteps) break;
      total += prefixes_[step + shift];
    }
    return total;
  }

  double low_ = 0, step_ = 0, per_step_ = 0;
  int32_t prefixes_[kSteps + 2], others_[kSteps + 2];
  std::vector<int32_t> shifts_;
};

}  // namespace speech
