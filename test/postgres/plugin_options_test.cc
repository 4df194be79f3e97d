#include "postgres/plugin_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace freshet::postgres {
namespace {

using ::testing::ElementsAre;

/// A server refuses an option it does not know.
TEST(PluginOptionsTest, EachVersionIsAskedForWhatItKnows) {
  for (const int major : {10, 11, 12, 13}) {
    EXPECT_THAT(
        PluginOptions(major, "p", true),
        ElementsAre(PluginOption{"proto_version", "1"}, PluginOption{"publication_names", "\"p\""}))
        << major;
  }
  for (const int major : {14, 15, 18}) {
    EXPECT_THAT(
        PluginOptions(major, "p", true),
        ElementsAre(PluginOption{"proto_version", "2"}, PluginOption{"publication_names", "\"p\""},
                    PluginOption{"streaming", "on"}, PluginOption{"messages", "true"}))
        << major;
  }
}

TEST(PluginOptionsTest, WithoutStreamingProtocol1IsEnough) {
  EXPECT_THAT(PluginOptions(15, "p", false), ElementsAre(PluginOption{"proto_version", "1"},
                                                         PluginOption{"publication_names", "\"p\""},
                                                         PluginOption{"messages", "true"}));
}

TEST(PluginOptionsTest, ThePublicationIsQuotedAsAName) {
  EXPECT_EQ(PluginOptions(15, "My \"pub\", x", false)[1].value, "\"My \"\"pub\"\", x\"");
}

}  // namespace
}  // namespace freshet::postgres
