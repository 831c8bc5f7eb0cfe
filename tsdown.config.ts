import { defineConfig } from "tsdown"

/** One output file per source file, so that `new URL("./x.js", import.meta.url)` means the same in src/ and dist/. */
export default defineConfig({
  entry: ["src/**/*.ts", "!src/**/*.test.ts", "!src/ops/conformance.ts", "!src/ops/conformance/**"],
  outDir: "dist",
  format: "esm",
  platform: "neutral",
  target: "node20.19",
  unbundle: true,
  dts: true,
  clean: true,
  fixedExtension: false,
  outExtensions: () => ({ js: ".js", dts: ".d.ts" }),
  external: [/^node:/, /^[^./]/],
})
