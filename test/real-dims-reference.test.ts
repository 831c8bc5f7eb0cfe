import { createReferenceBackend } from "../src/ops/reference"
import { realDimsGoldens } from "./real-dims-golden"

// Plain loops are slow at this size: the smaller of the two images, and a few rows of the projector.
realDimsGoldens("reference", async () => createReferenceBackend(), { images: [1], projectorRows: 16, factor: 1 })
