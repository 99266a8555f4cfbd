// The C ABI, from C++ and from C.
#include <gordian/c.h>

#include <gordian/lock_client.hpp>

#include "lock_agent_process.hpp"

extern "C" int use_from_c(const char* agents, char* text, size_t text_bytes);

TEST_CASE("a C11 program locks, waits, is refused and gives back") {
  gordian::test::LockAgentProcess agent;
  char text[600] = "";
  const int status = use_from_c(agent.address().c_str(), text, sizeof text);
  CAPTURE(text);
  CHECK(status == GORDIAN_OK);
  CHECK(std::string(text).find('.') != std::string::npos);
}

TEST_CASE("bad input is a status and a text, never an exception") {
  gordian_error error{};
  gordian_client* client = nullptr;
  CHECK(gordian_client_open(nullptr, &error, &client) == GORDIAN_INVALID);
  gordian_client_options options;
  gordian_client_options_init(&options);
  CHECK(options.reply_limit == 5'000'000);
  options.agents = "nonsense";
  CHECK(gordian_client_open(&options, &error, &client) == GORDIAN_INVALID);
  CHECK(std::string(error.text).find("SITE=ENDPOINT") != std::string::npos);
  CHECK(gordian_client_open(&options, nullptr, &client) == GORDIAN_INVALID);
  CHECK(client == nullptr);

  options.agents = "a=tcp://127.0.0.1:9";  // nobody listens there
  options.reply_limit = 50'000;
  REQUIRE(gordian_client_open(&options, &error, &client) == GORDIAN_OK);
  gordian_session* session = nullptr;
  gordian_session_options session_options;
  gordian_session_options_init(&session_options);
  session_options.ttl = 1;
  CHECK(gordian_session_open(client, &session_options, &error, &session) == GORDIAN_INVALID);
  REQUIRE(gordian_session_open(client, nullptr, &error, &session) == GORDIAN_OK);
  gordian_txn* txn = nullptr;
  gordian_txn_options txn_options;
  gordian_txn_options_init(&txn_options);
  const std::string long_id(129, 'x');
  txn_options.id = long_id.c_str();
  CHECK(gordian_txn_begin(session, &txn_options, &error, &txn) == GORDIAN_INVALID);
  CHECK(std::string(error.text).find("129 bytes") != std::string::npos);
  txn_options.id = "T1";
  txn_options.strategy = "hope";
  CHECK(gordian_txn_begin(session, &txn_options, &error, &txn) == GORDIAN_INVALID);
  txn_options.strategy = "wait_die";
  REQUIRE(gordian_txn_begin(session, &txn_options, &error, &txn) == GORDIAN_OK);
  CHECK(std::string(gordian_txn_id(txn)) == "T1");
  CHECK(gordian_lock(txn, "k", 1, "EX", 0, &error, nullptr) == GORDIAN_INVALID);
  CHECK(gordian_lock(txn, "", 0, "X", 0, &error, nullptr) == GORDIAN_INVALID);
  CHECK(gordian_lock(txn, "k", 1, "X", GORDIAN_FOREVER, &error, nullptr) == GORDIAN_UNREACHABLE);
  CHECK(gordian_txn_error(txn, &error) == GORDIAN_OK);
  gordian_txn_cancel(txn);
  gordian_client_free(client);
  CHECK(gordian_lock(txn, "k", 1, "X", GORDIAN_FOREVER, &error, nullptr) == GORDIAN_LEASE_LOST);
  CHECK(gordian_session_lost(session, &error) == GORDIAN_LEASE_LOST);
  gordian_txn_free(txn);
  gordian_session_free(session);
  gordian_session_free(nullptr);
}

TEST_CASE("the numbers are those of the protocol, and each has a name") {
  for (const auto code : {gordian::LockError::Code::deadlock, gordian::LockError::Code::forced}) {
    const int number = code == gordian::LockError::Code::deadlock ? 2 : 12;
    CHECK(gordian_status_name(number) == gordian::name(code));
  }
  CHECK(std::string(gordian_status_name(GORDIAN_UNREACHABLE)) == "unreachable");
  CHECK(std::string(gordian_status_name(1234)) == "unknown");
  CHECK(std::string(gordian_version()).find('.') != std::string::npos);
}
