/** A checkpoint folder that a person picked: its files, read where they lie. */

import { IsaacError } from "../errors"
import { blobSource } from "./http-sources"
import type { FileSet } from "./source"

/** One picked file; those of a folder have a path. */
export interface PickedFile extends Blob {
  readonly name: string
  /** "folder/file", as a folder picker gives it. */
  readonly webkitRelativePath?: string
}

/** A folder that can be looked into, such as `showDirectoryPicker` gives. */
export interface PickedFolder {
  readonly name: string
  getFileHandle(name: string): Promise<{ getFile(): Promise<PickedFile> }>
}

/**
 * The files beside config.json. Throws bad_checkpoint when there is none, or more than one.
 */
export function pickedFiles(files: readonly PickedFile[]): FileSet {
  const path = ({ webkitRelativePath, name }: PickedFile) => webkitRelativePath || name
  const configs = files.filter((file) => path(file).split("/").at(-1) === "config.json").map(path)
  // A folder may hold others, for other programs: the outermost one counts.
  configs.sort((a, b) => a.split("/").length - b.split("/").length)
  if (configs.length === 0) {
    throw new IsaacError(
      "bad_checkpoint",
      `none of the ${files.length} files is a config.json; pick all files of a checkpoint's folder`,
    )
  }
  const folder = configs[0].slice(0, -"config.json".length)
  const byName = new Map(files.filter((file) => path(file).startsWith(folder)).map((file) => [path(file), file]))
  const name = folder.replace(/\/$/, "") || "the picked files"
  return {
    name,
    async has(file) {
      return byName.has(folder + file)
    },
    async open(file) {
      const picked = byName.get(folder + file)
      if (picked === undefined) throw new IsaacError("not_found", `${name} has no file ${file}`)
      return blobSource(`${name}/${file}`, picked)
    },
  }
}

/** The files of a picked folder. */
export function pickedFolder(folder: PickedFolder): FileSet {
  const find = async (file: string): Promise<PickedFile | undefined> => {
    try {
      return await (await folder.getFileHandle(file)).getFile()
    } catch (cause) {
      if ((cause as Error).name === "NotFoundError") return undefined
      throw new IsaacError("io", `cannot read ${folder.name}/${file}: ${(cause as Error).message}`, { cause })
    }
  }
  return {
    name: folder.name,
    async has(file) {
      return (await find(file)) !== undefined
    },
    async open(file) {
      const found = await find(file)
      if (found === undefined) throw new IsaacError("not_found", `${folder.name} has no file ${file}`)
      return blobSource(`${folder.name}/${file}`, found)
    },
  }
}
