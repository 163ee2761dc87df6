/* Selected inverse of A = L L' over a supernodal factor, with BLAS-3: the honest opponent of our
   own kernel, since no peer that factors fast has one.

   Supernode k: columns super[k] .. super[k+1]-1, rows s[pi[k] .. pi[k+1]-1] (its columns first),
   values from px[k], column-major with as many rows; the upper part of the diagonal block is never
   read. Z is stored like L. From the last supernode to the first, with J its columns, R its rows
   below:  Y = L_R L_J^-1,  Z_R = -Z_RR Y,  Z_J = (L_J L_J')^-1 - Y' Z_R. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef const char *flag;
void dgemm_(flag, flag, const int *, const int *, const int *, const double *, const double *,
            const int *, const double *, const int *, const double *, double *, const int *);
void dsymm_(flag, flag, const int *, const int *, const double *, const double *, const int *,
            const double *, const int *, const double *, double *, const int *);
void dtrsm_(flag, flag, flag, flag, const int *, const int *, const double *, const double *,
            const int *, double *, const int *);
void dpotri_(flag, const int *, double *, const int *, int *);

typedef struct {
  const int *super, *pi, *px, *s;
  const double *L;
  double *Z;
  const int *owner; /* supernode of each column */
  int *place;       /* rows of R inside an ancestor, while it is gathered */
  double *G, *Y;    /* Z_RR (lower) and Y of the current supernode */
} Work;

static const double one = 1, zero = 0, minus = -1;

/* Rows R[a..m) lie among the rows of supernode t; note where. Returns whether they are adjacent. */
static int find_rows(const Work *w, int t, const int *R, int a, int m) {
  const int *rows = w->s + w->pi[t];
  int q = 0, adjacent = 1;
  for (int b = a; b < m; b++) {
    while (rows[q] != R[b]) q++;
    w->place[b] = q;
    if (b > a && q != w->place[b - 1] + 1) adjacent = 0;
  }
  return adjacent;
}

/* First index past `a` whose row is not a column of supernode t. */
static int end_of(const Work *w, int t, const int *R, int a, int m) {
  while (a < m && R[a] < w->super[t + 1]) a++;
  return a;
}

static const double *column_of(const Work *w, int t, int column) {
  int height = w->pi[t + 1] - w->pi[t];
  return w->Z + w->px[t] + (size_t)(column - w->super[t]) * height;
}

/* G := Z_RR, lower triangle. */
static void gather(const Work *w, const int *R, int m) {
  for (int a = 0, e; a < m; a = e) {
    int t = w->owner[R[a]];
    e = end_of(w, t, R, a, m);
    int adjacent = find_rows(w, t, R, a, m);
    for (int c = a; c < e; c++) {
      const double *z = column_of(w, t, R[c]);
      double *g = w->G + (size_t)c * m;
      if (adjacent)
        memcpy(g + c, z + w->place[c], sizeof(double) * (m - c));
      else
        for (int b = c; b < m; b++) g[b] = z[w->place[b]];
    }
  }
}

/* A single column with few rows: calls cost more than they compute. */
static void narrow(const Work *w, int k, int m, const int *R) {
  const double *l = w->L + w->px[k];
  double *z = w->Z + w->px[k], inverse = 1 / l[0], dot = 0;
  for (int b = 0; b < m; b++) w->Y[b] = l[1 + b] * inverse, z[1 + b] = 0;
  for (int a = 0, e; a < m; a = e) {
    int t = w->owner[R[a]];
    e = end_of(w, t, R, a, m);
    find_rows(w, t, R, a, m);
    for (int c = a; c < e; c++) {
      const double *from = column_of(w, t, R[c]);
      double y = w->Y[c], sum = from[w->place[c]] * y;
      for (int b = c + 1; b < m; b++) {
        double v = from[w->place[b]];
        sum += v * w->Y[b];
        z[1 + b] -= v * y;
      }
      z[1 + c] -= sum;
    }
  }
  for (int b = 0; b < m; b++) dot += w->Y[b] * z[1 + b];
  z[0] = inverse * inverse - dot;
}

static void wide(const Work *w, int k, int nr, int nc, int m, const int *R) {
  const double *l = w->L + w->px[k];
  double *z = w->Z + w->px[k];
  int info;
  if (m) {
    for (int j = 0; j < nc; j++)
      memcpy(w->Y + (size_t)j * m, l + (size_t)j * nr + nc, sizeof(double) * m);
    dtrsm_("R", "L", "N", "N", &m, &nc, &one, l, &nr, w->Y, &m);
    gather(w, R, m);
    if (m <= 16) {
      for (int c = 0; c < m; c++)
        for (int b = c + 1; b < m; b++) w->G[(size_t)b * m + c] = w->G[(size_t)c * m + b];
      dgemm_("N", "N", &m, &nc, &m, &minus, w->G, &m, w->Y, &m, &zero, z + nc, &nr);
    } else
      dsymm_("L", "L", &m, &nc, &minus, w->G, &m, w->Y, &m, &zero, z + nc, &nr);
  }
  for (int j = 0; j < nc; j++)
    memcpy(z + (size_t)j * nr + j, l + (size_t)j * nr + j, sizeof(double) * (nc - j));
  dpotri_("L", &nc, z, &nr, &info);
  if (m) dgemm_("T", "N", &nc, &nc, &m, &minus, w->Y, &m, z + nc, &nr, &one, z, &nr);
}

/* Z := A^-1 on the pattern of L; diagonal := its diagonal, in permuted order. 1 without memory. */
int takahashi(int n, int count, const int *super, const int *pi, const int *px, const int *s,
              const double *L, double *Z, double *diagonal) {
  size_t most = 1, panel = 1;
  int *owner = malloc(sizeof(int) * (size_t)(n + 1)), *place = malloc(sizeof(int) * (size_t)(n + 1));
  if (!owner || !place) return 1;
  for (int k = 0; k < count; k++) {
    size_t nc = (size_t)(super[k + 1] - super[k]), m = (size_t)(pi[k + 1] - pi[k]) - nc;
    for (int j = super[k]; j < super[k + 1]; j++) owner[j] = k;
    if (m > most) most = m;
    if (m * nc > panel) panel = m * nc;
  }
  double *G = malloc(sizeof(double) * most * most), *Y = malloc(sizeof(double) * panel);
  if (!G || !Y) return 1;
  Work w = {super, pi, px, s, L, Z, owner, place, G, Y};
  for (int k = count - 1; k >= 0; k--) {
    int nr = pi[k + 1] - pi[k], nc = super[k + 1] - super[k];
    const int *R = s + pi[k] + nc;
    if (nc == 1 && nr - nc <= 32)
      narrow(&w, k, nr - nc, R);
    else
      wide(&w, k, nr, nc, nr - nc, R);
    for (int j = 0; j < nc; j++) diagonal[super[k] + j] = Z[px[k] + (size_t)j * (nr + 1)];
  }
  free(owner), free(place), free(G), free(Y);
  return 0;
}

/* log|A| = 2 sum log L_jj */
double takahashi_log_det(int count, const int *super, const int *pi, const int *px, const int *s,
                         const double *L) {
  double sum = 0;
  (void)s;
  for (int k = 0; k < count; k++)
    for (int j = 0; j < super[k + 1] - super[k]; j++)
      sum += 2 * log(L[px[k] + (size_t)j * (pi[k + 1] - pi[k] + 1)]);
  return sum;
}
