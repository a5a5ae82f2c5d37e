// What the beam search asks of an external scorer: which labels may follow inside a unit (the dictionary) and what
// the language model says once a unit is complete.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "language_model.h"

namespace speech {

constexpr float kDead = -FLT_MAX;  // ln 0
constexpr double kOutOfVocabulary = -1000.0;
constexpr float kLog10OfE = 0.4342944819f;

// A sum as a score. Files and weights are strangers', so that a sum may overflow or be no number; but a score is one,
// and exactly those above kDead belong to prefixes that have a history.
inline float bounded(double sum) {
  if (!(sum > kDead)) return kDead;  // NaN, too
  return sum < FLT_MAX ? static_cast<float>(sum) : FLT_MAX;
}

// The vocabulary as a deterministic automaton. Labels are the alphabet's, ascending within a state; a target that
// ends a word is already the start state. Checked by the caller: every index is in range.
struct Dictionary {
  const uint32_t* first_arc;  // [states + 1]
  const uint16_t* labels;     // [arcs]
  const uint32_t* targets;    // [arcs]
  uint32_t start;
};

struct Alphabet {
  const uint8_t* bytes;     // all symbols, one after the other
  const uint32_t* offsets;  // [labels + 1]
  uint32_t labels;
  uint32_t space;

  void append(uint32_t label, std::string& text) const {
    text.append(reinterpret_cast<const char*>(bytes) + offsets[label], offsets[label + 1] - offsets[label]);
  }
};

// What is known of a prefix up to its last complete word.
struct Context {
  LanguageModelState state;
  int32_t words;                // at most order: before that the sentence's beginning counts
  int32_t known;                // words since the last one outside the vocabulary, at most order
  float boosts[kMaxOrder - 1];  // hot-word boosts of the last words, newest first
};

// What the language model scores: words, which a space ends; code points, of labels that are bytes; or labels.
enum class Units : int32_t { kWords, kCodePoints, kLabels };

class Scorer {
 public:
  Scorer(const LanguageModelLayout& layout, const Dictionary& dictionary, const Alphabet& alphabet, Units units)
      : model(layout), dictionary(dictionary), alphabet(alphabet), units(units) {}

  bool words() const { return units == Units::kWords; }

  Context begin() const {
    Context context{};
    context.state = model.begin_state();
    return context;
  }

  // ln p(word | the last order - 1 words); one unknown word among all of them makes it kOutOfVocabulary.
  double log_probability(const Context& context, uint32_t word, LanguageModelState& next) const {
    if (word == kUnknownWord || context.known < std::min(context.words, model.order() - 1)) {
      next = word == kUnknownWord ? model.null_state() : advance(context, word);
      return kOutOfVocabulary;
    }
    return double(model.score(context.state, word, next)) / double(kLog10OfE);
  }

  // The context behind `word`.
  Context follow(const Context& context, uint32_t word, float boost) const {
    Context next{};
    log_probability(context, word, next.state);
    next.words = std::min(context.words + 1, model.order());
    next.known = word == kUnknownWord ? 0 : std::min(context.known + 1, model.order());
    next.boosts[0] = boost;
    for (int age = 1; age < model.order() - 1; ++age) next.boosts[age] = context.boosts[age - 1];
    return next;
  }

  const LanguageModel model;
  const Dictionary dictionary;
  const Alphabet alphabet;
  const Units units;

 private:
  LanguageModelState advance(const Context& context, uint32_t word) const {
    LanguageModelState next;
    model.score(context.state, word, next);
    return next;
  }
};

using HotWords = std::unordered_map<std::string, float>;

}  // namespace speech
