import { backendConformance } from "../conformance"
import { createNativeBackend } from "./load-native-node"

backendConformance("native, 1 thread", () => createNativeBackend({ threads: 1 }))
backendConformance("native, 2 threads", () => createNativeBackend({ threads: 2 }))
