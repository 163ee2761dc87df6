// What the kernels use from elsewhere, to be included before code is compiled for a target.
#pragma once
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "core/buffer.h"
#include "core/team.h"
#include "cpu/kernels.h"
#include "cpu/node.h"
#include "cpu/session.h"
#include "symbolic/plan.h"
