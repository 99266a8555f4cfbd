/* A C program that takes locks at the lock agents named in GORDIAN_AGENTS. */
#include <gordian/c.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char* what, const gordian_error* error) {
  fprintf(stderr, "%s: %s\n", what, error->text);
  return 1;
}

int main(void) {
  gordian_error error;
  gordian_client_options options;
  gordian_client* client;
  gordian_session* session;
  gordian_txn *first, *second;
  gordian_fence one, again, two;

  gordian_client_options_init(&options);
  options.agents = getenv("GORDIAN_AGENTS");
  options.label = "consumer";
  if (gordian_client_open(&options, &error, &client) != GORDIAN_OK) return fail("client", &error);
  if (gordian_session_open(client, NULL, &error, &session) != GORDIAN_OK) return fail("session", &error);
  if (gordian_txn_begin(session, NULL, &error, &first) != GORDIAN_OK) return fail("begin", &error);
  if (gordian_txn_begin(session, NULL, &error, &second) != GORDIAN_OK) return fail("begin", &error);

  if (gordian_lock(first, "orders\0 42", 10, "X", GORDIAN_FOREVER, &error, &one) != GORDIAN_OK) return fail("lock", &error);
  if (gordian_lock(first, "orders\0 42", 10, "X", GORDIAN_FOREVER, &error, &again) != GORDIAN_OK) return fail("lock", &error);
  printf("%s\n", memcmp(&one, &again, sizeof one) == 0 ? "the same fence again" : "another fence");
  printf("%s\n", gordian_status_name(gordian_lock(second, "orders\0 42", 10, "S", 0, &error, &two)));
  if (gordian_txn_end(first, &error) != GORDIAN_OK) return fail("end", &error);
  if (gordian_lock(second, "orders\0 42", 10, "S", 0, &error, &two) != GORDIAN_OK) return fail("lock", &error);
  printf("%s\n", two.epoch > one.epoch || (two.epoch == one.epoch && two.counter > one.counter) ? "a larger fence" : "no larger fence");
  printf("%s\n", gordian_status_name(gordian_unlock(second, "orders\0 42", 10, one, &error)));
  printf("%s\n", gordian_session_remaining(session) > 0 ? "the lease lasts" : "the lease is over");
  if (gordian_session_close(session, &error) != GORDIAN_OK) return fail("close", &error);

  gordian_txn_free(first);
  gordian_txn_free(second);
  gordian_session_free(session);
  gordian_client_free(client);
  return 0;
}
