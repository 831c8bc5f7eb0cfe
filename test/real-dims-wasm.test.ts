import { createWasmBackend } from "../src/ops/cpu/load-wasm-node"
import { realDimsGoldens } from "./real-dims-golden"

realDimsGoldens("wasm", () => createWasmBackend())
