import { createReferenceBackend } from "../src/ops/reference"
import { modelGoldens } from "./model-golden"
import { modelLaws } from "./model-laws"

// Sums in double, rounded once per operation: what is left is the golden's own float32 noise.
modelGoldens("reference", async () => createReferenceBackend(), { factor: 2 })
modelLaws("reference", async () => createReferenceBackend(), { exact: 3e-6, same: 3e-6 })
