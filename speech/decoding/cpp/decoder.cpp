// The C interface that Python loads: decode a batch, query the language model.
#include <atomic>
#include <exception>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "beam_search.h"

#ifdef _WIN32
#define SPEECH_API extern "C" __declspec(dllexport)
#else
#define SPEECH_API extern "C" __attribute__((visibility("default")))
#endif

using namespace speech;

struct speech_batch {
  const void* const* emissions;  // one [frames, labels + 1] array of probabilities a clip
  const int64_t* frames;
  int64_t clips;
  int32_t is_double;  // else float
  int32_t threads;
  const Scorer* scorer;  // or null
  uint32_t labels;
  uint32_t hot_words;
  const uint8_t* hot_word_bytes;
  const uint32_t* hot_word_offsets;  // [hot_words + 1]
  const float* hot_word_boosts;
  SearchSettings settings;
};

// Hypotheses of all clips, one after the other, best first within a clip.
struct speech_results {
  int64_t* hypotheses;  // [clips]
  double* confidences;  // [sum of hypotheses]
  int64_t* lengths;     // [sum of hypotheses]
  uint32_t* tokens;     // [sum of lengths]
  uint32_t* frames;     // [sum of lengths]
};

namespace {

HotWords hot_words_of(const speech_batch& batch) {
  HotWords words;
  const char* bytes = reinterpret_cast<const char*>(batch.hot_word_bytes);
  for (uint32_t word = 0; word < batch.hot_words; ++word) {
    const uint32_t from = batch.hot_word_offsets[word], to = batch.hot_word_offsets[word + 1];
    words[std::string(bytes + from, to - from)] = batch.hot_word_boosts[word];
  }
  return words;
}

using ClipResults = std::vector<std::vector<Hypothesis>>;

// Decode clips until none is left; threads share the counter.
void work(const speech_batch& batch, const HotWords& hot_words, std::atomic<int64_t>& next, std::atomic<bool>& failed,
          ClipResults& results) {
  try {
    BeamSearch search(batch.settings, batch.scorer, hot_words, batch.labels);
    for (int64_t clip = next++; clip < batch.clips && !failed; clip = next++) {
      const void* probs = batch.emissions[clip];
      results[clip] = batch.is_double ? search.decode(static_cast<const double*>(probs), batch.frames[clip])
                                      : search.decode(static_cast<const float*>(probs), batch.frames[clip]);
    }
  } catch (const std::exception&) {
    failed = true;
  }
}

template <class T>
T* copy_out(const std::vector<T>& values) {
  T* copy = new T[values.size() + 1];
  std::copy(values.begin(), values.end(), copy);
  return copy;
}

speech_results* flatten(const ClipResults& clips) {
  std::vector<int64_t> hypotheses, lengths;
  std::vector<double> confidences;
  std::vector<uint32_t> tokens, frames;
  for (const auto& clip : clips) {
    hypotheses.push_back(static_cast<int64_t>(clip.size()));
    for (const Hypothesis& found : clip) {
      confidences.push_back(found.confidence);
      lengths.push_back(static_cast<int64_t>(found.tokens.size()));
      tokens.insert(tokens.end(), found.tokens.begin(), found.tokens.end());
      frames.insert(frames.end(), found.frames.begin(), found.frames.end());
    }
  }
  return new speech_results{copy_out(hypotheses), copy_out(confidences), copy_out(lengths), copy_out(tokens),
                            copy_out(frames)};
}

}  // namespace

SPEECH_API Scorer* speech_scorer_new(const LanguageModelLayout* layout, const Dictionary* dictionary,
                                     const Alphabet* alphabet, int32_t units) {
  return new (std::nothrow) Scorer(*layout, *dictionary, *alphabet, static_cast<Units>(units));
}

SPEECH_API void speech_scorer_delete(Scorer* scorer) { delete scorer; }

// log10 p of each word after those before it.
SPEECH_API void speech_scorer_query(const Scorer* scorer, const uint8_t* bytes, const uint32_t* offsets,
                                    uint32_t words, int32_t from_begin, float* log10_probs, uint32_t* indices) {
  const LanguageModel& model = scorer->model;
  LanguageModelState state = from_begin ? model.begin_state() : model.null_state(), next;
  for (uint32_t word = 0; word < words; ++word) {
    const char* text = reinterpret_cast<const char*>(bytes) + offsets[word];
    indices[word] = model.index(text, offsets[word + 1] - offsets[word]);
    log10_probs[word] = model.score(state, indices[word], next);
    state = next;
  }
}

// Null if memory ran out.
SPEECH_API speech_results* speech_decode(const speech_batch* batch) {
  try {
    const HotWords hot_words = hot_words_of(*batch);
    ClipResults results(static_cast<size_t>(batch->clips));
    std::atomic<int64_t> next{0};
    std::atomic<bool> failed{false};
    const auto task = [&] { work(*batch, hot_words, next, failed, results); };
    std::vector<std::thread> threads;
    const int64_t wanted = std::min<int64_t>(batch->threads, batch->clips);
    try {
      for (int64_t thread = 1; thread < wanted; ++thread) threads.emplace_back(task);
    } catch (const std::exception&) {
      // Fewer threads than wanted do the same work.
    }
    task();
    for (std::thread& thread : threads) thread.join();
    return failed ? nullptr : flatten(results);
  } catch (const std::exception&) {
    return nullptr;
  }
}

SPEECH_API void speech_results_delete(speech_results* results) {
  if (!results) return;
  delete[] results->hypotheses;
  delete[] results->confidences;
  delete[] results->lengths;
  delete[] results->tokens;
  delete[] results->frames;
  delete results;
}
