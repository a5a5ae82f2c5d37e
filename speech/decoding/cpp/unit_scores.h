// What the scorer says of completed units: words, code points or labels.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "prefix_tree.h"
#include "scorer.h"

namespace speech {

class UnitScores {
 public:
  UnitScores(const Scorer* scorer, const HotWords& hot_words, double alpha, double beta, const PrefixTree& tree)
      : scorer_(scorer), hot_words_(hot_words), alpha_(alpha), beta_(beta), tree_(tree) {
    for (const auto& [word, boost] : hot_words) highest_boost_ = std::max(highest_boost_, boost);
  }

  void reset() { cache_.assign(scorer_ ? kCacheSize : 0, {~uint64_t(0), 0.0f}); }

  // Whether `label` completes a unit behind `prefix`.
  bool completes(const Prefix& prefix, uint32_t label) const {
    if (scorer_->words()) return label == scorer_->alphabet.space;
    const auto [bytes, needs] = code_point(prefix, label);
    return needs > 0 && bytes == needs;
  }

  // How many bytes the code point has with this one, and how many its first byte announces (0: invalid). A label that
  // is a unit counts as one byte.
  std::pair<uint8_t, uint8_t> code_point(const Prefix& prefix, uint32_t label) const {
    if (scorer_->units == Units::kLabels) return {1, 1};
    const uint32_t byte = label + 1;
    if (!begins_code_point(label)) {
      return {static_cast<uint8_t>(std::min(prefix.unit_bytes + 1, 255)), prefix.unit_needs};
    }
    const uint8_t needs = byte < 0x80 ? 1 : byte >> 5 == 0x06 ? 2 : byte >> 4 == 0x0E ? 3 : byte >> 3 == 0x1E ? 4 : 0;
    return {1, needs};
  }

  // What is added to a score, beta apart, when `label` completes a unit behind a prefix.
  float score(int32_t node, uint32_t label) {
    const uint64_t key = (uint64_t(tree_[node].serial) << 16) | label;
    Cached& cached = cache_[(key * 0x9E3779B97F4A7C15ULL) >> (64 - kCacheBits)];
    if (cached.key == key) return cached.score;
    const std::string& text = spell(node, label);
    const Context& context = tree_.context(tree_[node].context);
    LanguageModelState ignored;
    const double log_prob = scorer_->log_probability(context, scorer_->model.index(text), ignored);
    float boosts = 0.0f;  // of all words in the n-gram, oldest first
    for (int age = std::min(context.words, scorer_->model.order() - 1); age-- > 0;) boosts += context.boosts[age];
    boosts += boost(text);
    cached = {key, bounded((log_prob + boosts) * alpha_)};
    return cached.score;
  }

  float add(float score, float unit_score) const {
    score += unit_score;
    return bounded(score + beta_);
  }

  // The context behind a unit that `label` completes.
  Context follow(int32_t node, uint32_t label) {
    const std::string& text = spell(node, label);
    return scorer_->follow(tree_.context(tree_[node].context), scorer_->model.index(text), boost(text));
  }

  // What the last unit of a transcript adds, complete or not; hot words do not count here.
  float final_score(int32_t node) {
    const Prefix& prefix = tree_[node];
    const bool empty = node == PrefixTree::kRoot;
    if (prefix.completes || (empty && scorer_->words())) return 0.0f;
    double log_prob = 0.0;
    if (!empty) {
      LanguageModelState ignored;
      const uint32_t word = scorer_->model.index(spell(node, kNoLabel));
      log_prob = scorer_->log_probability(tree_.context(prefix.context), word, ignored);
    }
    const float unit_score = bounded(log_prob * alpha_);
    return bounded(unit_score + beta_);
  }

  // At least what a completed unit can add to a score, with room for rounding.
  float highest() const {
    if (alpha_ < 0) return FLT_MAX;
    const double sum = alpha_ * highest_boost_ * scorer_->model.order() + beta_;
    return bounded(std::max(0.0, sum) * 1.001 + 0.1);
  }

 private:
  struct Cached {
    uint64_t key;
    float score;
  };
  static constexpr int kCacheBits = 13;
  static constexpr size_t kCacheSize = size_t(1) << kCacheBits;

  bool begins_code_point(uint32_t label) const {
    return scorer_->units == Units::kLabels || ((label + 1) & 0xC0) != 0x80;
  }

  // The text of the word that ends before `label`, or of the code point that ends with it.
  const std::string& spell(int32_t node, uint32_t label) {
    path_.clear();
    bool whole = false;
    if (!scorer_->words() && label != kNoLabel) {
      path_.push_back(label);
      whole = begins_code_point(label);
    }
    for (; !whole && tree_[node].label != kNoLabel; node = tree_[node].parent) {
      const uint32_t at = tree_[node].label;
      if (scorer_->words() && at == scorer_->alphabet.space) break;
      path_.push_back(at);
      whole = !scorer_->words() && begins_code_point(at);
    }
    text_.clear();
    for (auto at = path_.rbegin(); at != path_.rend(); ++at) scorer_->alphabet.append(*at, text_);
    return text_;
  }

  float boost(const std::string& text) const {
    if (hot_words_.empty()) return 0.0f;
    const auto found = hot_words_.find(text);
    return found == hot_words_.end() ? 0.0f : found->second;
  }

  const Scorer* const scorer_;
  const HotWords& hot_words_;
  const double alpha_, beta_;
  const PrefixTree& tree_;
  float highest_boost_ = 0.0f;
  std::vector<Cached> cache_;  // direct-mapped, by prefix and label
  std::vector<uint32_t> path_;
  std::string text_;
};

}  // namespace speech
