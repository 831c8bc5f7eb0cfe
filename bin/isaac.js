#!/usr/bin/env node
// The command: checks what it stands on, then hands over to the built program in dist/.
// Kept in syntax that old Node versions can read, so that they get the message below and not a SyntaxError.

import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"

const built = new URL("../dist/cli/main.js", import.meta.url)
const [major, minor] = process.versions.node.split(".").map(Number)

if (major < 20 || (major === 20 && minor < 19)) {
  fail("unsupported", `Node 20.19 or newer is needed, this is Node ${process.versions.node}`)
} else if (!existsSync(built)) {
  fail("not_found", `${fileURLToPath(built)} is missing: run "npm run build" in the package's folder once`)
} else {
  import(built.href).then(
    ({ main }) => main(process.argv.slice(2)),
    (error) => fail("internal", `dist/ cannot be loaded, run "npm run build" again: ${error.message}`),
  )
}

/** The same two forms of a failure as the program's own. */
function fail(code, message) {
  if (process.argv.includes("--json")) console.log(JSON.stringify({ error: { code, message } }))
  else console.error(`isaac: ${message}`)
  process.exitCode = 1
}
