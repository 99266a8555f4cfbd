/* A C11 program's use of the lock client: locks, waits, gives back. Called by c_abi_test.cpp, which checks what it says. */
#include <gordian/c.h>
#include <stdio.h>
#include <string.h>

int use_from_c(const char* agents, char* text, size_t text_bytes);

static void lost(void* user, const gordian_error* reason) {
  (void)reason;
  *(int*)user = 1;
}

int use_from_c(const char* agents, char* text, size_t text_bytes) {
  gordian_error error;
  gordian_client_options options;
  gordian_session_options session_options;
  gordian_client* client = NULL;
  gordian_session* session = NULL;
  gordian_txn* txn = NULL;
  gordian_txn* other = NULL;
  gordian_fence fence = {0, 0};
  gordian_fence fences[2];
  gordian_item items[2] = {{"b", 1, "X"}, {"a\0a", 3, NULL}};
  int was_lost = 0;
  int status;

  gordian_client_options_init(&options);
  options.agents = agents;
  options.label = "c";
  gordian_session_options_init(&session_options);
  session_options.on_lost = lost;
  session_options.user = &was_lost;
  text[0] = '\0';

  status = gordian_client_open(&options, &error, &client);
  if (status == GORDIAN_OK) status = gordian_session_open(client, &session_options, &error, &session);
  if (status == GORDIAN_OK) status = gordian_txn_begin(session, NULL, &error, &txn);
  if (status == GORDIAN_OK) status = gordian_txn_begin(session, NULL, &error, &other);
  if (status == GORDIAN_OK) status = gordian_lock(txn, "k", 1, "S", GORDIAN_FOREVER, &error, &fence);
  if (status == GORDIAN_OK) status = gordian_lock_all(txn, items, 2, 1000000, &error, fences);
  if (status == GORDIAN_OK && gordian_session_remaining(session) <= 0) status = -1;
  if (status == GORDIAN_OK && gordian_lock(other, "k", 1, "X", 0, &error, NULL) != GORDIAN_REFUSED) status = -2;
  if (status == GORDIAN_OK && gordian_lock(other, "k", 1, "X", 20000, &error, NULL) != GORDIAN_TIMEOUT) status = -3;
  if (status == GORDIAN_OK && strlen(error.text) == 0) status = -4;
  if (status == GORDIAN_OK && gordian_unlock(other, "k", 1, fence, &error) != GORDIAN_NOT_HELD) status = -5;
  if (status == GORDIAN_OK) status = gordian_unlock(txn, "k", 1, fence, &error);
  if (status == GORDIAN_OK) status = gordian_downgrade(txn, "b", 1, "S", &error);
  if (status == GORDIAN_OK) status = gordian_lock(other, "b", 1, "S", 1000000, &error, NULL);
  if (status == GORDIAN_OK) status = gordian_txn_end(txn, &error);
  if (status == GORDIAN_OK) status = gordian_session_close(session, &error);
  if (status == GORDIAN_OK && gordian_session_lost(session, &error) != GORDIAN_LEASE_LOST) status = -6;
  if (status == GORDIAN_OK && was_lost) status = -7;
  if (status == GORDIAN_OK) {
    snprintf(text, text_bytes, "%llu.%llu", (unsigned long long)fences[1].epoch, (unsigned long long)fences[1].counter);
  } else {
    snprintf(text, text_bytes, "%s: %s", gordian_status_name(status), error.text);
  }
  gordian_txn_free(other);
  gordian_txn_free(txn);
  gordian_session_free(session);
  gordian_client_free(client);
  return status;
}
