// Patches of 16×16 RGB pixels as darkness, in the order of the stem's layers (models/stems/ink.ts): 16 cells of 4×4
// pixels, quad by quad.
#pragma once

#include <cstdint>

namespace soma {

// x / 255 to the last bit, for 0 ≤ x ≤ 255: a product with the reciprocal, and its error made good, which takes a third of
// a division's time. Where the processor has no fused multiply-add the error is not exact: there it divides.
inline float by255(float x) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  constexpr float kReciprocal = 1.f / 255.f;
  const float quotient = x * kReciprocal;
  return quotient + __builtin_fmaf(-quotient, 255.f, x) * kReciprocal;
#else
  return x / 255.f;
#endif
}

// `count` bytes as darkness, the same bits as 1 − byte / 255 computed in double.
template <int count>
inline void darken(const uint8_t* bytes, float* ink) {
  for (int i = 0; i < count; i++) ink[i] = by255(static_cast<float>(255 - bytes[i]));
}

// bytes [patches, 768] → ink [patches · 16, 48]
inline void inkOf(const uint8_t* bytes, int64_t patches, float* ink) {
  for (int64_t patch = 0; patch < patches; patch++, bytes += 768) {
    for (int cell = 0; cell < 16; cell++) {
      const int quad = cell / 4;
      const int x = quad % 2 * 8 + cell % 2 * 4;
      const int y = quad / 2 * 8 + cell / 2 % 2 * 4;
      for (int row = 0; row < 4; row++, ink += 12) {
        const uint8_t* pixels = bytes + ((y + row) * 16 + x) * 3;
        // 12 numbers are wanted. Sixteen are whole vectors: the last four are written over by the next row, but for
        // the very last, behind which there may be nothing to read or to write.
        if (patch + 1 < patches || cell < 15 || row < 3) darken<16>(pixels, ink);
        else darken<12>(pixels, ink);
      }
    }
  }
}

}  // namespace soma
