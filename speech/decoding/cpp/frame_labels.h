// The labels of one frame that the search follows.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

namespace speech {

class FrameLabels {
 public:
  explicit FrameLabels(uint32_t labels)
      : blank_(labels), row_(labels + 1), log_probs_(labels + 1), ranks_(labels + 1) {}

  template <class Float>
  void read(const Float* row) {
    // What is no probability (NaN, infinity) must not become a score.
    std::transform(row, row + row_.size(), row_.begin(),
                   [](Float prob) { return prob > 0 ? std::min<double>(prob, FLT_MAX) : 0.0; });
  }

  double blank_probability() const { return row_[blank_]; }
  bool keeps_all() const { return kept_.size() == row_.size(); }

  const std::vector<uint32_t>& kept() const { return kept_; }  // in the order in which they are followed
  bool keeps(uint32_t label) const { return log_probs_[label] != -INFINITY; }
  float log_prob(uint32_t label) const { return log_probs_[label]; }
  bool comes_before(uint32_t label, uint32_t other) const { return ranks_[label] < ranks_[other]; }

  // All kept labels but the blank, the likeliest first.
  const std::vector<uint32_t>& likeliest() {
    if (!likeliest_.empty()) return likeliest_;
    for (uint32_t label : kept_) {
      if (label != blank_) likeliest_.push_back(label);
    }
    std::sort(likeliest_.begin(), likeliest_.end(),
              [this](uint32_t x, uint32_t y) { return log_probs_[x] > log_probs_[y]; });
    return likeliest_;
  }

  // The highest of all labels but the blank.
  float highest_log_prob() const {
    float highest = -INFINITY;
    for (uint32_t label : kept_) {
      if (label != blank_) highest = std::max(highest, log_probs_[label]);
    }
    return highest;
  }

  void keep_all() {
    begin();
    for (uint32_t label = 0; label <= blank_; ++label) keep(label, row_[label]);
  }

  // The likeliest labels whose sum reaches `cutoff_prob`, at most `cutoff_top_n`. As in ds_ctcdecoder, the count
  // alone sorts the labels but removes none.
  void keep_likeliest(double cutoff_prob, uint64_t cutoff_top_n) {
    if (cutoff_prob >= 1.0 && cutoff_top_n >= row_.size()) return keep_all();
    sorted_.clear();
    for (uint32_t label = 0; label <= blank_; ++label) sorted_.emplace_back(label, row_[label]);
    std::sort(sorted_.begin(), sorted_.end(), [](const Entry& x, const Entry& y) { return x.second > y.second; });
    std::fill(log_probs_.begin(), log_probs_.end(), -INFINITY);
    begin();
    double sum = 0.0;
    for (const auto& [label, prob] : sorted_) {
      keep(label, prob);
      sum += prob;
      if (cutoff_prob < 1.0 && (sum >= cutoff_prob || kept_.size() >= cutoff_top_n)) break;
    }
  }

 private:
  using Entry = std::pair<uint32_t, double>;

  void begin() {
    kept_.clear();
    likeliest_.clear();
  }

  void keep(uint32_t label, double prob) {
    ranks_[label] = static_cast<uint32_t>(kept_.size());
    log_probs_[label] = static_cast<float>(std::log(prob + FLT_MIN));
    kept_.push_back(label);
  }

  const uint32_t blank_;
  std::vector<double> row_;
  std::vector<float> log_probs_;  // by label; -infinity: not kept
  std::vector<uint32_t> ranks_;   // place in kept_
  std::vector<uint32_t> kept_, likeliest_;
  std::vector<Entry> sorted_;
};

}  // namespace speech
