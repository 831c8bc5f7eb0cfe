// The native engine for Node: kernels, threads and memory behind eight functions. src/ops/cpu/native-engine.ts is the
// only caller; what the functions take and return is written there.
//
// Node-API 8, so one binary serves every Node. State belongs to an engine, and an engine to the thread that made it: the
// addon may be loaded in any number of workers, and a worker may end at any time.

#include <errno.h>
#include <node_api.h>
#include <string.h>

#include <memory>
#include <string>
#include <vector>

#include "cpu.h"
#include "memory.h"
#include "pool.h"

// ── Instruction sets, best first: sets.h is written by tools/build-native.mjs ─────────────────────────────────────────────

#define SET(id, feature) namespace id { extern const KernelSet kernel_set; }
#include "sets.h"
#undef SET

static std::vector<const KernelSet*> runnable_sets() {
  CpuFeatures cpu = cpu_features();
  std::vector<const KernelSet*> sets;
#define SET(id, feature) if (cpu.feature) sets.push_back(&id::kernel_set);
#include "sets.h"
#undef SET
  return sets;
}

// ── Between Node and C++ ────────────────────────────────────────────────────────────────────────────────────────────

namespace {

constexpr size_t ARGUMENTS = 64;

// What went wrong, as an Error with a `code`.
napi_value fail(napi_env env, const char* code, const std::string& message) {
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_error(env, code, message.c_str());
  return nullptr;
}

template <size_t N>
struct Arguments {
  napi_value values[N];
  bool ok;

  Arguments(napi_env env, napi_callback_info info) {
    size_t count = N;
    ok = napi_get_cb_info(env, info, &count, values, nullptr, nullptr) == napi_ok && count >= N;
    if (!ok) fail(env, "internal", "too few arguments");
  }
};

// A whole number that a double holds.
bool get_number(napi_env env, napi_value value, double most, double* out) {
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok || !(number >= 0) || number > most) {
    fail(env, "internal", "a number is missing or out of range");
    return false;
  }
  *out = number;
  return true;
}

bool get_string(napi_env env, napi_value value, std::string* out) {
  size_t length;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) {
    fail(env, "internal", "a string is missing");
    return false;
  }
  out->resize(length + 1);
  napi_get_value_string_utf8(env, value, out->data(), length + 1, &length);
  out->resize(length);
  return true;
}

struct Engine {
  const KernelSet* set = nullptr;
  std::vector<KernelFunction> kernels;
  std::unique_ptr<Pool> pool;
  // The arguments of the job, written by TypeScript. Owned by the ArrayBuffer over it.
  const double* arguments = nullptr;
};

const napi_type_tag ENGINE_TAG = {0x6973616163766c6d, 0x656e67696e65};

Engine* get_engine(napi_env env, napi_value value) {
  bool tagged = false;
  void* data = nullptr;
  if (napi_check_object_type_tag(env, value, &ENGINE_TAG, &tagged) != napi_ok || !tagged ||
      napi_unwrap(env, value, &data) != napi_ok) {
    fail(env, "internal", "this is no engine");
    return nullptr;
  }
  return static_cast<Engine*>(data);
}

napi_value number_value(napi_env env, double number) {
  napi_value value = nullptr;
  napi_create_double(env, number, &value);
  return value;
}

// { start, buffer } over a region, which lives as long as the buffer.
napi_value region_value(napi_env env, const Region& region) {
  Region* owned = new Region(region);
  napi_value buffer;
  auto release = [](napi_env, void*, void* hint) {
    Region* mine = static_cast<Region*>(hint);
    release_region(*mine);
    delete mine;
  };
  if (napi_create_external_arraybuffer(env, region.start, region.bytes, release, owned, &buffer) != napi_ok) {
    release(env, nullptr, owned);
    return fail(env, "unavailable", "this runtime lets no ArrayBuffer lie over memory of an addon");
  }
  napi_value result;
  napi_create_object(env, &result);
  napi_set_named_property(env, result, "start", number_value(env, static_cast<double>(reinterpret_cast<uintptr_t>(region.start))));
  napi_set_named_property(env, result, "buffer", buffer);
  return result;
}

// instructionSets(): names of those that run here, best first.
napi_value instruction_sets(napi_env env, napi_callback_info) {
  napi_value result;
  napi_create_array(env, &result);
  uint32_t i = 0;
  for (const KernelSet* set : runnable_sets()) {
    napi_value name;
    napi_create_string_utf8(env, set->name, NAPI_AUTO_LENGTH, &name);
    napi_set_element(env, result, i++, name);
  }
  return result;
}

// create(instruction set, threads, names of kernels): { engine, threads, arguments: ArrayBuffer of 64 doubles }
napi_value create(napi_env env, napi_callback_info info) {
  Arguments<3> args(env, info);
  if (!args.ok) return nullptr;
  std::string name;
  double threads;
  uint32_t count;
  if (!get_string(env, args.values[0], &name) || !get_number(env, args.values[1], 256, &threads)) return nullptr;
  if (napi_get_array_length(env, args.values[2], &count) != napi_ok) return fail(env, "internal", "no list of kernels");

  auto engine = std::make_unique<Engine>();
  for (const KernelSet* set : runnable_sets()) {
    if (name == set->name) engine->set = set;
  }
  if (!engine->set) return fail(env, "unavailable", "this processor does not run " + name);
  for (uint32_t i = 0; i < count; i++) {
    napi_value element;
    std::string kernel;
    napi_get_element(env, args.values[2], i, &element);
    if (!get_string(env, element, &kernel)) return nullptr;
    KernelFunction function = nullptr;
    for (int k = 0; k < engine->set->kernel_count; k++) {
      if (kernel == engine->set->kernels[k].name) function = engine->set->kernels[k].function;
    }
    if (!function) return fail(env, "unavailable", "it has no kernel " + kernel + ": it was built from other sources, build it again");
    engine->kernels.push_back(function);
  }

  Region block = allocate_region(ARGUMENTS * sizeof(double));
  if (!block.start) return fail(env, "unavailable", "no memory");
  napi_value memory = region_value(env, block);
  if (!memory) return nullptr;
  engine->arguments = reinterpret_cast<const double*>(block.start);
  engine->pool = std::make_unique<Pool>(static_cast<int>(threads));

  napi_value result, handle, buffer;
  napi_create_object(env, &result);
  napi_create_object(env, &handle);
  Engine* raw = engine.release();
  auto destroy = [](napi_env, void* data, void*) { delete static_cast<Engine*>(data); };
  if (napi_wrap(env, handle, raw, destroy, nullptr, nullptr) != napi_ok) {
    delete raw;
    return fail(env, "internal", "an engine could not be wrapped");
  }
  napi_type_tag_object(env, handle, &ENGINE_TAG);
  napi_get_named_property(env, memory, "buffer", &buffer);
  napi_set_named_property(env, result, "engine", handle);
  napi_set_named_property(env, result, "threads", number_value(env, raw->pool->threads()));
  napi_set_named_property(env, result, "arguments", buffer);
  return result;
}

// size(engine, name, n): a size that depends on the instruction set
napi_value size(napi_env env, napi_callback_info info) {
  Arguments<3> args(env, info);
  if (!args.ok) return nullptr;
  Engine* engine = get_engine(env, args.values[0]);
  std::string name;
  double n;
  if (!engine || !get_string(env, args.values[1], &name) || !get_number(env, args.values[2], INT32_MAX, &n)) return nullptr;
  for (int i = 0; i < engine->set->size_count; i++) {
    if (name == engine->set->sizes[i].name) return number_value(env, engine->set->sizes[i].function(static_cast<int>(n)));
  }
  return fail(env, "unavailable", "the addon knows no size " + name);
}

// grow(bytes): { start, buffer }, or undefined if the system has no more memory
napi_value grow(napi_env env, napi_callback_info info) {
  Arguments<1> args(env, info);
  double bytes;
  if (!args.ok || !get_number(env, args.values[0], 9e15, &bytes)) return nullptr;
  Region region = allocate_region(static_cast<size_t>(bytes));
  return region.start ? region_value(env, region) : nullptr;
}

// map(path, bytes): { start, buffer } over the beginning of a file
napi_value map(napi_env env, napi_callback_info info) {
  Arguments<2> args(env, info);
  std::string path;
  double bytes;
  if (!args.ok || !get_string(env, args.values[0], &path) || !get_number(env, args.values[1], 9e15, &bytes)) return nullptr;
  errno = 0;
  Region region = map_file(path.c_str(), static_cast<size_t>(bytes));
  if (!region.start) return fail(env, "io", errno ? strerror(errno) : "it is shorter than that");
  return region_value(env, region);
}

// release(buffer): give the memory back now; the buffer has no bytes afterwards
napi_value release(napi_env env, napi_callback_info info) {
  Arguments<1> args(env, info);
  if (args.ok) napi_detach_arraybuffer(env, args.values[0]);
  return nullptr;
}

// run(engine, kernel, first, end, alone): parts first … end-1 of the job whose arguments are written, by this thread alone
// or by all
napi_value run(napi_env env, napi_callback_info info) {
  Arguments<5> args(env, info);
  if (!args.ok) return nullptr;
  Engine* engine = get_engine(env, args.values[0]);
  if (!engine) return nullptr;
  double kernel, first, end;
  bool alone;
  if (!get_number(env, args.values[1], static_cast<double>(engine->kernels.size()) - 1, &kernel) ||
      !get_number(env, args.values[2], INT32_MAX, &first) || !get_number(env, args.values[3], INT32_MAX, &end)) {
    return nullptr;
  }
  if (napi_get_value_bool(env, args.values[4], &alone) != napi_ok) return fail(env, "internal", "a flag is missing");
  if (!engine->pool) return fail(env, "internal", "the engine was disposed");
  engine->pool->run(engine->kernels[static_cast<size_t>(kernel)], engine->arguments, static_cast<int>(first),
                    static_cast<int>(end), alone);
  return nullptr;
}

// dispose(engine): end the threads
napi_value dispose(napi_env env, napi_callback_info info) {
  Arguments<1> args(env, info);
  Engine* engine = args.ok ? get_engine(env, args.values[0]) : nullptr;
  if (engine) engine->pool.reset();
  return nullptr;
}

napi_value init(napi_env env, napi_value exports) {
  const struct {
    const char* name;
    napi_callback function;
  } functions[] = {{"instructionSets", instruction_sets}, {"create", create}, {"size", size}, {"grow", grow},
                   {"map", map}, {"release", release}, {"run", run}, {"dispose", dispose}};
  for (const auto& entry : functions) {
    napi_value function;
    napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, entry.function, nullptr, &function);
    napi_set_named_property(env, exports, entry.name, function);
  }
  return exports;
}

}  // namespace

NAPI_MODULE(isaac, init)
