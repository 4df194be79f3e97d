#include "generate/values.h"

#include <fmt/format.h>

#include <array>

namespace freshet::generate {
namespace {

constexpr std::array<std::string_view, 16> kFirstNames = {
    "Ada",  "Grace", "Alan", "Barbara", "Edsger", "Zoë",  "Łukasz", "Søren",
    "José", "Nadia", "Omar", "Priya",   "Wei",    "Yuki", "李娜",   "Ольга"};
constexpr std::array<std::string_view, 14> kLastNames = {
    "Lovelace", "Hopper", "Turing", "Liskov", "Dijkstra", "O'Brien", "Müller",
    "Nguyễn",   "García", "Okafor", "Yılmaz", "Kowalski", "山田",    "Иванова"};
constexpr std::array<std::string_view, 10> kCities = {"Berlin",  "Lagos",  "São Paulo", "Osaka",
                                                      "Toronto", "Kraków", "Pune",      "Lyon",
                                                      "Austin",  "Αθήνα"};
constexpr std::array<std::string_view, 8> kStreets = {
    "Main Street", "Rue de l'Église", "Hauptstraße", "5th Avenue",
    "Calle Mayor", "High Street",     "桜通り",      "Park Lane"};
constexpr std::array<std::string_view, 8> kAdjectives = {
    "small", "sturdy", "silent", "quick", "modular", "folding", "bright", "reusable"};
constexpr std::array<std::string_view, 10> kThings = {"lamp",   "kettle", "backpack", "keyboard",
                                                      "bottle", "chair",  "notebook", "headset",
                                                      "mug",    "tent"};
constexpr std::array<std::string_view, 8> kSentences = {"Leave at the door.",
                                                        "Gift wrap, please.",
                                                        "Call before delivery.",
                                                        "Second attempt.",
                                                        "Fragile!",
                                                        "Counted twice, 100% sure.",
                                                        "Customer's own carrier.",
                                                        "Bitte nicht knicken — danke."};
constexpr std::array<std::string_view, 12> kOddTexts = {
    "",
    " leading and trailing ",
    "\\N",
    "\\",
    "a\tb",
    "line one\nline two\r\nline three",
    "quote ' double \" back \\ end",
    "{\"not\": [\"json\", null]}",
    "NULL",
    "🚀 to the 月 with e\u0301 and \u202Eright to left",
    "'; DROP TABLE users; --",
    "\u00A0\u2003\uFEFF"};
constexpr std::array<std::string_view, 6> kOddNumerics = {
    "'NaN'::numeric", "99999999.99", "-99999999.99", "-0.01", "0.00", "0.01"};
constexpr std::array<std::string_view, 8> kOddTimestamps = {"'infinity'",
                                                            "'-infinity'",
                                                            "'0044-03-15 12:00:00+00 BC'",
                                                            "'4713-01-01 00:00:00+00 BC'",
                                                            "'0001-01-01 00:00:00+00'",
                                                            "'1969-12-31 23:59:59.999999+00'",
                                                            "'9999-12-31 23:59:59.999999+00'",
                                                            "'294276-12-31 23:59:59.999999+00'"};

}  // namespace

std::string Quote(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out.push_back('\'');
    out.push_back(c);
  }
  out.push_back('\'');
  return out;
}

std::string Quote(const Uuid& uuid) { return fmt::format("'{}'", ToString(uuid)); }

std::string Cents(int64_t cents) {
  const bool negative = cents < 0;
  const int64_t size = negative ? -cents : cents;
  return fmt::format("{}{}.{:02}", negative ? "-" : "", size / 100, size % 100);
}

std::string FirstName(Random& random) { return Quote(random.Pick(kFirstNames)); }

std::string LastName(Random& random) { return Quote(random.Pick(kLastNames)); }

std::string PhoneOrNull(Random& random) {
  if (random.Chance(0.3)) return "NULL";
  return fmt::format("'+{}-{:07}'", random.Between(1, 99), random.Below(10'000'000));
}

std::string AddressJson(Random& random) {
  // Drawn one by one: the order of evaluation of arguments is the compiler's choice.
  const std::string_view street = random.Pick(kStreets);
  const int64_t number = random.Between(1, 240);
  const std::string_view city = random.Pick(kCities);
  const uint64_t zip = random.Below(100'000);
  return Quote(fmt::format(R"({{"city": "{}", "street": "{} {}", "zip": "{:05}"}})", city, street,
                           number, zip));
}

std::string ProductName(Random& random) {
  const std::string_view adjective = random.Pick(kAdjectives);
  return Quote(fmt::format("{} {}", adjective, random.Pick(kThings)));
}

std::string Sentence(Random& random) { return Quote(random.Pick(kSentences)); }

std::string OddText(Random& random) { return Quote(random.Pick(kOddTexts)); }

std::string OddNumeric(Random& random) { return std::string(random.Pick(kOddNumerics)); }

std::string OddTimestamp(Random& random) { return std::string(random.Pick(kOddTimestamps)); }

std::string ToastText(Random& random) {
  return Quote(random.Noise(static_cast<size_t>(random.Between(9'000, 24'000))));
}

}  // namespace freshet::generate
