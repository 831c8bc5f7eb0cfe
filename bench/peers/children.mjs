/** Measurements in processes of their own, at moments when the machine is calm. */

import { spawn } from "node:child_process"
import { cpus } from "node:os"
import { setTimeout as sleep } from "node:timers/promises"

const CHILD_MS = 15 * 60_000

/** The share of the machine that is busy now. */
export async function busy() {
  const sample = () => {
    const times = cpus().map((cpu) => cpu.times)
    const idle = times.reduce((sum, { idle }) => sum + idle, 0)
    return { idle, all: times.reduce((sum, each) => sum + Object.values(each).reduce((a, b) => a + b, 0), 0) }
  }
  const before = sample()
  await sleep(700)
  const after = sample()
  return 1 - (after.idle - before.idle) / Math.max(1, after.all - before.all)
}

/** Waits for a calm moment, for so many seconds at most; what the machine was busy with when the wait ended. */
export async function calm(patience) {
  const until = performance.now() + 1000 * patience
  for (;;) {
    const share = await busy()
    if (share < 0.1 || performance.now() > until) return share
    await sleep(2000)
  }
}

/** The last line of JSON that a child process prints. */
export function answerOf(program, command, cwd) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, command, { cwd, stdio: ["ignore", "pipe", "pipe"], timeout: CHILD_MS })
    let [out, problem] = ["", ""]
    child.stdout.setEncoding("utf8").on("data", (text) => {
      out += text
    })
    child.stderr.setEncoding("utf8").on("data", (text) => {
      problem = (problem + text).slice(-2000)
    })
    child.once("error", reject)
    child.once("close", (code, signal) => {
      const line = out.trimEnd().split("\n").at(-1)
      try {
        const answer = JSON.parse(line)
        if (answer.error) throw new Error(answer.error.message)
        resolve(answer)
      } catch (error) {
        const why = line.startsWith("{")
          ? error.message
          : problem.trim() || out.trim() || `ended with ${signal ?? code}`
        reject(new Error(why.split("\n").slice(-6).join("\n")))
      }
    })
  })
}

/** Keeps the better of what two rounds measured: more tokens a second, less of everything else. */
export function keepBest(best, answer) {
  for (const [name, value] of Object.entries(answer)) {
    const better = typeof value !== "number" || best[name] == null ? value : undefined
    best[name] = better ?? (name.endsWith("tok_s") ? Math.max(best[name], value) : Math.min(best[name], value))
  }
}
