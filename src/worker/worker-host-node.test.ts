import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { afterAll, expect, it } from "vitest"
import type { CallContext } from "./protocol"
import { startWorker } from "./worker-host-node"

const folder = mkdtempSync(join(tmpdir(), "isaac-worker-"))
afterAll(() => rmSync(folder, { recursive: true }))

interface Nothing {
  calls: { anything(input: null, context: CallContext): Promise<unknown> }
  streams: Record<never, never>
}

/** A worker that does this when the first request arrives. */
function worker(what: string) {
  const file = join(folder, `${what.length}.mjs`)
  writeFileSync(
    file,
    `import { parentPort } from "node:worker_threads"
     parentPort.once("message", (port) => port.on("message", () => { ${what} }))`,
  )
  return startWorker<Nothing>(pathToFileURL(file))
}

it.each([
  ["throws", "throw new Error('out of order')", /crashed.*out of order/],
  ["ends", "process.exit(3)", /stopped \(exit code 3\)/],
])("a worker that %s is lost, with all requests of now and later", async (_, what, message) => {
  const { client } = worker(what)
  const requests = [client.call("anything", null), client.call("anything", null)]
  for (const request of requests) {
    await expect(request).rejects.toMatchObject({ code: "worker_lost", message: expect.stringMatching(message) })
  }
  await expect(client.call("anything", null)).rejects.toMatchObject({ code: "worker_lost" })
})

it("a worker that is stopped is lost too", async () => {
  const { client, terminate } = worker("for (;;);")
  const request = client.call("anything", null)
  const failure = request.catch((error) => error)
  await terminate()
  expect(await failure).toMatchObject({ code: "worker_lost" })
})
