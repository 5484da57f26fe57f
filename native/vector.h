// Vectors of floats as wide as this processor's registers, in GCC's and Clang's portable vector extension: the same
// source becomes AVX-512, AVX2, SSE or NEON. No -ffast-math anywhere: sums keep the order they are written in, so the
// same input gives the same bits, and NaN and infinity stay visible to the trainer.
#pragma once

#include <cstdint>
#include <cstring>

namespace soma {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

// Loaded from and stored to any address that a float may have.
typedef float Floats __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

inline Floats load(const float* from) { return *reinterpret_cast<const Floats*>(from); }
inline void store(float* to, Floats values) { *reinterpret_cast<Floats*>(to) = values; }
inline Floats fill(float value) { return value - Floats{}; }

// The first `count` floats, the rest 0.
inline Floats loadFirst(const float* from, int64_t count) {
  Floats values{};
  std::memcpy(&values, from, static_cast<size_t>(count) * sizeof(float));
  return values;
}
inline void storeFirst(float* to, Floats values, int64_t count) {
  std::memcpy(to, &values, static_cast<size_t>(count) * sizeof(float));
}

// The `count` floats at an address, and back: a whole vector, or the rest of a row.
inline Floats some(const float* from, int64_t count) { return count == kLanes ? load(from) : loadFirst(from, count); }
inline void keep(float* to, Floats values, int64_t count) {
  if (count == kLanes) store(to, values);
  else storeFirst(to, values, count);
}

// Calls perVector(index of its first number, how many) for every vector of begin … end.
template <class PerVector>
inline void overRow(int64_t begin, int64_t end, PerVector perVector) {
  for (int64_t n = begin; n < end; n += kLanes) perVector(n, end - n < kLanes ? end - n : int64_t{kLanes});
}

inline Floats select(Ints mask, Floats yes, Floats no) {
  return reinterpret_cast<Floats>((mask & reinterpret_cast<Ints>(yes)) |
                                  (~mask & reinterpret_cast<Ints>(no)));
}
inline Floats larger(Floats a, Floats b) { return select(a > b, a, b); }
inline Floats smaller(Floats a, Floats b) { return select(a < b, a, b); }
inline Floats absolute(Floats x) {
  return reinterpret_cast<Floats>(reinterpret_cast<Ints>(x) & 0x7fffffff);
}

inline float sum(Floats values) {
  float lanes[kLanes];
  std::memcpy(lanes, &values, sizeof lanes);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}
inline float largest(Floats values) {
  float lanes[kLanes];
  std::memcpy(lanes, &values, sizeof lanes);
  float best = lanes[0];
  for (int i = 1; i < kLanes; i++) best = lanes[i] > best ? lanes[i] : best;
  return best;
}

// e^x, relative error below 2e-7; 0 below -87.3 and at -infinity, infinity above 88.7, NaN at NaN.
// x = n·ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor polynomial of degree 7, whose first left-out term is
// r^8 / 8! < 6e-9; 2^n by writing n into the exponent, in two halves so that n = 128 does not overflow on the way.
inline Floats exponential(Floats x) {
  const Floats clamped = smaller(larger(x, fill(-104.f)), fill(89.f));
  const Floats shifter = fill(12582912.f);  // 1.5 · 2^23: adding it rounds to an integer
  const Floats n = (clamped * 1.44269504f + shifter) - shifter;
  // ln 2 in two parts, the first with few digits: n times it is exact.
  const Floats r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  Floats p = fill(1.f / 5040);
  p = p * r + 1.f / 720;
  p = p * r + 1.f / 120;
  p = p * r + 1.f / 24;
  p = p * r + 1.f / 6;
  p = p * r + .5f;
  p = p * r + 1.f;
  p = p * r + 1.f;
  const Ints whole = __builtin_convertvector(n, Ints);
  const Ints half = whole >> 1;
  const Floats first = reinterpret_cast<Floats>((half + 127) << 23);
  const Floats second = reinterpret_cast<Floats>((whole - half + 127) << 23);
  const Floats result = p * first * second;
  const Floats bounded = select(x < -87.33655f, Floats{}, select(x > 88.72284f, fill(__builtin_inff()), result));
  return select(x != x, x, bounded);
}

// The standard normal distribution at x: its density and the probability below x. One exponential serves both.
// Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26; absolute error below 1e-7.
struct Normal {
  Floats density;
  Floats below;
};
inline Normal normal(Floats x) {
  const Floats z = absolute(x) * 0.70710678f;
  const Floats t = 1.f / (1.f + 0.3275911f * z);
  const Floats bell = exponential(-z * z);
  Floats p = fill(1.061405429f);
  p = p * t + -1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t + -0.284496736f;
  p = p * t + 0.254829592f;
  const Floats tail = .5f * (p * t * bell);  // beyond |x|: no difference of nearly equal numbers
  return {bell * 0.39894228f, select(x < 0.f, tail, 1.f - tail)};
}

}  // namespace soma
