import { afterAll, expect, it } from "vitest"
import type { Backend } from "../ops/backend"
import { createReferenceBackend } from "../ops/reference"
import { ImageCache } from "./image-cache"

const backend: Backend = createReferenceBackend()
afterAll(() => backend.dispose())
/** Embeddings of 100 bytes. */
const embeddings = () => backend.upload(new Float32Array(25), [5, 5])

it("keeps the images used last, within its bytes, and frees the others", () => {
  const cache = new ImageCache(backend, 200)
  for (const hash of ["a", "b"]) {
    cache.add(hash, embeddings())
    cache.release(hash)
  }
  expect(cache.acquire("a")).toBeDefined()
  cache.release("a")
  const before = backend.memory().used
  cache.add("c", embeddings())
  cache.release("c")
  expect(backend.memory().used).toBe(before)
  expect(cache.bytes).toBe(200)
  expect(["a", "b", "c"].filter((hash) => cache.acquire(hash))).toEqual(["a", "c"])
})

it("never frees what a prompt is using", () => {
  const cache = new ImageCache(backend, 100)
  const used = cache.add("used", embeddings())
  for (const hash of ["x", "y"]) {
    cache.add(hash, embeddings())
    cache.release(hash)
  }
  expect(cache.acquire("used")).toBe(used)
  cache.release("used")
  cache.release("used")
  expect(cache.bytes).toBeLessThanOrEqual(100)
})

it("keeps one of two embeddings of the same image", () => {
  const cache = new ImageCache(backend, 1000)
  const first = cache.add("same", embeddings())
  const before = backend.memory().used
  expect(cache.add("same", embeddings())).toBe(first)
  expect(backend.memory().used).toBe(before)
  expect(cache.bytes).toBe(100)
})
