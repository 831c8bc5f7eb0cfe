/** The parts of bench/peers.mjs that need no peer: the models it writes and the tables it prints. */

import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, it, onTestFinished } from "vitest"
import { writeGguf } from "../bench/peers/gguf.mjs"
import { field, onnxDecoder, writeOnnx } from "../bench/peers/onnx.mjs"
import {
  goalTable,
  markdownTable,
  measuredSection,
  ratioTable,
  replaceSection,
  speedTable,
} from "../bench/peers/report.mjs"
import { decoder, decoderNumbers } from "../bench/peers/shape.mjs"

const small = { ...decoder, layers: 2, hidden: 64, heads: 8, kvHeads: 2, headDim: 20, mlp: 96, vocab: 40 }

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "isaac-peers-"))
  onTestFinished(() => rmSync(path, { recursive: true }))
  return path
}

/** Reads a GGUF file's header as its specification says it. */
function readGguf(bytes: Buffer) {
  let at = 0
  const take = (count: number) => {
    at += count
    return bytes.subarray(at - count, at)
  }
  const u32 = () => take(4).readUInt32LE()
  const u64 = () => Number(take(8).readBigUInt64LE())
  const text = () => take(u64()).toString("utf8")
  const value = (type: number): unknown => {
    if (type === 8) return text()
    if (type === 6) return take(4).readFloatLE()
    if (type !== 9) return u32()
    const inner = u32()
    return Array.from({ length: u64() }, () => value(inner))
  }
  const magic = take(4).toString("latin1")
  const version = u32()
  const counts = [u64(), u64()]
  const metadata = Object.fromEntries(Array.from({ length: counts[1] }, () => [text(), value(u32())]))
  const tensors = Array.from({ length: counts[0] }, () => ({
    name: text(),
    shape: Array.from({ length: u32() }, u64),
    type: u32(),
    offset: u64(),
  }))
  return { magic, version, metadata, tensors, data: Math.ceil(at / 32) * 32 }
}

it("a GGUF file has the decoder's shape, and every tensor lies where the header says, 32 bytes aligned", () => {
  for (const [stored, type, blockBytes] of [
    ["Q4_0", 2, 18],
    ["Q8_0", 8, 34],
  ] as const) {
    const path = join(folder(), "model.gguf")
    expect(writeGguf(path, stored, small)).toBe(statSync(path).size)
    const bytes = readFileSync(path)
    const { magic, version, metadata, tensors, data } = readGguf(bytes)
    expect([magic, version]).toEqual(["GGUF", 3])
    expect(metadata).toMatchObject({ "general.architecture": "qwen3", "qwen3.attention.head_count_kv": 2 })
    expect(metadata["qwen3.rope.freq_base"]).toBe(1e6)
    expect(new Set(metadata["tokenizer.ggml.tokens"] as string[]).size).toBe(small.vocab)
    expect(tensors).toHaveLength(3 + 2 * 11)
    let end = 0
    for (const { name, shape, type: code, offset } of tensors) {
      expect(offset % 32, name).toBe(0)
      expect(offset, name).toBeGreaterThanOrEqual(end)
      const numbers = shape.reduce((a, b) => a * b)
      expect(code, name).toBe(shape.length === 1 ? 0 : type)
      end = offset + (shape.length === 1 ? numbers * 4 : (numbers / 32) * blockBytes)
      if (shape.length === 1) {
        expect(bytes.readFloatLE(data + offset), name).toBe(1)
        continue
      }
      // Scales make numbers of a deviation of 0.015 to 0.025; a misplaced block would have any bits there.
      for (const at of [data + offset, data + end - blockBytes]) {
        const deviation = halfAt(bytes, at) * (stored === "Q4_0" ? 4.6 : 73.9)
        expect(Math.abs(deviation - 0.02), name).toBeLessThan(0.0051)
      }
    }
    expect(tensors.find(({ name }) => name === "blk.1.attn_k.weight")?.shape).toEqual([64, 40])
    expect(Math.ceil((data + end) / 32) * 32).toBe(bytes.length)
  }
})

function halfAt(bytes: Buffer, at: number): number {
  const bits = bytes.readUInt16LE(at)
  return (1 + (bits & 1023) / 1024) * 2 ** ((bits >> 10) - 15)
}

it("a token passes 1.7 billion numbers", () => {
  expect(decoderNumbers()).toBe(28 * 50_331_648 + 2048 * 151_936)
})

it("protobuf fields are varints and lengths", () => {
  const bytes = (number: number, value: Parameters<typeof field>[1]) => [...Buffer.concat(field(number, value))]
  expect(bytes(1, 300)).toEqual([8, 0xac, 2])
  expect(bytes(3, -1n)).toEqual([24, ...new Array(9).fill(255), 1])
  expect(bytes(2, "ab")).toEqual([18, 2, 97, 98])
  expect(bytes(16, field(1, 1))).toEqual([0x82, 1, 2, 8, 1])
})

it("an ONNX model's weights lie one behind the other in the file beside it", () => {
  const path = join(folder(), "model.onnx")
  const written = writeOnnx(path, small)
  const { model, weights, bytes } = onnxDecoder("model.onnx.data", small)
  expect(readFileSync(path).equals(model)).toBe(true)
  expect(statSync(`${path}.data`).size).toBe(bytes)
  expect(written).toBe(model.length + bytes)
  expect(weights).toHaveLength(2 * (2 * 7 + 1))
  expect(weights.every(({ offset }) => offset % 64 === 0)).toBe(true)
  expect(weights.reduce((sum, weight) => sum + weight.bytes, 0)).toBe(decoderNumbers(small) * (1 / 2 + 4 / 32))
})

const fast = {
  label: "isaac",
  best: { prefill_tok_s: 400, decode_tok_s: 55.55, vision_ms: 1234.5, peak_rss_bytes: 2e9 },
}
const slow = { label: "a | b", best: { prefill_tok_s: 160, decode_tok_s: 32 } }

it("speeds have three digits, and columns that nobody has are left out", () => {
  expect(speedTable([fast, slow])).toBe(
    [
      "|  | prefill, tok/s | decode, tok/s | 1200 patches | peak memory |",
      "|---|---|---|---|---|",
      "| isaac | 400 | 55.5 | 1.23 s | 2.00 GB |",
      "| a \\| b | 160 | 32.0 |  |  |",
    ].join("\n"),
  )
  expect(markdownTable(["a"], [])).toBe("| a |\n|---|")
})

it("ratios are ours by theirs, and only of what both have", () => {
  const torch = { label: "torch", best: { vision_ms: 4938 } }
  expect(ratioTable([fast], [slow, torch]).split("\n").slice(2)).toEqual([
    "| isaac: prefill | 2.50× |  |",
    "| isaac: decode | 1.74× |  |",
    "| isaac: 1200 patches |  | 4.00× |",
  ])
})

it("a goal is met or missed; what was not measured is left out", () => {
  const goals = [
    { name: "decode", unit: "tok/s", least: 50, value: () => 49.9 },
    { name: "vision", unit: "s", most: 1.3, value: () => 1.3 },
    { name: "ratio", unit: "×", least: 2, value: () => Number.NaN },
    { name: "other", unit: "s", most: 2, value: () => undefined },
  ]
  expect(
    goalTable(goals, () => undefined)
      ?.split("\n")
      .slice(2),
  ).toEqual(["| decode | ≥ 50 tok/s | 49.9 tok/s | no |", "| vision | ≤ 1.3 s | 1.30 s | yes |"])
  expect(goalTable(goals.slice(2), () => undefined)).toBe(undefined)
})

it("the section tells machine, versions and what was not measured", () => {
  const facts = { date: "2026-01-02", machine: "a machine", node: "24.0.0", threads: 2, clock: "wall" }
  const section = measuredSection({
    measured: [
      { ...fast, key: "isaac-native-q4", ours: true, backend: "native", bytesPerNumber: 0.5 },
      { ...slow, key: "llama-q4", best: { ...slow.best, version: "llama 1" } },
    ],
    limits: { native: { dot: 1.5e12, read: 60e9 } },
    goals: [
      { name: "decode", unit: "×", least: 1.5, value: (find) => Number(find("isaac-native-q4")?.decode_tok_s) / 32 },
    ],
    skipped: ["PyTorch: not\nhere"],
    facts: { ...facts, prompt: 512, steps: 64, rounds: 1, busy: 0.031 },
  })
  expect(section).toContain("2026-01-02, a machine, 2 threads; Node 24.0.0, llama 1.")
  expect(section).toContain("Before the measurements, 3 % of the machine was busy")
  expect(section).toContain("| isaac | 1500 GOP/s | 1127 GOP/s, 75 % | 60.0 GB/s | 47.8 GB/s, 80 % |")
  expect(section).toContain("| decode | ≥ 1.5 × | 1.74 × | yes |")
  expect(section.endsWith("Not measured:\n\n- PyTorch: not here")).toBe(true)
  const peersOnly = measuredSection({
    measured: [slow],
    limits: {},
    goals: [],
    skipped: [],
    facts: { ...facts, prompt: 1, steps: 1, rounds: 2, busy: 0 },
  })
  expect(peersOnly).not.toMatch(/isaac is faster|goals|Not measured/)
})

it("the page keeps all but the measured section, however often it is written", () => {
  const page = "# Performance\n\nWords.\n\n## Other\n\nMore.\n"
  const once = replaceSection(page, "## Measured\n\nfirst\n")
  expect(once.indexOf("first")).toBeLessThan(once.indexOf("## Other"))
  const twice = replaceSection(once, "## Measured\n\nsecond")
  expect(twice).toBe(once.replace("first", "second"))
  expect(twice.startsWith("# Performance\n\nWords.\n\n<!--")).toBe(true)
  expect(twice.endsWith("-->\n\n## Other\n\nMore.\n")).toBe(true)
  expect(() => replaceSection(once.replace(": end", ""), "x")).toThrow("missing")
})
