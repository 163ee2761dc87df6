/* Sum of an array, `repeat` times, on some threads: the rate of reading memory or a cache. */
typedef double vector __attribute__((vector_size(64), aligned(8)));

/* Eight independent sums: one chain of additions would be the limit. */
static double sum_of(const double *x, long n) {
  vector sum[8] = {{0}}, total = {0};
  double result = 0;
  for (long k = 0; k + 64 <= n; k += 64)
    for (int j = 0; j < 8; j++) sum[j] += *(const vector *)(x + k + 8 * j);
  for (int j = 0; j < 8; j++) total += sum[j];
  for (int j = 0; j < 8; j++) result += total[j];
  return result;
}

double read_all(const double *x, long n, int repeat, int threads) {
  double sum = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : sum) schedule(static)
  for (int t = 0; t < threads; t++) {
    long first = n * t / threads, last = n * (t + 1) / threads;
    for (int r = 0; r < repeat; r++) {
      sum += sum_of(x + first, last - first);
      __asm__ volatile("" ::: "memory"); /* each pass reads again */
    }
  }
  return sum;
}
