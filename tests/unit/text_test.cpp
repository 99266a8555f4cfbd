// Bytes as people can read them.
#include "text/text.hpp"

#include <doctest/doctest.h>

#include <random>

using namespace gordian::text;

TEST_CASE("clean text stays, everything else becomes visible") {
  CHECK(visible("T1 \"a\" <b> & C:\\dir ü 漢 😀") == "T1 \"a\" <b> & C:\\dir ü 漢 😀");
  CHECK(visible(std::string_view("a\0\n\x1b[31m\x7f", 9)) == "a\\x00\\x0a\\x1b[31m\\x7f");
  CHECK(visible("\xff\xfe") == "\\xff\\xfe");
  CHECK(visible("\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82") ==
        "\\xc0\\xaf \\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80 \\xe2\\x82");  // overlong, surrogate, too large, cut
                                                                        // off
  CHECK(visible("\u202eevil\uffff\u0085") == "\\xe2\\x80\\xaeevil\\xef\\xbf\\xbf\\xc2\\x85");
  CHECK(utf8("\n\xff") == "\n\\xff");
}

TEST_CASE("two different ids never look the same") {
  CHECK(visible("\xff") != visible("\\xff"));
  CHECK(visible("\\xff") == "\\x5cxff");
  std::mt19937 random(7);
  const std::string_view pieces[] = {"\\", "x", "5", "c", "f", "\xff", "\n", "ü", "\xe2\x82", "\\x5c", "\\xff", "X"};
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes;
    for (auto n = random() % 8; n > 0; --n) bytes += pieces[random() % std::size(pieces)];
    CHECK(bytes_of(visible(bytes)) == bytes);
    CHECK(bytes_of(utf8(bytes)) == bytes);
    CHECK(visible(visible(bytes)) == utf8(visible(bytes)));
  }
}

TEST_CASE("long text is cut between characters") {
  CHECK(shortened("  UPDATE  a\n\tSET b ", 60) == "UPDATE a SET b");
  CHECK(shortened("12345", 5) == "12345");
  CHECK(shortened("123456", 5) == "1234…");
  CHECK(shortened("üüüüüü", 5) == "üüüü…");
  CHECK(shortened("😀😀", 1) == "…");
  CHECK(characters("ü…a") == 3);
}

TEST_CASE("times") {
  CHECK(utc(0) == "1970-01-01 00:00:00.000Z");
  CHECK(utc(1'790'000'000'123'456) == "2026-09-21 14:13:20.123Z");
  CHECK(utc(-1) == "1969-12-31 23:59:59.999Z");
  CHECK(span(0.85) == "850 us");
  CHECK(span(4.25) == "4.2 ms");
  CHECK(span(104.25) == "104 ms");
  CHECK(span(3214.5) == "3.2 s");
  CHECK(span(59'999) == "59.9 s");
  CHECK(span(320'000) == "5 min 20 s");
  CHECK(span(11'100'000) == "3 h 5 min");
}
