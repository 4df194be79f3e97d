#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace freshet::internal {

void CheckFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "freshet: broken invariant at %s:%d: %s\n", file, line, condition);
  std::fflush(stderr);
  std::abort();
}

}  // namespace freshet::internal
