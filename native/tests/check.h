// CHECK(condition): report a failure and go on. finish() is main's return value.
#pragma once
#include <cstdio>

namespace check {

inline int failures = 0;
inline const char* where = "";  // what is being tested now

inline int finish() {
  std::printf(failures ? "%d checks failed\n" : "all checks passed\n", failures);
  return failures != 0;
}

}  // namespace check

#define CHECK(condition)                                                                     \
  do {                                                                                       \
    if (!(condition) && ++check::failures <= 20)                                             \
      std::printf("%s:%d: [%s] failed: %s\n", __FILE__, __LINE__, check::where, #condition); \
  } while (false)

// The statement must throw `type` with a message that contains `text`.
#define CHECK_THROWS(statement, type, text)                               \
  do {                                                                    \
    bool thrown = false;                                                  \
    try {                                                                 \
      statement;                                                          \
    } catch (const type& error) {                                         \
      thrown = std::string(error.what()).find(text) != std::string::npos; \
    }                                                                     \
    CHECK(thrown && #statement);                                          \
  } while (false)
