// Silences stderr while TensorFlow loads. TensorFlow writes two lines there before its own log settings hold, and
// Node has no way to put a file descriptor aside. `hush()` points descriptor 2 at /dev/null, `restore()` brings it
// back; called one right after the other, on the main thread, around one `require` (models/backend.ts).
#include <fcntl.h>
#include <unistd.h>

#include <node_api.h>

namespace {

int kept = -1;  // a copy of descriptor 2 while it is hushed

napi_value Hush(napi_env, napi_callback_info) {
  if (kept >= 0) return nullptr;
  const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (nowhere < 0) return nullptr;
  kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  if (kept >= 0) dup2(nowhere, STDERR_FILENO);
  close(nowhere);
  return nullptr;
}

napi_value Restore(napi_env, napi_callback_info) {
  if (kept < 0) return nullptr;
  dup2(kept, STDERR_FILENO);
  close(kept);
  kept = -1;
  return nullptr;
}

void Export(napi_env env, napi_value exports, const char* name, napi_callback call) {
  napi_value function;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, call, nullptr, &function) == napi_ok) {
    napi_set_named_property(env, exports, name, function);
  }
}

}  // namespace

NAPI_MODULE_INIT() {
  Export(env, exports, "hush", Hush);
  Export(env, exports, "restore", Restore);
  return exports;
}
