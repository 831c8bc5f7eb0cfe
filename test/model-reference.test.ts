import { createReferenceBackend } from "../src/ops/reference"
import { modelGoldens } from "./model-golden"

// Sums in double, rounded once per operation: what is left is the golden's own float32 noise.
modelGoldens("reference", async () => createReferenceBackend(), { factor: 2 })
