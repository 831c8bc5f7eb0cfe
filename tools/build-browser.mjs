/**
 * Bundles the package for pages without a bundler into dist/browser/: isaac.js, its workers beside it, and the kernels.
 * Nothing in there may need Node: an import of one of its modules, or of a package for Node, is an error that names the
 * file which asks for it.
 *
 *   node tools/build-browser.mjs [OUT]
 */

import { copyFileSync, existsSync, mkdirSync } from "node:fs"
import { builtinModules } from "node:module"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "tsdown"

const root = fileURLToPath(new URL("..", import.meta.url))

/** The page's script, the workers that it starts, and the two entries that need no model. */
const ENTRIES = {
  isaac: "src/index-web.ts",
  "engine-worker-web": "src/worker/engine-worker-web.ts",
  "pool-thread-web": "src/ops/cpu/pool-thread-web.ts",
  stream: "src/stream/index.ts",
  parse: "src/perception/parse.ts",
}
const KERNELS = ["kernels-simd128.wasm", "kernels-relaxed-simd.wasm"]
/** Packages that a page may carry; any other that slips in is an error. */
const PACKAGES = ["@huggingface/jinja", "@huggingface/tokenizers", "zod"]
/** Packages that run in Node only. */
const NODE_PACKAGES = /^(?:sharp|@img\/|commander)/

const nothingOfNode = {
  name: "nothing-of-node",
  resolveId(specifier, importer) {
    const bare = specifier.replace(/^node:/, "")
    if (specifier.startsWith("node:") || builtinModules.includes(bare) || NODE_PACKAGES.test(specifier)) {
      throw new Error(`${importer ? relative(root, importer) : "an entry"} imports ${specifier}, which no browser has`)
    }
    if (importer && /-node(?:\.ts)?$/.test(specifier)) {
      throw new Error(`${relative(root, importer)} imports ${specifier}, which is for Node`)
    }
  },
}

/**
 * Writes the bundle. Throws where something in it needs Node.
 *
 * @param out folder; default dist/browser
 * @param more further entries, for tests: name → path
 */
export async function buildBrowser(out = join(root, "dist/browser"), more = {}) {
  await build({
    config: false,
    cwd: root,
    entry: { ...ENTRIES, ...more },
    outDir: out,
    format: "esm",
    platform: "browser",
    target: "es2022",
    noExternal: [/./],
    inlineOnly: PACKAGES,
    minify: true,
    dts: false,
    clean: true,
    fixedExtension: false,
    logLevel: "error",
    plugins: [nothingOfNode],
  })
  mkdirSync(out, { recursive: true })
  for (const file of KERNELS) {
    const kernel = join(root, "dist/ops/cpu", file)
    if (existsSync(kernel)) copyFileSync(kernel, join(out, file))
    else console.warn(`build-browser: ${relative(root, kernel)} is missing; run npm run build`)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildBrowser(process.argv[2])
