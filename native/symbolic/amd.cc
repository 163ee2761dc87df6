#include "amd.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>

namespace cholax {
namespace {

using Position = std::uint32_t;  // in the lists, which hold each entry of a matrix twice

constexpr Index kNone = -1;
constexpr Index kElement = -1;  // Node::elements of columns that have been eliminated

// A variable: columns not yet eliminated, with equal neighbours. Or an element: columns eliminated
// together, whose list is the clique they left. 32 bytes, so that all there is to know about a
// neighbour comes with one memory access.
struct Node {
  Position begin;  // its list: elements first, then variables
  Index length;
  Index elements;  // how many elements the list begins with
  Index size;      // columns; 0 once absorbed by another variable; negative while in the front
  Index degree;    // bound on the number of columns next to it
  Index next;      // in its bucket, or among those with its hash; once absorbed: by whom
  Index previous;  // in its bucket; while in the front: its hash
  Index mark;      // 0: an element absorbed by another
};

enum class Score { kDegree, kFill };

// A positive number for each score: the number grows with the score, is exact while the score is
// small, and keeps kBits binary digits of it later.
constexpr int kBits = 4;
constexpr Index kBuckets = 66 << kBits;
Index bucket_of(float score) {
  std::uint32_t bits;
  score += 1.0f;
  std::memcpy(&bits, &score, sizeof bits);
  return static_cast<Index>((bits >> (23 - kBits)) - (127u << kBits));
}

// The quotient graph of a symmetric pattern under elimination. Each step takes one pivot, and works
// on the front: the variables next to it.
class QuotientGraph {
 public:
  QuotientGraph(Index n, const Index* indptr, const Index* indices, Score score);
  std::vector<Index> eliminate_all();

 private:
  void take_lists(const std::vector<Position>& degree, const Index* indptr, const Index* indices);
  void set_dense_apart(const std::vector<Position>& degree);
  void link(Index i, Index clique);
  Index take_pivot();
  Position room_for(std::uint64_t entries) const;
  void pack_lists(Position room);
  Position append_variables(Position from, Index length, Position end);
  void form_front(Index k);
  void measure_elements();
  bool prune(Index k, Index i);
  void update_front(Index k);
  bool same_neighbours(const Node& v) const;
  void merge_equal(Index first);
  void close_front(Index k);
  Index element_of(Index i);
  std::vector<Index> permutation();

  const Index n_;
  const Score score_;
  Index sparse_ = 0;              // rows that are not dense
  std::unique_ptr<Node[]> node_;  // n columns, then the heads of the buckets
  std::unique_ptr<Index[]> list_;
  Position capacity_ = 0, free_ = 0;
  std::vector<Index> pivots_;
  Index eliminated_ = 0;  // columns
  Index lowest_ = 0;      // no bucket below it holds a variable
  Index mark_ = 1;        // larger than all marks before a step
  Index top_mark_ = 1;    // not smaller than any mark
  Position front_begin_ = 0, front_end_ = 0;
  Index front_size_ = 0;             // in columns
  std::vector<Index> table_{kNone};  // hash -> first variable of the front with this hash
  Position table_mask_ = 0;
};

QuotientGraph::QuotientGraph(Index n, const Index* indptr, const Index* indices, Score score)
    : n_(n), score_(score), node_(new Node[std::size_t(n) + kBuckets]) {
  std::vector<Position> degree(n, 0);
  for (Index j = 0; j < n; ++j)
    for (Index p = indptr[j]; p < indptr[j + 1]; ++p)
      if (indices[p] != j) ++degree[indices[p]], ++degree[j];
  set_dense_apart(degree);
  take_lists(degree, indptr, indices);
  for (Index b = n; b < n + kBuckets; ++b) node_[b].next = node_[b].previous = b;
  for (Index i = 0; i < n; ++i) {
    node_[i].degree = node_[i].length;
    if (node_[i].size > 0) link(i, 0);
  }
  pivots_.reserve(n);
}

// Dense rows are elements from the start, next to nothing, with their place in `degree`.
void QuotientGraph::set_dense_apart(const std::vector<Position>& degree) {
  const auto most = static_cast<Position>(std::max(16.0, 10 * std::sqrt(double(n_))));
  std::vector<Index> dense;
  for (Index i = 0; i < n_; ++i) {
    const bool is_dense = degree[i] > most;
    if (is_dense) dense.push_back(i);
    node_[i] = {0, 0, is_dense ? kElement : 0, !is_dense, 0, kNone, kNone, !is_dense};
  }
  std::stable_sort(dense.begin(), dense.end(),
                   [&](Index a, Index b) { return degree[a] < degree[b]; });
  sparse_ = n_ - static_cast<Index>(dense.size());
  for (std::size_t k = 0; k < dense.size(); ++k)
    node_[dense[k]].previous = sparse_ + static_cast<Index>(k);
}

// Both triangles without the diagonal and the dense rows.
void QuotientGraph::take_lists(const std::vector<Position>& degree, const Index* indptr,
                               const Index* indices) {
  for (Index i = 0; i < n_; ++i) {
    node_[i].begin = free_;
    if (node_[i].size) free_ += degree[i];
  }
  capacity_ = room_for(free_);
  list_.reset(new Index[capacity_]);
  for (Index j = 0; j < n_; ++j) {
    Node& column = node_[j];
    if (column.size == 0) continue;
    for (Index p = indptr[j]; p < indptr[j + 1]; ++p) {
      Node& row = node_[indices[p]];
      if (row.size == 0 || &row == &column) continue;
      list_[row.begin + row.length++] = j;
      list_[column.begin + column.length++] = indices[p];
    }
  }
}

// clique: columns next to i that are known to be next to each other.
inline void QuotientGraph::link(Index i, Index clique) {
  Node& v = node_[i];
  float score = static_cast<float>(v.degree);
  if (score_ == Score::kFill) {
    const float c = static_cast<float>(clique);
    score = (score - c) * (score + c - 1) / static_cast<float>(2 * v.size);
  }
  const Index bucket = bucket_of(score);
  lowest_ = std::min(lowest_, bucket);
  Node& head = node_[n_ + bucket];
  v.previous = n_ + bucket;
  v.next = head.next;
  node_[head.next].previous = i;
  head.next = i;
}

Index QuotientGraph::take_pivot() {
  while (node_[n_ + lowest_].next == n_ + lowest_) ++lowest_;
  const Index k = node_[n_ + lowest_].next;
  node_[n_ + lowest_].next = node_[k].next;
  node_[node_[k].next].previous = n_ + lowest_;
  return k;
}

// Length of an array for this many entries: the clique of a pivot always finds room at its end.
Position QuotientGraph::room_for(std::uint64_t entries) const {
  const std::uint64_t most = std::numeric_limits<Position>::max();
  return static_cast<Position>(std::min<std::uint64_t>(entries + entries / 5 + n_ + 1, most));
}

// Moves the lists together, so that at least `room` entries are free.
void QuotientGraph::pack_lists(Position room) {
  const auto used = [](const Node& v) { return v.elements == kElement ? v.mark : v.size; };
  std::uint64_t total = room;
  for (Index i = 0; i < n_; ++i)
    if (used(node_[i])) total += node_[i].length;
  capacity_ = room_for(total);
  std::unique_ptr<Index[]> packed(new Index[capacity_]);
  free_ = 0;
  for (Index i = 0; i < n_; ++i) {
    Node& v = node_[i];
    if (!used(v)) continue;
    std::copy_n(list_.get() + v.begin, v.length, packed.get() + free_);
    v.begin = free_;
    free_ += v.length;
  }
  list_.swap(packed);
}

// Writes the variables of a list that are alive and not in the front to list_[end], and counts
// them in. Without branches, as no pattern tells which they are; the same holds below.
inline Position QuotientGraph::append_variables(Position from, Index length, Position end) {
  Node* const node = node_.get();
  Index* const list = list_.get();
  Index total = 0;
  for (const Position stop = from + length; from < stop; ++from) {
    const Index i = list[from];
    const Index size = node[i].size;
    node[i].size = size > 0 ? -size : size;
    total += size > 0 ? size : 0;
    list[end] = i;
    end += size > 0;
  }
  front_size_ += total;
  return end;
}

// The pivot becomes an element whose list is the front. It absorbs the elements next to it.
void QuotientGraph::form_front(Index k) {
  Node& pivot = node_[k];
  if (pivot.elements && std::uint64_t{free_} + pivot.degree >= capacity_) pack_lists(pivot.degree);
  eliminated_ += pivot.size;
  pivot.size = -pivot.size;
  front_size_ = 0;
  const Position variables = pivot.begin + pivot.elements;
  Position end = front_begin_ = pivot.elements ? free_ : pivot.begin;
  for (Position p = pivot.begin; p < variables; ++p) {
    Node& e = node_[list_[p]];
    end = append_variables(e.begin, e.length, end);
    e.mark = 0;
    e.next = k;
  }
  front_end_ = append_variables(variables, pivot.length - pivot.elements, end);
  for (Position p = front_begin_; p < front_end_; ++p) {
    const Node& v = node_[list_[p]];
    node_[v.next].previous = v.previous;
    node_[v.previous].next = v.next;
  }
  pivot.begin = front_begin_;
  pivot.elements = kElement;
  pivot.next = kNone;
}

// For elements next to the front: mark - mark_ := columns outside the front.
void QuotientGraph::measure_elements() {
  Node* const node = node_.get();
  const Index* const list = list_.get();
  if (mark_ > std::numeric_limits<Index>::max() - 2 * n_) {
    for (Index i = 0; i < n_; ++i) node[i].mark = node[i].mark != 0;
    mark_ = 2;
  }
  const Index mark = mark_;
  Index top = mark;
  for (Position p = front_begin_; p < front_end_; ++p) {
    const Node& v = node[list[p]];
    const Index size = -v.size;
    for (Position q = v.begin, stop = q + v.elements; q < stop; ++q) {
      Node& e = node[list[q]];
      const Index measured = (e.mark >= mark ? e.mark : e.degree + mark) - size;
      e.mark = e.mark ? measured : 0;
      top = std::max(top, measured);
    }
  }
  top_mark_ = top;
}

// Drops from the list of i what element k stands for, adds k, and bounds the columns outside the
// front next to i. False if there are none. Elements inside the front are absorbed by k.
inline bool QuotientGraph::prune(Index k, Index i) {
  Node* const node = node_.get();
  Index* const list = list_.get();
  Node& v = node[i];
  Position end = v.begin, p = v.begin;
  std::uint32_t hash = 0;
  Index degree = 0;
  for (const Position stop = p + v.elements; p < stop; ++p) {
    const Index id = list[p];
    const Index outside = node[id].mark - mark_;  // negative: absorbed
    if (outside == 0) {
      node[id].mark = 0;
      node[id].next = k;
    }
    list[end] = id;
    end += outside > 0;
    hash += outside > 0 ? id : 0;
    degree += outside > 0 ? outside : 0;
  }
  const Position variables = end;
  for (const Position stop = v.begin + v.length; p < stop; ++p) {
    const Index id = list[p];
    const Index size = node[id].size;
    list[end] = id;
    end += size > 0;
    hash += size > 0 ? id : 0;
    degree += size > 0 ? size : 0;
  }
  if (degree == 0) return false;
  list[end++] = list[variables];  // there is room: something led from i to the pivot
  list[variables] = list[v.begin];
  list[v.begin] = k;
  v.elements = static_cast<Index>(variables - v.begin) + 1;
  v.length = static_cast<Index>(end - v.begin);
  v.degree = std::min(v.degree, degree);
  v.previous = static_cast<Index>((hash * 0x9E3779B1u) >> 4);
  return true;
}

void QuotientGraph::update_front(Index k) {
  while (table_mask_ + 1 < front_end_ - front_begin_) table_mask_ = 2 * table_mask_ + 1;
  if (table_.size() <= table_mask_) table_.resize(table_mask_ + 1, kNone);
  Node& pivot = node_[k];
  for (Position p = front_begin_; p < front_end_; ++p) {
    const Index i = list_[p];
    Node& v = node_[i];
    if (prune(k, i)) {
      Index& first = table_[v.previous & table_mask_];
      v.next = first;
      first = i;
    } else {  // eliminated with the pivot, at no fill
      front_size_ += v.size;
      eliminated_ -= v.size;
      pivot.size += v.size;
      v.size = 0;
      v.next = k;
    }
  }
  mark_ = top_mark_ + 1;
}

// All but the first entry of the list, which is the new element, are marked.
inline bool QuotientGraph::same_neighbours(const Node& v) const {
  for (Position p = v.begin + 1; p < v.begin + v.length; ++p)
    if (node_[list_[p]].mark != mark_) return false;
  return true;
}

// Merges the variables with equal neighbours among those linked from `first`.
void QuotientGraph::merge_equal(Index first) {
  for (Index i = first; node_[i].next != kNone; i = node_[i].next) {
    Node& v = node_[i];
    bool marked = false;
    for (Index* link = &v.next; *link != kNone;) {
      Node& u = node_[*link];
      bool equal = u.previous == v.previous && u.length == v.length && u.elements == v.elements;
      if (equal && !marked) {
        ++mark_;
        for (Position p = v.begin + 1; p < v.begin + v.length; ++p) node_[list_[p]].mark = mark_;
        marked = true;
      }
      equal = equal && same_neighbours(u);
      if (!equal) {
        link = &u.next;
        continue;
      }
      *link = u.next;
      v.size += u.size;
      u.size = 0;
      u.next = i;
    }
    if (v.next == kNone) return;
  }
}

void QuotientGraph::close_front(Index k) {
  Position end = front_begin_;
  for (Position p = front_begin_; p < front_end_; ++p) {
    const Index i = list_[p];
    Node& v = node_[i];
    if (v.size == 0) continue;
    const Index first = table_[v.previous & table_mask_];
    if (first != kNone) {
      table_[v.previous & table_mask_] = kNone;
      merge_equal(first);
      if (v.size == 0) continue;
    }
    v.size = -v.size;
    const Index clique = front_size_ - v.size;
    v.degree = std::min(v.degree + clique, sparse_ - eliminated_ - v.size);
    link(i, clique);
    list_[end++] = i;
  }
  Node& pivot = node_[k];
  pivot.size = -pivot.size;
  pivot.length = static_cast<Index>(end - front_begin_);
  pivot.degree = front_size_;
  pivot.mark = pivot.length > 0;
  if (front_begin_ == free_) free_ = end;
  ++mark_;
}

std::vector<Index> QuotientGraph::eliminate_all() {
  while (eliminated_ < sparse_) {
    const Index k = take_pivot();
    pivots_.push_back(k);
    form_front(k);
    measure_elements();
    update_front(k);
    close_front(k);
  }
  return permutation();
}

// The element that holds column i; shortens the way to it.
inline Index QuotientGraph::element_of(Index i) {
  Index k = i;
  while (node_[k].elements != kElement) k = node_[k].next;
  while (i != k) {
    const Index up = node_[i].next;
    node_[i].next = k;
    i = up;
  }
  return k;
}

// A postorder of the elements, parents being those that absorbed them.
std::vector<Index> QuotientGraph::permutation() {
  for (const Index k : pivots_) node_[k].degree = node_[k].size;
  for (const Index k : pivots_)  // degree := columns of the element and all below
    if (node_[k].next != kNone) node_[node_[k].next].degree += node_[k].degree;
  Index last = sparse_;
  for (auto k = pivots_.rbegin(); k != pivots_.rend(); ++k) {
    // length: where the columns of the next child end; previous: where its own begin
    Node& e = node_[*k];
    Index& end = e.next == kNone ? last : node_[e.next].length;
    e.length = e.previous = end - e.size;
    end -= e.degree;
  }
  std::vector<Index> perm(n_);
  for (Index i = 0; i < n_; ++i) perm[node_[element_of(i)].previous++] = i;
  return perm;
}

}  // namespace

std::vector<Index> amd(Index n, const Index* indptr, const Index* indices) {
  return QuotientGraph(n, indptr, indices, Score::kDegree).eliminate_all();
}

std::vector<Index> amf(Index n, const Index* indptr, const Index* indices) {
  return QuotientGraph(n, indptr, indices, Score::kFill).eliminate_all();
}

}  // namespace cholax
