// A plan with a positive definite matrix on it, and the dense truth about both.
#pragma once
#include <memory>
#include <utility>
#include <vector>

#include "dense_reference.h"
#include "plan_labels.h"
#include "values.h"

namespace cholax::testing {

// Panels and dense lower triangles are two forms of the same numbers; padding is zero in panels.
class Layout {
 public:
  explicit Layout(const Plan& plan) : n_(plan.n), labels_(labels(plan)) {}

  Matrix dense(const Values& panels) const {
    Matrix out = Matrix::Zero(n_, n_);
    for (std::size_t p = 0; p < labels_.size(); ++p)
      if (!padding(p)) out(labels_[p].first, labels_[p].second) = panels[p];
    return out;
  }
  Values panels(const Matrix& m) const {
    Values out(labels_.size());
    for (std::size_t p = 0; p < labels_.size(); ++p)
      if (!padding(p)) out[p] = m(labels_[p].first, labels_[p].second);
    return out;
  }
  Values random(Random& numbers) const { return panels(dense(numbers.vector(labels_.size()))); }
  bool padding(std::size_t p) const { return labels_[p].first < 0; }

 private:
  Index n_;
  std::vector<std::pair<Index, Index>> labels_;
};

// Off-diagonal entries in (-1, 1), diagonally dominant; exact in float.
inline Values dominant_values(const Lower& a, Random& random) {
  Values values = random.vector(a.row.size());
  Values sums(a.n, 1);
  for (Index j = 0; j < a.n; ++j)
    for (Index k = a.ptr[j] + 1; k < a.ptr[j + 1]; ++k) {
      sums[j] += std::abs(values[k]);
      sums[a.row[k]] += std::abs(values[k]);
    }
  for (Index j = 0; j < a.n; ++j) values[a.ptr[j]] = float(sums[j]);
  return values;
}

// What each kernel must give, as panels.
struct Truth {
  Values l, tangent, cotangent, product, product_transpose, weighted_inverse;
};

struct Problem {
  Problem(const Lower& lower_a, std::shared_ptr<const Plan> its_plan)
      : a(lower_a), plan(std::move(its_plan)), layout(*plan) {
    Random random(7);
    values = dominant_values(a, random);
    Matrix permuted = Matrix::Zero(a.n, a.n);
    for (Index j = 0; j < a.n; ++j)
      for (Index k = a.ptr[j]; k < a.ptr[j + 1]; ++k) {
        const Index i = plan->iperm[a.row[k]], t = plan->iperm[j];
        permuted(std::max(i, t), std::min(i, t)) = values[k];
      }
    l = permuted.llt().matrixL();
    inverse = inverse_lower(l);
    w = layout.random(random);
    x = layout.random(random);
    const Matrix dense_w = layout.dense(w), dense_x = layout.dense(x);
    truth = {layout.panels(l),
             layout.panels(tangent(l, dense_w)),
             layout.panels(cotangent(l, dense_x)),
             layout.panels(product(l, dense_x)),
             layout.panels(product_transpose(l, dense_w)),
             layout.panels(weighted_inverse(l))};
  }

  Lower a;
  std::shared_ptr<const Plan> plan;
  Layout layout;
  Values values;      // of A, as stored
  Matrix l, inverse;  // its factor L and L⁻¹
  Values w, x;        // two more vectors on the filled pattern
  Truth truth;
};

}  // namespace cholax::testing
