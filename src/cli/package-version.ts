/** The package, as it is installed. */

import { readFileSync } from "node:fs"

/** The package's version; package.json is two folders up from src/cli as from dist/cli. */
export function version(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8")
  return (JSON.parse(text) as { version: string }).version
}
