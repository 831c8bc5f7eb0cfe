import { createWasmBackend } from "../src/ops/cpu/load-wasm-node"
import { modelGoldens } from "./model-golden"
import { modelLaws } from "./model-laws"

modelGoldens("wasm", () => createWasmBackend())
modelLaws("wasm", () => createWasmBackend())
