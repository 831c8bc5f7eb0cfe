/**
 * The suite that every backend's test calls: `backendConformance("wasm", () => createWasmBackend())`.
 *
 * Operations are held to plain double loops written here, over sizes that leave remainders everywhere, from views at odd
 * offsets, with extreme values; tolerances are derived from the numbers (conformance/expectation.ts). Whole numbers, whose
 * sums float32 holds exactly, must come out exact. Then come the goldens of single operations.
 */

import { describe, expect, test } from "vitest"
import { goldenOpsTests } from "../../test/golden-ops"
import type { Backend } from "./backend"
import { causalAttentionTests } from "./conformance/causal-attention"
import { linearTests } from "./conformance/linear"
import { logitsTests } from "./conformance/logits"
import { memoryTests } from "./conformance/memory"
import { packedTests } from "./conformance/packed"
import { Rig } from "./conformance/rig"
import { elementwiseTests, normTests, ropeTests, rowTests } from "./conformance/rowwise"
import { varlenAttentionTests } from "./conformance/varlen-attention"

/** Declare the tests for the backend that `create` makes. It is created twice and disposed both times. */
export function backendConformance(name: string, create: () => Promise<Backend>): void {
  describe(`${name} conforms`, () => {
    const rig = new Rig(create)
    test("says what it is", () => {
      const { info } = rig.backend
      expect(info.isa).not.toBe("")
      expect(info.threads).toBeGreaterThanOrEqual(1)
      expect(info.stored).toContain("f32")
      expect(info.stored).toContain("bf16")
      expect(info.stored).toContain("q8")
      expect(info.stored).toContain("q4")
    })
    memoryTests(rig)
    linearTests(rig)
    packedTests(rig, "q8")
    packedTests(rig, "q4")
    normTests(rig)
    ropeTests(rig)
    elementwiseTests(rig)
    rowTests(rig)
    varlenAttentionTests(rig)
    causalAttentionTests(rig)
    logitsTests(rig)
    goldenOpsTests(rig)
  })
}
