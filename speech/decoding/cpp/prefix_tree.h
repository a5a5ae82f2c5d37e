// The tree of label prefixes of one utterance, and the tree of the frames at which their labels appeared.
#pragma once

#include <cstdint>
#include <vector>

#include "scorer.h"

namespace speech {

constexpr uint32_t kNoLabel = 0xFFFFFFFFu;  // of the empty prefix; sorts behind every label
constexpr int32_t kNone = -1;
constexpr int32_t kDeleted = -2;

struct Prefix {
  int32_t parent = kNone;
  int32_t first_child = kNone, last_child = kNone;  // children in the order of their creation
  int32_t next = kNone, previous = kNone;           // siblings
  uint32_t label = kNoLabel;
  uint32_t state = 0;       // of the dictionary
  int32_t slot = kNone;     // place in the beam; kNone: kept only for its descendants
  int32_t time = 0;         // node of the frame tree; its root until the prefix has a probability
  int32_t context = kNone;  // of the last complete word; owned where that word ends
  uint32_t serial = 0;      // never reused
  float unit_score = 0;     // what the scorer added when the last label completed a word
  bool completes = false;   // whether it did
  uint8_t unit_bytes = 0;   // code points: bytes of this one so far,
  uint8_t unit_needs = 0;   // and how many its first byte announces (0: invalid)
};

class PrefixTree {
 public:
  static constexpr int32_t kRoot = 0;

  void reset(uint32_t dictionary_start, const Context* context) {
    nodes_.assign(1, Prefix{});
    free_.clear();
    contexts_.clear();
    free_contexts_.clear();
    serial_ = 0;
    nodes_[kRoot].state = dictionary_start;
    if (context) nodes_[kRoot].context = own(*context);
  }

  Prefix& operator[](int32_t node) { return nodes_[node]; }
  const Prefix& operator[](int32_t node) const { return nodes_[node]; }
  const Context& context(int32_t index) const { return contexts_[index]; }

  int32_t find(int32_t parent, uint32_t label) const {
    int32_t child = nodes_[parent].first_child;
    while (child != kNone && nodes_[child].label != label) child = nodes_[child].next;
    return child;
  }

  // Append a child to `parent`; it shares the parent's context.
  int32_t add(int32_t parent, uint32_t label) {
    int32_t node;
    if (free_.empty()) {
      node = static_cast<int32_t>(nodes_.size());
      nodes_.emplace_back();
    } else {
      node = free_.back();
      free_.pop_back();
      nodes_[node] = Prefix{};
    }
    Prefix& above = nodes_[parent];
    Prefix& made = nodes_[node];
    made.parent = parent;
    made.label = label;
    made.context = above.context;
    made.serial = ++serial_;
    made.previous = above.last_child;
    (above.last_child == kNone ? above.first_child : nodes_[above.last_child].next) = node;
    above.last_child = node;
    return node;
  }

  int32_t own(const Context& context) {
    if (free_contexts_.empty()) {
      contexts_.push_back(context);
      return static_cast<int32_t>(contexts_.size() - 1);
    }
    const int32_t index = free_contexts_.back();
    free_contexts_.pop_back();
    contexts_[index] = context;
    return index;
  }

  // Delete a prefix that left the beam, and then every ancestor that nothing needs any more.
  void prune(int32_t node) {
    while (node != kRoot && nodes_[node].slot == kNone && nodes_[node].first_child == kNone) {
      const Prefix& gone = nodes_[node];
      Prefix& above = nodes_[gone.parent];
      (gone.previous == kNone ? above.first_child : nodes_[gone.previous].next) = gone.next;
      (gone.next == kNone ? above.last_child : nodes_[gone.next].previous) = gone.previous;
      if (gone.completes) free_contexts_.push_back(gone.context);
      free_.push_back(node);
      nodes_[node].slot = kDeleted;
      node = nodes_[node].parent;
    }
  }

  // The prefixes in the beam, children before their parents, siblings in the order of their creation.
  void post_order(std::vector<int32_t>& nodes) const {
    nodes.clear();
    int32_t node = leftmost(kRoot);
    while (true) {
      if (nodes_[node].slot != kNone) nodes.push_back(node);
      if (node == kRoot) return;
      node = nodes_[node].next == kNone ? nodes_[node].parent : leftmost(nodes_[node].next);
    }
  }

 private:
  int32_t leftmost(int32_t node) const {
    while (nodes_[node].first_child != kNone) node = nodes_[node].first_child;
    return node;
  }

  std::vector<Prefix> nodes_;
  std::vector<int32_t> free_;
  std::vector<Context> contexts_;
  std::vector<int32_t> free_contexts_;
  uint32_t serial_ = 0;
};

// Frames at which labels appeared: a prefix's history is the path from the root to its node.
class FrameTree {
 public:
  void reset() { nodes_.assign(1, {kNone, kNone, kNone}); }

  // The child of `parent` for `frame`, which is never less than the last one added.
  int32_t add(int32_t parent, int32_t frame) {
    const int32_t newest = nodes_[parent].newest;
    if (newest != kNone && nodes_[newest].frame == frame) return newest;
    const int32_t node = static_cast<int32_t>(nodes_.size());
    nodes_.push_back({parent, frame, kNone});
    nodes_[parent].newest = node;
    return node;
  }

  std::vector<uint32_t> history(int32_t node) const {
    std::vector<uint32_t> frames;
    for (; node > 0; node = nodes_[node].parent) frames.push_back(static_cast<uint32_t>(nodes_[node].frame));
    return {frames.rbegin(), frames.rend()};
  }

 private:
  struct Node {
    int32_t parent, frame, newest;
  };
  std::vector<Node> nodes_;
};

}  // namespace speech
