// Queries of a memory-mapped KenLM binary: probing hash tables and tries, quantized or not, with plain or
// array-compressed pointers. The caller has checked that every section lies inside the file; what the sections
// contain is never trusted: each index read from the file is compared with its bound before it is used.
// Scores are the float32 sums that KenLM computes, in the same order of additions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

namespace speech {

constexpr int kMaxOrder = 6;  // what the native clients are compiled for
constexpr uint32_t kUnknownWord = 0;

// One n-gram order above the unigrams. Offsets are bytes from the start of the file.
struct Level {
  uint64_t base;           // trie: bit-packed records; probing: buckets
  uint64_t entries;        // trie: records; probing: number of buckets
  uint64_t next_entries;   // trie: records of the next order
  uint64_t pointer_table;  // array-compressed pointers: where the u64 table starts
  uint64_t pointer_count;  // its length; 0: pointers are stored whole
  uint64_t prob_table;     // quantized: float centers of the probabilities
  uint64_t backoff_table;  // quantized: float centers of the backoffs
  uint32_t bucket_bytes;   // probing: size of one bucket
  uint32_t word_bits;
  uint32_t prob_bits;
  uint32_t backoff_bits;
  uint32_t pointer_bits;
  uint32_t record_bits;
};

struct LanguageModelLayout {
  const uint8_t* data;
  uint64_t vocabulary;          // trie: sorted hashes; probing: 12-byte buckets
  uint64_t vocabulary_entries;  // trie: hashes; probing: buckets
  uint64_t unigrams;
  uint32_t unigram_bytes;
  uint32_t words;  // valid word indices are below this
  int32_t order;
  int32_t probing;
  Level levels[kMaxOrder - 1];
};

// The words that still matter for what follows, newest first, with their backoffs.
struct LanguageModelState {
  uint32_t words[kMaxOrder - 1];
  float backoff[kMaxOrder - 1];
  int32_t length;
};

template <class T>
inline T load(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

// MurmurHash2, 64-bit variant A (Austin Appleby, public domain), seed 0: the hash of KenLM's vocabularies.
inline uint64_t hash_word(const char* text, size_t length) {
  constexpr uint64_t kMultiplier = 0xc6a4a7935bd1e995ULL;
  constexpr int kShift = 47;
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(text);
  uint64_t hash = length * kMultiplier;
  size_t position = 0;
  for (; position + 8 <= length; position += 8) {
    uint64_t block = load<uint64_t>(bytes + position) * kMultiplier;
    block = (block ^ (block >> kShift)) * kMultiplier;
    hash = (hash ^ block) * kMultiplier;
  }
  if (position < length) {
    uint64_t tail = 0;
    std::memcpy(&tail, bytes + position, length - position);
    hash = (hash ^ tail) * kMultiplier;
  }
  hash = (hash ^ (hash >> kShift)) * kMultiplier;
  return hash ^ (hash >> kShift);
}

class LanguageModel {
 public:
  explicit LanguageModel(const LanguageModelLayout& layout) : at_(layout) {
    begin_ = index("<s>", 3);
    end_ = index("</s>", 4);
  }

  int order() const { return at_.order; }
  uint32_t end_of_sentence() const { return end_; }

  uint32_t index(const char* text, size_t length) const {
    const uint64_t hash = hash_word(text, length);
    const uint32_t word = at_.probing ? index_by_probing(hash) : index_by_search(hash);
    return word < at_.words ? word : kUnknownWord;
  }
  uint32_t index(const std::string& text) const { return index(text.data(), text.size()); }

  LanguageModelState null_state() const { return LanguageModelState{}; }

  LanguageModelState begin_state() const {
    LanguageModelState state{};
    state.length = 1;
    state.words[0] = begin_;
    state.backoff[0] = load<float>(unigram(begin_) + 4);
    return state;
  }

  // log10 p(word | in); `out` is the state behind the word and must be another object.
  float score(const LanguageModelState& in, uint32_t word, LanguageModelState& out) const {
    Cursor cursor{};
    Weights found = start(word, cursor);
    out.backoff[0] = found.backoff;
    out.length = extends(found.backoff) ? 1 : 0;
    out.words[0] = word;
    float prob = found.prob;
    int matched = 1;
    for (int position = 0; position < in.length && cursor.continues; ++position) {
      const bool longest = position + 2 == at_.order;
      if (!step(position, longest, in.words[position], cursor, found)) break;
      prob = found.prob;
      matched = position + 2;
      if (longest) break;
      out.backoff[position + 1] = found.backoff;
      if (extends(found.backoff)) out.length = matched;
    }
    for (int position = matched - 1; position < in.length; ++position) prob += in.backoff[position];
    for (int position = 1; position < out.length; ++position) out.words[position] = in.words[position - 1];
    return prob;
  }

 private:
  struct Weights {
    float prob;
    float backoff;
  };

  // Where longer n-grams that end in the words read so far continue.
  struct Cursor {
    uint64_t begin, end;  // trie: range of records of the next order
    uint64_t hash;        // probing
    bool continues;
  };

  // KenLM marks "no longer n-gram begins here" by a backoff of minus zero.
  static bool extends(float backoff) {
    uint32_t bits;
    std::memcpy(&bits, &backoff, sizeof(bits));
    return bits != 0x80000000u;
  }

  static float negative(uint32_t bits) {
    bits |= 0x80000000u;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
  }

  const uint8_t* unigram(uint32_t word) const { return at_.data + at_.unigrams + uint64_t(word) * at_.unigram_bytes; }

  uint32_t index_by_search(uint64_t hash) const {
    const uint8_t* hashes = at_.data + at_.vocabulary;
    uint64_t low = 0, high = at_.vocabulary_entries;
    while (low < high) {
      const uint64_t middle = (low + high) / 2;
      const uint64_t value = load<uint64_t>(hashes + 8 * middle);
      if (value == hash) return static_cast<uint32_t>(middle + 1);
      if (value < hash) low = middle + 1;
      else high = middle;
    }
    return kUnknownWord;
  }

  uint32_t index_by_probing(uint64_t hash) const {
    const uint8_t* bucket = probe(at_.vocabulary, at_.vocabulary_entries, 12, hash);
    return bucket ? load<uint32_t>(bucket + 8) : kUnknownWord;
  }

  // Linear probing from hash modulo buckets; the key 0 marks an empty bucket.
  const uint8_t* probe(uint64_t base, uint64_t buckets, uint64_t bucket_bytes, uint64_t key) const {
    uint64_t position = key % buckets;
    for (uint64_t tried = 0; tried < buckets; ++tried) {
      const uint8_t* bucket = at_.data + base + position * bucket_bytes;
      const uint64_t found = load<uint64_t>(bucket);
      if (found == key) return bucket;
      if (found == 0) return nullptr;
      if (++position == buckets) position = 0;
    }
    return nullptr;
  }

  Weights start(uint32_t word, Cursor& cursor) const {
    const uint8_t* record = unigram(word);
    const Weights found{load<float>(record), load<float>(record + 4)};
    if (at_.probing) {
      cursor.hash = word;
      return probing_weights(record, cursor);
    }
    cursor.begin = load<uint64_t>(record + 8);
    cursor.end = load<uint64_t>(record + at_.unigram_bytes + 8);
    clamp(cursor, at_.levels[0].entries);
    return found;
  }

  // In probing tables the sign of the probability says whether longer n-grams end in this one.
  static Weights probing_weights(const uint8_t* record, Cursor& cursor) {
    const uint32_t bits = load<uint32_t>(record);
    cursor.continues = !(bits & 0x80000000u);
    return {negative(bits), load<float>(record + 4)};
  }

  static void clamp(Cursor& cursor, uint64_t entries) {
    cursor.continues = cursor.begin < cursor.end && cursor.end <= entries;
  }

  bool step(int position, bool longest, uint32_t word, Cursor& cursor, Weights& found) const {
    const Level& level = at_.levels[position];
    return at_.probing ? step_probing(level, longest, word, cursor, found)
                       : step_trie(level, longest, word, cursor, found);
  }

  bool step_probing(const Level& level, bool longest, uint32_t word, Cursor& cursor, Weights& found) const {
    cursor.hash = (cursor.hash * 8978948897894561157ULL) ^ (uint64_t(1u + word) * 17894857484156487943ULL);
    const uint8_t* bucket = probe(level.base, level.entries, level.bucket_bytes, cursor.hash);
    if (!bucket) return false;
    if (longest) found.prob = load<float>(bucket + 8);
    else found = probing_weights(bucket + 8, cursor);
    return true;
  }

  uint64_t bits(const Level& level, uint64_t offset, uint32_t width) const {
    const uint64_t value = load<uint64_t>(at_.data + level.base + (offset >> 3)) >> (offset & 7);
    return value & ((uint64_t(1) << width) - 1);
  }

  bool step_trie(const Level& level, bool longest, uint32_t word, Cursor& cursor, Weights& found) const {
    uint64_t low = cursor.begin, high = cursor.end;
    while (low < high) {
      const uint64_t middle = (low + high) / 2;
      const uint64_t value = bits(level, middle * level.record_bits, level.word_bits);
      if (value == word) {
        read_record(level, longest, middle, cursor, found);
        return true;
      }
      if (value < word) low = middle + 1;
      else high = middle;
    }
    return false;
  }

  void read_record(const Level& level, bool longest, uint64_t record, Cursor& cursor, Weights& found) const {
    uint64_t offset = record * level.record_bits + level.word_bits;
    if (level.prob_table) {
      if (!longest) found.backoff = center(level.backoff_table, bits(level, offset, level.backoff_bits));
      offset += level.backoff_bits;
      found.prob = center(level.prob_table, bits(level, offset, level.prob_bits));
      offset += level.prob_bits;
    } else {
      found.prob = negative(static_cast<uint32_t>(bits(level, offset, 31)));
      offset += 31;
      if (longest) return;
      const uint32_t backoff = static_cast<uint32_t>(bits(level, offset, 32));
      std::memcpy(&found.backoff, &backoff, sizeof(backoff));
      offset += 32;
    }
    if (longest) return;
    cursor.begin = pointer(level, record, offset);
    cursor.end = pointer(level, record + 1, offset + level.record_bits);
    clamp(cursor, level.next_entries);
  }

  float center(uint64_t table, uint64_t bin) const { return load<float>(at_.data + table + 4 * bin); }

  // Array compression keeps the high bits of the (ascending) pointers in a table of the records where they change.
  uint64_t pointer(const Level& level, uint64_t record, uint64_t offset) const {
    const uint64_t low_bits = bits(level, offset, level.pointer_bits);
    if (!level.pointer_count) return low_bits;
    const uint8_t* table = at_.data + level.pointer_table;
    uint64_t low = 0, high = level.pointer_count;
    while (low < high) {
      const uint64_t middle = (low + high) / 2;
      if (load<uint64_t>(table + 8 * middle) <= record) low = middle + 1;
      else high = middle;
    }
    return low == 0 ? 0 : ((low - 1) << level.pointer_bits) | low_bits;
  }

  LanguageModelLayout at_;
  uint32_t begin_, end_;
};

}  // namespace speech
