/**
 * Writes the npm package of this platform's addon, for a release: one of the optionalDependencies of isaac-vlm, of which
 * npm installs the one that fits. Nothing is published.
 *
 *   node tools/pack-platform.mjs [--out FOLDER] [--addon FILE]
 *
 *   --out    where the folder isaac-vlm-PLATFORM-ARCH is made; default release/
 *   --addon  an addon that was built before; default: one is built with all instruction sets
 *
 * On each platform of a release run this and `npm publish` the folder, then name all of them under optionalDependencies of
 * the main package, with the same version.
 */

import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { buildNative } from "./build-native.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))
const { values } = parseArgs({
  options: { out: { type: "string", default: join(root, "release") }, addon: { type: "string" } },
})

const main = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
// The loader looks for this name: platformPackage in src/ops/cpu/load-native-node.ts.
const name = `${main.name}-${process.platform}-${process.arch}`
const folder = join(values.out, name)
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })

if (values.addon) copyFileSync(values.addon, join(folder, "isaac.node"))
else console.log(await buildNative({ out: join(folder, "isaac.node") }))
copyFileSync(join(root, "LICENSE"), join(folder, "LICENSE"))
const about = {
  name,
  version: main.version,
  description: `The native kernels of ${main.name} for ${process.platform} on ${process.arch}.`,
  license: main.license,
  ...(main.repository ? { repository: main.repository } : {}),
  os: [process.platform],
  cpu: [process.arch],
  // The addon needs the C library that it was built with.
  ...(process.platform === "linux" ? { libc: ["glibc"] } : {}),
  engines: main.engines,
  files: ["isaac.node"],
}
writeFileSync(join(folder, "package.json"), `${JSON.stringify(about, undefined, 2)}\n`)
writeFileSync(
  join(folder, "README.md"),
  `# ${name}\n\n${about.description} Install ${main.name}; it finds this by itself.\n`,
)
console.log(`${relative(process.cwd(), folder)}: ${name}@${main.version}`)
