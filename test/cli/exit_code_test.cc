#include "cli/exit_code.h"

#include <gtest/gtest.h>

#include <set>

namespace freshet::cli {
namespace {

TEST(ExitCodeTest, EveryKindOfErrorHasADocumentedCodeOfItsOwn) {
  std::set<ExitCode> documented;
  for (const ExitCodeDoc& doc : ExitCodes()) documented.insert(doc.code);
  std::set<ExitCode> used;

  for (int kind = 0; kind <= static_cast<int>(ErrorKind::kFatal); ++kind) {
    const ExitCode code = ExitCodeOf(static_cast<ErrorKind>(kind));

    EXPECT_TRUE(used.insert(code).second) << "code " << static_cast<int>(code) << " stands twice";
    EXPECT_TRUE(documented.contains(code)) << static_cast<int>(code);
    EXPECT_NE(code, ExitCode::kOk);
  }
}

/// Scripts rely on these.
TEST(ExitCodeTest, NumbersStayWhatTheyAre) {
  EXPECT_EQ(static_cast<int>(ExitCodeOf(ErrorKind::kConfig)), 2);
  EXPECT_EQ(static_cast<int>(ExitCode::kNegative), 3);
  EXPECT_EQ(static_cast<int>(ExitCodeOf(ErrorKind::kUnavailable)), 4);
  EXPECT_EQ(static_cast<int>(ExitCodeOf(ErrorKind::kGap)), 11);
}

}  // namespace
}  // namespace freshet::cli
