import { backendConformance } from "../conformance"
import { createReferenceBackend } from "."

backendConformance("reference", async () => createReferenceBackend())
