// CTC prefix beam search with an external scorer: the search of ds_ctcdecoder 0.9.3, result for result.
//
// The same float32 sums are made in the same order, and ties are broken the same way; what differs is the work:
// a frame first scores everything, and only what survives enters the tree; without a scorer, what cannot survive is
// told by counting and not even scored; labels come from the dictionary's arcs instead of being tried; the scorer is
// asked once for a completed word and not once a frame; and a score below the beam's worst is dropped before that.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <utility>
#include <vector>

#include "frame_labels.h"
#include "prefix_tree.h"
#include "score_bound.h"
#include "scorer.h"
#include "unit_scores.h"

namespace speech {

inline float add_logs(float x, float y) {
  if (x <= kDead) return y;
  if (y <= kDead) return x;
  const float high = std::max(x, y), difference = std::min(x, y) - high;
  if (difference < -16.7f) return high;  // e^-16.7 vanishes beside 1 in float32
  return std::log(1.0f + std::exp(difference)) + high;
}

struct SearchSettings {
  uint64_t beam_size;
  double cutoff_prob;
  uint64_t cutoff_top_n;
  double alpha;
  double beta;
  uint64_t num_results;
};

struct Hypothesis {
  double confidence;
  std::vector<uint32_t> tokens;
  std::vector<uint32_t> frames;
};

class BeamSearch {
 public:
  BeamSearch(const SearchSettings& settings, const Scorer* scorer, const HotWords& hot_words, uint32_t labels)
      : settings_(usable(settings)), scorer_(scorer), blank_(labels), labels_(labels),
        units_(scorer, hot_words, settings.alpha, settings.beta, tree_), marks_(labels + 1) {}

  template <class Float>
  std::vector<Hypothesis> decode(const Float* probs, int64_t frames) {
    begin();
    const int64_t classes = blank_ + 1;
    for (frame_ = 0; frame_ < frames; ++frame_) {
      labels_.read(probs + frame_ * classes);
      // Leading silence is skipped, so that the first label's frame is right.
      started_ = started_ || labels_.blank_probability() < 0.999;
      if (started_) step(frame_ + 1 == frames);
    }
    return results();
  }

 private:
  // Counts of prefixes are int32_t, and a beam has at least one.
  static SearchSettings usable(SearchSettings settings) {
    settings.beam_size = std::clamp<uint64_t>(settings.beam_size, 1, INT32_MAX);
    settings.num_results = std::min<uint64_t>(settings.num_results, settings.beam_size);
    return settings;
  }

  struct Slot {  // a prefix in the beam
    int32_t node;
    float score, blank_before, label_before;  // ln p at the end of the last frame: any, with a blank, with the label
    float blank_now, label_now, score_now;    // the same for this frame
    int32_t time_from;                        // history to extend by this frame, or kNone
  };

  struct Candidate {  // a label behind a prefix that would enter the beam
    uint32_t slot;
    uint32_t label;
    uint32_t target;  // state of the dictionary
    float score;
  };

  void begin() {
    Context context{};
    if (scorer_) context = scorer_->begin();
    tree_.reset(scorer_ ? scorer_->dictionary.start : 0, scorer_ ? &context : nullptr);
    times_.reset();
    units_.reset();
    std::fill(marks_.begin(), marks_.end(), 0);
    mark_ = 0;
    slots_.assign(1, {PrefixTree::kRoot, 0.0f, 0.0f, kDead, kDead, kDead, kDead, kNone});
    tree_[PrefixTree::kRoot].slot = 0;
    started_ = false;
  }

  void step(bool last) {
    labels_.keep_likeliest(settings_.cutoff_prob, settings_.cutoff_top_n);
    if (!expand() && !labels_.keeps_all()) {
      // Every prefix needs a label that the cutoffs removed. ds_ctcdecoder loses the utterance here.
      labels_.keep_all();
      expand();
    }
    if (!select(last)) select_exactly();
  }

  // ---- scores of a frame ----

  // Score the beam and its extensions; whether any prefix has a probability above 0.
  bool expand() {
    find_cutoff();
    score_beam();
    bool alive = false;
    for (const Slot& slot : slots_) alive = alive || slot.score_now > kDead;
    collect_candidates(false);
    for (const Candidate& candidate : candidates_) alive = alive || candidate.score > kDead;
    return alive;
  }

  // With a scorer and a full beam, what falls below the worst prefix and a blank is not followed.
  void find_cutoff() {
    full_ = scorer_ && slots_.size() == settings_.beam_size;
    if (!full_) return;
    float worst = slots_[0].score;
    for (const Slot& slot : slots_) worst = std::min(worst, slot.score);
    cutoff_ = bounded(worst + std::log(labels_.blank_probability()) - std::max(0.0, settings_.beta));
  }

  bool below_cutoff(float score) const { return full_ && score < cutoff_; }

  void score_beam() {
    const float blank = labels_.log_prob(blank_);
    for (Slot& slot : slots_) {
      slot.blank_now = slot.label_now = kDead;
      slot.time_from = kNone;
      const Prefix& prefix = tree_[slot.node];
      const bool has_label = prefix.label != kNoLabel && labels_.keeps(prefix.label);
      const float label = has_label ? labels_.log_prob(prefix.label) : 0.0f;
      if (slot.score != kDead) {
        if (labels_.keeps(blank_) && !below_cutoff(blank + slot.score)) slot.blank_now = blank + slot.score;
        if (has_label && !below_cutoff(label + slot.score)) slot.label_now = label + slot.label_before;
      }
      if (has_label) extend_into(slot, prefix, label);
      slot.score_now = add_logs(slot.blank_now, slot.label_now);
    }
  }

  // What a prefix in the beam gains from its parent, which is in the beam too.
  void extend_into(Slot& slot, const Prefix& prefix, float log_prob) {
    const int32_t parent_slot = tree_[prefix.parent].slot;
    if (parent_slot == kNone) return;
    const Slot& parent = slots_[parent_slot];
    if (parent.score == kDead || below_cutoff(log_prob + parent.score)) return;
    float gain = extension(parent, tree_[prefix.parent].label, prefix.label, log_prob);
    if (prefix.completes) gain = units_.add(gain, prefix.unit_score);
    if (gain <= kDead) return;
    const bool repeat_first = slot.score > parent.score ||
                              (slot.score == parent.score && prefix.label <= tree_[prefix.parent].label);
    const bool moves = repeat_first ? slot.label_now < gain : slot.label_now <= gain;
    slot.label_now = add_logs(slot.label_now, gain);
    if (!moves) return;
    const bool blank_follows = labels_.keeps(blank_) && labels_.comes_before(prefix.label, blank_);
    if (!(blank_follows && slot.label_now < slot.blank_now)) slot.time_from = tree_[prefix.parent].time;
  }

  // ln p of a label behind a prefix, without the scorer; a repeated label needs a blank in between.
  static float extension(const Slot& from, uint32_t last_label, uint32_t label, float log_prob) {
    if (label != last_label) return log_prob + from.score;
    return from.blank_before > kDead ? log_prob + from.blank_before : kDead;
  }

  // Every label that may follow a prefix and is not in the beam yet. Unless all are wanted, those are left out that
  // cannot be among the best beam_size.
  void collect_candidates(bool all) {
    candidates_.clear();
    bound_ = kDead;
    if (!all && slots_.size() == settings_.beam_size) {
      bound_ = slots_[0].score_now;
      for (const Slot& slot : slots_) bound_ = std::min(bound_, slot.score_now);
    }
    if (!all && !scorer_) count_for_bound();
    const float highest_unit = scorer_ ? units_.highest() : 0.0f;
    const float highest_label = labels_.highest_log_prob();
    for (uint32_t index = 0; index < slots_.size(); ++index) {
      const float score = slots_[index].score;
      if (score == kDead || (!all && score + highest_label + highest_unit < bound_)) continue;
      if (scorer_) extend_by_dictionary(index, all, highest_unit);
      else if (all) extend_by_labels(index);
      else extend_by_likely_labels(index);
      if (!all && candidates_.size() > settings_.beam_size + 200) raise_bound();
    }
  }

  // Without a scorer every label may follow every prefix, so the best are known by number before they are made.
  void count_for_bound() {
    const std::vector<uint32_t>& likeliest = labels_.likeliest();
    if (likeliest.empty()) return;
    const float highest_label = labels_.log_prob(likeliest.front());
    float low = INFINITY, high = -INFINITY;
    for (const Slot& slot : slots_) {
      if (slot.score == kDead) continue;
      low = std::min(low, slot.score);
      high = std::max({high, slot.score + highest_label, slot.score_now});
    }
    low = std::max(bound_, low + labels_.log_prob(likeliest.back()));
    if (!(low < high) || !counted_.begin(low, high)) return;
    for (uint32_t label : likeliest) counted_.add_label(highest_label - labels_.log_prob(label));
    for (const Slot& slot : slots_) {
      counted_.add_score(slot.score_now);
      if (slot.score != kDead) counted_.add_prefix(slot.score + highest_label);
      const Prefix& prefix = tree_[slot.node];
      if (prefix.label == kNoLabel || !labels_.keeps(prefix.label)) continue;
      const float label = labels_.log_prob(prefix.label);
      if (slot.score != kDead) counted_.remove_extension(label + slot.score);  // a repeated label needs a blank
      const int32_t parent_slot = tree_[prefix.parent].slot;
      if (parent_slot != kNone && slots_[parent_slot].score != kDead && tree_[prefix.parent].label != prefix.label) {
        counted_.remove_extension(label + slots_[parent_slot].score);  // it is this slot
      }
    }
    bound_ = std::max(bound_, counted_.find(settings_.beam_size));
  }

  void extend_by_labels(uint32_t index) {
    bool marked = false;
    for (uint32_t label : labels_.kept()) {
      if (label != blank_) extend_by_label(index, label, marked);
    }
  }

  void extend_by_likely_labels(uint32_t index) {
    const float slot_score = slots_[index].score;
    bool marked = false;
    for (uint32_t label : labels_.likeliest()) {
      if (labels_.log_prob(label) + slot_score < bound_) break;
      extend_by_label(index, label, marked);
    }
  }

  void extend_by_label(uint32_t index, uint32_t label, bool& marked) {
    const Slot& slot = slots_[index];
    const float score = extension(slot, tree_[slot.node].label, label, labels_.log_prob(label));
    if (score < bound_ || in_beam(slot.node, label, marked)) return;
    candidates_.push_back({index, label, 0, score});
  }

  void extend_by_dictionary(uint32_t index, bool all, float highest_unit) {
    const Slot& slot = slots_[index];
    const Prefix& prefix = tree_[slot.node];
    const Dictionary& dictionary = scorer_->dictionary;
    bool marked = false;
    for (uint32_t arc = dictionary.first_arc[prefix.state]; arc < dictionary.first_arc[prefix.state + 1]; ++arc) {
      const uint32_t label = dictionary.labels[arc];
      if (!labels_.keeps(label)) continue;
      const float log_prob = labels_.log_prob(label);
      if (below_cutoff(log_prob + slot.score)) continue;
      float score = extension(slot, prefix.label, label, log_prob);
      if ((!all && score + highest_unit < bound_) || in_beam(slot.node, label, marked)) continue;
      if (units_.completes(prefix, label)) score = units_.add(score, units_.score(slot.node, label));
      if (!all && score < bound_) continue;
      candidates_.push_back({index, label, dictionary.targets[arc], score});
    }
  }

  // Whether the prefix with `label` behind it is in the beam. The children are marked at the first question.
  bool in_beam(int32_t node, uint32_t label, bool& marked) {
    if (!marked) {
      ++mark_;
      for (int32_t child = tree_[node].first_child; child != kNone; child = tree_[child].next) {
        if (tree_[child].slot != kNone) marks_[tree_[child].label] = mark_;
      }
      marked = true;
    }
    return marks_[label] == mark_;
  }

  // ---- the best of a frame ----

  // Ascending order is better first: the higher score, then the lower label.
  static uint64_t order_key(float score, uint32_t label) {
    score += 0.0f;  // -0 is 0
    uint32_t bits;
    std::memcpy(&bits, &score, sizeof(bits));
    bits = bits & 0x80000000u ? bits : ~bits ^ 0x80000000u;
    return (uint64_t(bits) << 32) | label;
  }

  void collect_keys() {
    keys_.clear();
    for (const Slot& slot : slots_) keys_.push_back(order_key(slot.score_now, tree_[slot.node].label));
    for (const Candidate& candidate : candidates_) keys_.push_back(order_key(candidate.score, candidate.label));
  }

  // The beam_size best candidates and prefixes so far bound what is still worth collecting.
  void raise_bound() {
    scores_.clear();
    for (const Slot& slot : slots_) scores_.push_back(slot.score_now);
    for (const Candidate& candidate : candidates_) scores_.push_back(candidate.score);
    const auto last = scores_.begin() + (settings_.beam_size - 1);
    std::nth_element(scores_.begin(), last, scores_.end(), std::greater<float>());
    bound_ = *last;
    candidates_.erase(std::remove_if(candidates_.begin(), candidates_.end(),
                                     [this](const Candidate& candidate) { return candidate.score < bound_; }),
                      candidates_.end());
  }

  // Keep the best beam_size; false if a tie leaves open which ones those are, or, behind the last frame, how the
  // results are ranked.
  bool select(bool last) {
    if (last && scorer_) return false;  // the final scores rank them, and may tie anywhere
    uint64_t worst = ~uint64_t(0);
    collect_keys();
    ranked_ = keys_;
    if (last && has_tied_results()) return false;
    if (keys_.size() > settings_.beam_size) {
      std::nth_element(ranked_.begin(), ranked_.begin() + (settings_.beam_size - 1), ranked_.end());
      worst = ranked_[settings_.beam_size - 1];
      const auto tied = std::find(ranked_.begin() + settings_.beam_size, ranked_.end(), worst);
      if (tied != ranked_.end()) return false;
    }
    next_.clear();
    dropped_.clear();
    size_t kept_candidates = 0;
    for (size_t index = 0; index < candidates_.size(); ++index) {
      if (keys_[slots_.size() + index] <= worst) candidates_[kept_candidates++] = candidates_[index];
    }
    candidates_.resize(kept_candidates);
    enter_candidates();
    for (size_t index = 0; index < slots_.size(); ++index) {
      if (keys_[index] <= worst) next_.push_back(advance(slots_[index]));
      else drop(slots_[index].node);
    }
    finish_selection();
    return true;
  }

  bool has_tied_results() {
    const size_t count = std::min<size_t>(ranked_.size(), settings_.num_results + 1);
    std::partial_sort(ranked_.begin(), ranked_.begin() + count, ranked_.end());
    return std::adjacent_find(ranked_.begin(), ranked_.begin() + count) != ranked_.begin() + count;
  }

  // The same with everything in the tree and in ds_ctcdecoder's order, which decides ties.
  void select_exactly() {
    collect_candidates(true);
    next_.clear();
    dropped_.clear();
    enter_candidates();
    for (const Slot& slot : slots_) next_.push_back(advance(slot));
    for (size_t index = 0; index < next_.size(); ++index) tree_[next_[index].node].slot = static_cast<int32_t>(index);
    tree_.post_order(order_);
    if (order_.size() > settings_.beam_size) {
      const auto key = [this](int32_t node) { return order_key(next_[tree_[node].slot].score, tree_[node].label); };
      std::nth_element(order_.begin(), order_.begin() + settings_.beam_size, order_.end(),
                       [&key](int32_t x, int32_t y) { return key(x) < key(y); });
    }
    const size_t count = std::min<size_t>(order_.size(), settings_.beam_size);
    std::vector<Slot> ordered;
    for (size_t index = 0; index < count; ++index) ordered.push_back(next_[tree_[order_[index]].slot]);
    for (size_t index = count; index < order_.size(); ++index) drop(order_[index]);
    next_ = std::move(ordered);
    finish_selection();
  }

  void drop(int32_t node) {
    tree_[node].slot = kNone;
    dropped_.push_back(node);
  }

  void finish_selection() {
    slots_.swap(next_);
    for (size_t index = 0; index < slots_.size(); ++index) tree_[slots_[index].node].slot = static_cast<int32_t>(index);
    for (int32_t node : dropped_) tree_.prune(node);
  }

  Slot advance(const Slot& slot) {
    if (slot.time_from != kNone) tree_[slot.node].time = times_.add(slot.time_from, static_cast<int32_t>(frame_));
    return {slot.node, slot.score_now, slot.blank_now, slot.label_now, kDead, kDead, kDead, kNone};
  }

  // Put the candidates into the tree, siblings in the order of this frame's labels.
  void enter_candidates() {
    order_siblings();
    for (const Candidate& candidate : candidates_) {
      const int32_t parent = slots_[candidate.slot].node;
      int32_t node = tree_.find(parent, candidate.label);
      if (node == kNone) node = make_prefix(parent, candidate);
      if (candidate.score > kDead) {
        tree_[node].time = times_.add(tree_[parent].time, static_cast<int32_t>(frame_));
      }
      tree_[node].slot = 0;  // in the beam; finish_selection sets the place
      next_.push_back({node, candidate.score, kDead, candidate.score, kDead, kDead, kDead, kNone});
    }
  }

  // Candidates are collected slot by slot.
  void order_siblings() {
    const auto before = [this](const Candidate& x, const Candidate& y) { return labels_.comes_before(x.label, y.label); };
    for (auto from = candidates_.begin(); from != candidates_.end();) {
      auto to = from + 1;
      while (to != candidates_.end() && to->slot == from->slot) ++to;
      if (to - from > 1) std::sort(from, to, before);
      from = to;
    }
  }

  int32_t make_prefix(int32_t parent, const Candidate& candidate) {
    const int32_t node = tree_.add(parent, candidate.label);
    if (!scorer_) return node;
    tree_[node].state = candidate.target;
    if (!scorer_->words()) {
      std::tie(tree_[node].unit_bytes, tree_[node].unit_needs) = units_.code_point(tree_[parent], candidate.label);
    }
    if (units_.completes(tree_[parent], candidate.label)) {
      tree_[node].unit_score = units_.score(parent, candidate.label);
      tree_[node].context = tree_.own(units_.follow(parent, candidate.label));
      tree_[node].completes = true;
    }
    return node;
  }

  // ---- results ----

  std::vector<Hypothesis> results() {
    std::vector<float> scores;
    for (const Slot& slot : slots_) scores.push_back(bounded(slot.score + (scorer_ ? units_.final_score(slot.node) : 0.0f)));
    std::vector<uint32_t> ranking(slots_.size());
    for (uint32_t index = 0; index < ranking.size(); ++index) ranking[index] = index;
    const size_t count = std::min<size_t>(ranking.size(), settings_.num_results);
    std::partial_sort(ranking.begin(), ranking.begin() + count, ranking.end(), [&](uint32_t x, uint32_t y) {
      return order_key(scores[x], tree_[slots_[x].node].label) < order_key(scores[y], tree_[slots_[y].node].label);
    });
    std::vector<Hypothesis> found;
    for (size_t index = 0; index < count; ++index) {
      const Slot& slot = slots_[ranking[index]];
      if (slot.score == kDead && !found.empty()) continue;  // a prefix of probability 0 fills an empty place only
      found.push_back({scores[ranking[index]], {}, times_.history(tree_[slot.node].time)});
      std::vector<uint32_t>& tokens = found.back().tokens;
      for (int32_t node = slot.node; node != PrefixTree::kRoot; node = tree_[node].parent) {
        tokens.push_back(tree_[node].label);
      }
      std::reverse(tokens.begin(), tokens.end());
      found.back().frames.resize(tokens.size());
    }
    return found;
  }

  const SearchSettings settings_;
  const Scorer* const scorer_;
  const uint32_t blank_;  // the label behind the last one

  FrameLabels labels_;
  PrefixTree tree_;
  FrameTree times_;
  UnitScores units_;
  ScoreBound counted_;
  std::vector<Slot> slots_, next_;
  std::vector<Candidate> candidates_;

  int64_t frame_ = 0;
  bool started_ = false, full_ = false;
  float cutoff_ = 0, bound_ = kDead;
  std::vector<uint32_t> marks_;
  uint32_t mark_ = 0;
  std::vector<uint64_t> keys_, ranked_;
  std::vector<float> scores_;
  std::vector<int32_t> order_, dropped_;
};

}  // namespace speech
