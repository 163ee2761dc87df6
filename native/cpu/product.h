// Matrix products C op= A B by tiles: straight from the operands where they fit into the cache,
// from packed copies otherwise. Column-major blocks; `ld*` are leading dimensions.
#pragma once
#include <algorithm>

#include "core/buffer.h"
#include "core/team.h"
#include "cpu/tile.h"
#include "cpu/transpose.h"

namespace cholax::CHOLAX_TARGET {

// Who works on a large product: a team of threads, or (without a team) the calling thread alone.
struct Crew {
  Team* team = nullptr;
  int worker = 0;

  template <class F>
  void parallel_for(int count, F&& body) const {
    if (team != nullptr) return team->parallel_for(count, worker, body);
    for (int i = 0; i < count; ++i) body(i, worker);
  }
};

// How an operand of a product is stored. kSymmetric: square, lower triangle stored.
enum class Form { kNormal, kTransposed, kSymmetric };

// Which part of C is wanted. Entries above the diagonal of C may be overwritten with kLower.
enum class Part { kAll, kLower };

template <class T>
struct Operand {
  const T* data;
  Stride ld;
  Form form = Form::kNormal;

  T at(Stride i, Stride j) const {
    const bool swap = form == Form::kTransposed || (form == Form::kSymmetric && i < j);
    return swap ? data[j + i * ld] : data[i + j * ld];
  }
};

// Sizes of packed blocks: A's block stays in the second-level cache, B's in the third.
inline constexpr int kDepth = 256;
inline constexpr int kBlockColumns = 1024;
template <class T>
inline constexpr int kBlockRows = 8 * kTileRows<T>;

namespace detail {

// op(A)[first .. first+count, p0 .. p0+depth) as columns of `height` rows, zero-padded.
template <class T>
void pack_tile(const Operand<T>& a, int first, int count, int p0, int depth, int height, T* out) {
  int straight = 0, mixed = 0;  // columns read down A's columns, and both ways; the rest crosswise
  if (a.form == Form::kNormal) straight = depth;
  if (a.form == Form::kSymmetric) {
    straight = std::clamp(first - p0, 0, depth);
    mixed = std::clamp(first + count - p0, straight, depth) - straight;
  }
  const int crosswise = depth - straight - mixed;
  pack_straight(count, height, straight, a.data + first + p0 * a.ld, a.ld, out);
  out += Stride(height) * straight;
  p0 += straight;
  if (mixed == count) {  // all of a diagonal block
    pack_straight(count, height, count, a.data + first + p0 * a.ld, a.ld, out);
    mirror_lower(count, out, height);
  } else {
    for (int p = 0; p < mixed; ++p)
      for (int i = 0; i < height; ++i)
        out[i + Stride(p) * height] = i < count ? a.at(first + i, p0 + p) : T(0);
  }
  out += Stride(height) * mixed;
  p0 += mixed;
  pack_crosswise(count, height, crosswise, a.data + p0 + first * a.ld, a.ld, out);
}

// op(A)[i0 .. i0+rows, p0 .. p0+depth) in tiles of `height` rows.
template <class T>
void pack_rows(const Operand<T>& a, int i0, int rows, int p0, int depth, int height, T* out) {
  for (int t = 0; t < rows; t += height, out += Stride(height) * depth)
    pack_tile(a, i0 + t, std::min(height, rows - t), p0, depth, height, out);
}

template <class T>
struct PackBuffers {
  Buffer<T> left, right;
  static PackBuffers& mine() {
    static thread_local PackBuffers buffers;
    return buffers;
  }
};

// One packed block row of A against the packed block of B.
template <class T>
void multiply_packed(int rows, int columns, int depth, const T* a, const T* b, T* c, Stride ldc,
                     Update update, Part part, int row_offset) {
  constexpr int height = kTileRows<T>;
  for (int j = 0; j < columns; j += kTileColumns) {
    const int nr = std::min(kTileColumns, columns - j);
    for (int i = 0; i < rows; i += height) {
      const int mr = std::min(height, rows - i);
      if (part == Part::kLower && row_offset + i + mr <= j) continue;
      const TileRows<T> shape(mr);
      product_tiles<T, Access::kPacked>(shape.partial, shape.vectors, nr)(
          depth, a + Stride(i) * depth, height, b + Stride(j) * depth, kTileColumns,
          c + i + j * ldc, ldc, update, shape.lanes);
    }
  }
}

inline Update continued(Update update) {
  if (update == Update::kAssign) return Update::kAdd;
  return update == Update::kAssignNegative ? Update::kSubtract : update;
}

// B is given as its transpose (n × k), so that both operands are packed by rows.
template <class T>
void product_packed(const Crew& crew, int m, int n, int k, const Operand<T>& a,
                    const Operand<T>& bt, T* c, Stride ldc, Update update, Part part) {
  for (int p0 = 0; p0 < k; p0 += kDepth) {
    const int depth = std::min(kDepth, k - p0);
    for (int j0 = 0; j0 < n; j0 += kBlockColumns) {
      const int columns = std::min(kBlockColumns, n - j0);
      const int padded = (columns + kTileColumns - 1) / kTileColumns * kTileColumns;
      T* right = PackBuffers<T>::mine().right.reserve(std::size_t(padded) * depth);
      pack_rows(bt, j0, columns, p0, depth, kTileColumns, right);
      const int first_row = part == Part::kLower ? j0 : 0;
      const int blocks = (m - first_row + kBlockRows<T> - 1) / kBlockRows<T>;
      crew.parallel_for(blocks, [&](int block, int) {
        // From the bottom up: in a triangle those blocks are the longest.
        const int i0 = first_row + (blocks - 1 - block) * kBlockRows<T>;
        const int rows = std::min(kBlockRows<T>, m - i0);
        const int wanted = part == Part::kLower ? std::min(columns, i0 + rows - j0) : columns;
        T* left = PackBuffers<T>::mine().left.reserve(std::size_t(kBlockRows<T>) * kDepth);
        pack_rows(a, i0, rows, p0, depth, kTileRows<T>, left);
        multiply_packed(rows, wanted, depth, left, right, c + i0 + j0 * ldc, ldc, update, part,
                        i0 - j0);
      });
    }
    update = continued(update);
  }
}

// Without copies; B's element (p, j) by `kAccess`.
template <class T, Access kAccess>
void product_direct(int m, int n, int k, const T* a, Stride lda, const T* b, Stride ldb, T* c,
                    Stride ldc, Update update, Part part) {
  for (int i = 0; i < m; i += kTileRows<T>) {
    const int mr = std::min(kTileRows<T>, m - i);
    const TileRows<T> shape(mr);
    const int end = part == Part::kLower ? std::min(n, i + mr) : n;
    for (int j = 0; j < end; j += kTileColumns) {
      const int nr = std::min(kTileColumns, end - j);
      product_tiles<T, kAccess>(shape.partial, shape.vectors, nr)(
          k, a + i, lda, b + (kAccess == Access::kByColumn ? j : j * ldb), ldb, c + i + j * ldc,
          ldc, update, shape.lanes);
    }
  }
}

// Whether operands are too large to be read in place (measured; the second-level cache holds some
// hundred kB). A (m × k) and B (n × k), both read down their columns; A is read again for every
// tile of columns of B.
inline bool worth_packing_transposed(int m, int n, int k) {
  return double(std::max(m, n)) * k > 19e3 && m >= 32 && n >= 16 && k >= 16;
}

// B is k × n: its columns are few streams, which the cache sees coming.
inline bool worth_packing(int m, int n, int k) { return double(m) * k > 80e3 && n >= 48; }

// A is k × m and B k × n: read in place, the sums run along the columns of both.
inline bool worth_packing_sums(int m, int n, int k) {
  const int narrow = std::min(m, n);
  return narrow >= 200 || (narrow >= 128 && double(std::max(m, n)) * k > 80e3);
}

// Widest symmetric block that is mirrored and read in place.
inline constexpr int kMirrored = 192;

// The same for A symmetric (m × m) and B m × n.
inline bool worth_packing_symmetric(int m, int n) {
  return m > kMirrored ? n >= 16 : double(m) * n > 12e3;
}

// C (m × n) op= Aᵀ B without copies.
template <class T>
void transposed_direct(int m, int n, int k, const T* a, Stride lda, const T* b, Stride ldb, T* c,
                       Stride ldc, Update update, Part part) {
  for (int j = 0; j < n; j += 4)
    for (int i = part == Part::kLower ? j : 0; i < m; i += 4) {
      const int mr = std::min(4, m - i), nr = std::min(4, n - j);
      dot_tiles<T>[mr - 1][nr - 1](k, a + i* lda, lda, b + j* ldb, ldb, c + i + j* ldc, ldc,
                                   update);
    }
}

// C (m × n) op= A B, A symmetric, block column by block column: what lies below the diagonal is
// read once for itself and once, while still in the cache, for its mirror image.
template <class T>
void symmetric_direct(int m, int n, T* a, Stride lda, const T* b, Stride ldb, T* c, Stride ldc,
                      Update update) {
  for (int j = 0; j < m; j += kMirrored) {
    const int width = std::min(kMirrored, m - j), next = j + width;
    T* corner = a + j + j * lda;
    mirror_lower(width, corner, lda);
    const Update first = j == 0 ? update : continued(update);
    product_direct<T, Access::kByRow>(width, n, width, corner, lda, b + j, ldb, c + j, ldc, first,
                                      Part::kAll);
    if (next == m) break;
    product_direct<T, Access::kByRow>(m - next, n, width, corner + width, lda, b + j, ldb, c + next,
                                      ldc, first, Part::kAll);
    transposed_direct(width, n, m - next, corner + width, lda, b + next, ldb, c + j, ldc,
                      continued(update), Part::kAll);
  }
}

}  // namespace detail

// C (m × n) op= A (m × k) B, B being k × n.
template <class T>
void multiply(const Crew& crew, int m, int n, int k, const T* a, Stride lda, const T* b, Stride ldb,
              T* c, Stride ldc, Update update) {
  if (detail::worth_packing(m, n, k))
    return detail::product_packed<T>(crew, m, n, k, {a, lda}, {b, ldb, Form::kTransposed}, c, ldc,
                                     update, Part::kAll);
  detail::product_direct<T, Access::kByRow>(m, n, k, a, lda, b, ldb, c, ldc, update, Part::kAll);
}

// C (m × n) op= A (m × k) Bᵀ, B being n × k.
template <class T>
void multiply_transposed(const Crew& crew, int m, int n, int k, const T* a, Stride lda, const T* b,
                         Stride ldb, T* c, Stride ldc, Update update, Part part = Part::kAll) {
  if (detail::worth_packing_transposed(m, n, k))
    return detail::product_packed<T>(crew, m, n, k, {a, lda}, {b, ldb}, c, ldc, update, part);
  detail::product_direct<T, Access::kByColumn>(m, n, k, a, lda, b, ldb, c, ldc, update, part);
}

// C (m × n) op= Aᵀ B, A being k × m and B k × n.
template <class T>
void transposed_multiply(const Crew& crew, int m, int n, int k, const T* a, Stride lda, const T* b,
                         Stride ldb, T* c, Stride ldc, Update update, Part part = Part::kAll) {
  if (detail::worth_packing_sums(m, n, k))
    return detail::product_packed<T>(crew, m, n, k, {a, lda, Form::kTransposed},
                                     {b, ldb, Form::kTransposed}, c, ldc, update, part);
  detail::transposed_direct(m, n, k, a, lda, b, ldb, c, ldc, update, part);
}

// C (m × n) op= A B, A symmetric m × m with its lower triangle given; parts of the upper one are
// overwritten.
template <class T>
void symmetric_multiply(const Crew& crew, int m, int n, T* a, Stride lda, const T* b, Stride ldb,
                        T* c, Stride ldc, Update update) {
  if (detail::worth_packing_symmetric(m, n))
    return detail::product_packed<T>(crew, m, n, m, {a, lda, Form::kSymmetric},
                                     {b, ldb, Form::kTransposed}, c, ldc, update, Part::kAll);
  detail::symmetric_direct(m, n, a, lda, b, ldb, c, ldc, update);
}

}  // namespace cholax::CHOLAX_TARGET
