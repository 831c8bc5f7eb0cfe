/** The folder of a converted checkpoint: what `isaac convert` and the cache write. */

import type { LoadOptions } from "./engine-options"
import { type ConversionPlan, convertWeights } from "./model/convert"
import type { LoadProgress as WeightsProgress } from "./model/load-weights"
import type { Backend } from "./ops/backend"
import type { Checkpoint } from "./weights/checkpoint"
import { type WriteFolderOptions, writeFolder } from "./weights/folder-writer-node"
import { COMPANIONS, CONFIG, SINGLE } from "./weights/hub-files"
import type { FolderSink } from "./weights/sink"
import type { FileSet } from "./weights/source"

export interface WriteConversionOptions
  extends Pick<WriteFolderOptions, "existing" | "advice" | "signal" | "openFile" | "pollMs" | "staleMs">,
    Pick<LoadOptions, "onProgress"> {}

/** Write the folder of a planned conversion; see `writeFolder` for what it returns and throws. */
export async function writeConversion(
  folder: string,
  files: FileSet,
  checkpoint: Checkpoint,
  plan: ConversionPlan,
  backend: Backend,
  options: WriteConversionOptions,
): Promise<boolean> {
  const { onProgress } = options
  // config.json is the last: a folder without it is no checkpoint.
  const companions: { readonly name: string; readonly size: number }[] = []
  for (const name of [...COMPANIONS, CONFIG]) {
    if (!(await files.has(name))) continue
    const source = await files.open(name)
    companions.push({ name, size: source.size })
    await source.close()
  }
  const bytes = companions.reduce((sum, { size }) => sum + size, plan.layout.bytes)
  const message = `converting to ${plan.stored}`
  const onWeights = ({ loaded, total }: WeightsProgress) =>
    onProgress?.({ stage: "convert", fraction: loaded / total, message })
  const onWait: WriteFolderOptions["onWait"] = ({ pid, host }) =>
    onProgress?.({ stage: "notice", fraction: 0, message: `process ${pid} on ${host} is writing ${folder}; waiting` })

  return writeFolder(folder, { ...options, bytes, onWait }, async (sink, signal) => {
    const out = await sink.create(SINGLE)
    await convertWeights(checkpoint, plan, backend, out, { signal, onProgress: onWeights })
    await out.close()
    for (const { name } of companions) await copyFile(files, name, sink)
  })
}

async function copyFile(files: FileSet, name: string, sink: FolderSink): Promise<void> {
  const source = await files.open(name)
  try {
    const out = await sink.create(name)
    await out.write(await source.read(0, source.size))
    await out.close()
  } finally {
    await source.close()
  }
}
