/** The WebAssembly module of the kernels: what the engine can run, what it imports, and whether its results are right. */

/** A module with the instructions the relaxed build uses: a fused multiply-add and an int8 dot product. */
export const RELAXED_PROBE: Uint8Array<ArrayBuffer> = relaxedProbe()

function relaxedProbe(): Uint8Array<ArrayBuffer> {
  // i32.const 0, i8x16.splat: a vector of zeros
  const zero = [0x41, 0x00, 0xfd, 0x0f]
  const drop = 0x1a
  const madd = [...zero, ...zero, ...zero, 0xfd, 0x85, 0x02, drop] // f32x4.relaxed_madd
  const dot = [...zero, ...zero, ...zero, 0xfd, 0x93, 0x02, drop] // i32x4.relaxed_dot_i8x16_i7x16_add_s
  const body = [0x00, ...madd, ...dot, 0x0b]
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00], // "\0asm", version 1
    ...[0x01, 0x04, 0x01, 0x60, 0x00, 0x00], // one type: no parameters, no results
    ...[0x03, 0x02, 0x01, 0x00], // one function of it
    ...[0x0a, body.length + 2, 0x01, body.length, ...body], // its code
  ])
}

/** A module with a SIMD128 instruction. */
export const SIMD_PROBE: Uint8Array<ArrayBuffer> = Uint8Array.from([
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
  ...[0x01, 0x04, 0x01, 0x60, 0x00, 0x00],
  ...[0x03, 0x02, 0x01, 0x00],
  ...[0x0a, 0x09, 0x01, 0x07, 0x00, 0x41, 0x00, 0xfd, 0x0f, 0x1a, 0x0b],
])

/**
 * The module as it imports an unshared memory, for engines that refuse shared ones: the flags of its only import, the
 * memory, lose the bit that says "shared". The kernels themselves use no atomic instruction.
 */
export function withUnsharedMemory(binary: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(binary)
  let at = 8
  const number = () => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = out[at++]
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
  }
  while (at < out.length) {
    const section = out[at++]
    const size = number()
    if (section !== 2) {
      at += size
      continue
    }
    number() // imports: one, the build makes sure
    for (const _name of ["module", "field"]) {
      // Two statements: in `at += number()` the left side would be read before number() moves on.
      const length = number()
      at += length
    }
    at++ // kind: memory
    out[at] &= ~2
    return out
  }
  return out
}

/** What the self-test calls. */
export interface SelfTestExports {
  self_test_fma(args: number, first: number, end: number, thread: number): void
  /** In the relaxed build only. */
  self_test_dot?(args: number, first: number, end: number, thread: number): void
}

/** Steps of the loops: enough for every unrolling, few enough for the first call to run in the baseline compiler. */
const STEPS = 24
/** Bytes of memory the self-test uses. */
export const SELF_TEST_BYTES = 4096

/**
 * Sums of products of small whole numbers, which are exact whatever the order and rounding, on the module's first calls:
 * an engine's baseline compiler has been seen to lose the accumulator of a relaxed dot product. Returns what is wrong, or
 * undefined.
 */
export function selfTest(exports: SelfTestExports, buffer: ArrayBufferLike, at: number): string | undefined {
  const [xAt, yAt, outAt] = [at + 64, at + 64 + STEPS * 16, at + 64 + STEPS * 32]
  const args = new Float64Array(buffer, at, 4)
  args.set([xAt, yAt, outAt, STEPS])
  const value = (i: number, seed: number) => ((i * 7919 + seed * 104729) % 127) - 63

  const [x, y, out] = [xAt, yAt, outAt].map((p) => new Float32Array(buffer, p, p === outAt ? 4 : STEPS * 4))
  for (let i = 0; i < STEPS * 4; i++) {
    x[i] = value(i, 1)
    y[i] = value(i, 2)
  }
  exports.self_test_fma(at, 0, 1, 0)
  for (let lane = 0; lane < 4; lane++) {
    let want = 0
    for (let i = lane; i < STEPS * 4; i += 4) want += x[i] * y[i]
    if (out[lane] !== want) return `a sum of ${STEPS} products is ${out[lane]}, it should be ${want}`
  }

  if (!exports.self_test_dot) return undefined
  const [a, b] = [xAt, yAt].map((p) => new Int8Array(buffer, p, STEPS * 16))
  const sums = new Int32Array(buffer, outAt, 4)
  for (let i = 0; i < STEPS * 16; i++) {
    a[i] = value(i, 3) * 2
    b[i] = value(i, 4) + 63 // 7 bits, not negative: other second factors are the engine's choice
  }
  exports.self_test_dot(at, 0, 1, 0)
  for (let lane = 0; lane < 4; lane++) {
    let want = 0
    for (let i = 0; i < STEPS * 16; i++) if ((i % 16) >> 2 === lane) want += a[i] * b[i]
    if (sums[lane] !== want) return `a relaxed dot product is ${sums[lane]}, it should be ${want}`
  }
  return undefined
}
