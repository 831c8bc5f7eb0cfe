/** The pictures and the question of `isaac ask`, as far as no model is needed. */

import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { runCommand } from "./cli-terminal"

const failure = async (...args: string[]) => {
  const { code, out, err } = await runCommand(["ask", ...args, "--json"])
  expect(err).toBe("")
  return { exit: code, ...JSON.parse(out).error }
}

describe("addresses inside the own network", () => {
  let server: Server
  let asked = 0
  beforeAll(async () => {
    server = createServer((_, response) => {
      asked++
      response.writeHead(404).end()
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  })
  afterAll(() => server.close())

  it("are fetched with --allow-private-urls only", async () => {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/x.png`
    expect(await failure(url, "What?")).toEqual({
      exit: 1,
      code: "bad_input",
      message: expect.stringContaining("--allow-private-urls"),
    })
    expect(asked).toBe(0)
    expect(await failure("--allow-private-urls", url, "What?")).toMatchObject({
      code: "not_found",
      message: expect.stringContaining("404"),
    })
    expect(asked).toBe(1)
  })
})

describe("operands that begin with a dash", () => {
  it("stand behind --, and the message for one that does not says so", async () => {
    expect(await failure("no.png", "-5 or +5?")).toEqual({
      exit: 2,
      code: "usage",
      message: expect.stringMatching(/unknown option '-5 or \+5\?'; put -- before a file name or a question/),
    })
    // Options end there.
    const { code, out, err } = await runCommand(["ask", "--", "no.png", "-5 or +5?"])
    expect({ code, out, err }).toEqual({
      code: 1,
      out: "",
      err: expect.stringContaining("no.png: there is no such file"),
    })
    const dashed = await runCommand(["ask", "--", "-no.png", "--json"])
    expect(dashed.err).toContain("-no.png: there is no such file")
  })
})

describe("what is refused at once", () => {
  it("a name that would change the terminal it is shown on is shown as escapes", async () => {
    const { err } = await runCommand(["ask", "\u001b]0;gone\u0007\u009b31m\u202e.png", "What?"])
    expect(err).toBe(
      "isaac: cannot open the image \\u001b]0;gone\\u0007\\u009b31m\\u202e.png: there is no such file.\n",
    )
    const model = await runCommand(["inspect", "./\u001b[31mno"])
    expect(model.err).toContain("\\u001b[31mno")
    expect(model.err).not.toContain("\u001b")
  })

  it("--truncate takes error and left", async () => {
    expect(await failure("--truncate", "right", "What?")).toMatchObject({
      exit: 2,
      message: expect.stringContaining("left"),
    })
  })
})
