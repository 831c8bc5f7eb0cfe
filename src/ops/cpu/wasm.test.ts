import { backendConformance } from "../conformance"
import { createWasmBackend } from "./load-wasm-node"

backendConformance("wasm, relaxed SIMD, 1 thread", () => createWasmBackend({ threads: 1 }))
backendConformance("wasm, plain SIMD, 1 thread", () => createWasmBackend({ threads: 1, relaxedSimd: false }))
backendConformance("wasm, relaxed SIMD, 2 threads", () => createWasmBackend({ threads: 2 }))
backendConformance("wasm, plain SIMD, 2 threads", () => createWasmBackend({ threads: 2, relaxedSimd: false }))
