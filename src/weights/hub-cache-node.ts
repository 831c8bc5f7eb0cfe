/**
 * The cache that all tools of the Hub share (https://huggingface.co/docs/hub/local-cache):
 *
 *     models--ORG--NAME/
 *       blobs/<etag>                   contents, named by their hash
 *       snapshots/<commit>/<file>      links to ../../blobs/<etag>
 *       refs/<revision>                the commit that a branch or tag meant when it was last asked
 *       .no_exist/<commit>/<file>      empty: that commit has no such file
 */

import { constants, copyFile, link, mkdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises"
import { dirname, join, relative } from "node:path"
import { COMPANIONS, CONFIG, INDEX, SINGLE, shardNames } from "./hub-files"
import { type HubId, isCommit } from "./hub-id"

/**
 * "complete": nothing is missing that the commit has. "usable": a model can be loaded, but whether the commit has more
 * (a chat template, say) is not known. "partial": it cannot.
 */
export type SnapshotState = "complete" | "usable" | "partial"

/** Lets `path` be the file `blob`; fails where the file system or the user's rights do not allow it. */
export type MakeLink = (blob: string, path: string) => Promise<void>

/**
 * Symbolic links, relative so that a cache can be moved; where those are refused (Windows without developer mode, some
 * network drives), hard ones.
 */
export const LINKS: readonly MakeLink[] = [(blob, path) => symlink(relative(dirname(path), blob), path), link]

/** The folder of one model in the cache. */
export class HubCache {
  readonly root: string
  readonly lockFile: string

  constructor(cacheDir: string, { org, name }: Pick<HubId, "org" | "name">) {
    const folder = `models--${org}--${name}`
    this.root = join(cacheDir, folder)
    this.lockFile = join(cacheDir, ".locks", folder, "isaac.lock")
  }

  blob(etag: string): string {
    return join(this.root, "blobs", etag)
  }

  snapshot(commit: string): string {
    return join(this.root, "snapshots", commit)
  }

  /** The commit that a revision stands for as far as the cache knows. */
  async commitOf(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision
    const text = await readFile(join(this.root, "refs", revision), "utf8").catch(() => "")
    return isCommit(text.trim()) ? text.trim() : undefined
  }

  /** Write a ref; last of all, so that it never leads to a snapshot that is not complete. */
  async setRef(revision: string, commit: string): Promise<void> {
    if (isCommit(revision)) return
    const path = join(this.root, "refs", revision)
    await mkdir(dirname(path), { recursive: true })
    const fresh = `${path}.${process.pid}.tmp`
    await writeFile(fresh, commit)
    await rename(fresh, path)
  }

  async state(commit: string): Promise<SnapshotState> {
    const folder = this.snapshot(commit)
    const has = (file: string) => exists(join(folder, file))
    if (!(await has(CONFIG))) return "partial"
    if (!(await has("tokenizer.json")) && !((await has("vocab.json")) && (await has("merges.txt")))) return "partial"
    if (!(await has(SINGLE)) && !(await this.#hasShards(folder))) return "partial"
    for (const file of COMPANIONS) {
      if (!(await has(file)) && !(await exists(join(this.root, ".no_exist", commit, file)))) return "usable"
    }
    return "complete"
  }

  async #hasShards(folder: string): Promise<boolean> {
    try {
      const index = JSON.parse(await readFile(join(folder, INDEX), "utf8")) as Record<string, unknown>
      for (const shard of shardNames(index, folder)) if (!(await exists(join(folder, shard)))) return false
      return true
    } catch {
      // No index, or none that can be read: it is fetched again.
      return false
    }
  }

  /** Note which of the files a commit may have it does not have. */
  async markAbsent(commit: string, listed: readonly string[]): Promise<void> {
    const folder = join(this.root, ".no_exist", commit)
    await mkdir(folder, { recursive: true })
    for (const file of COMPANIONS) if (!listed.includes(file)) await writeFile(join(folder, file), "")
  }

  /** Whether a snapshot has a file, wherever the link leads, and of that size if it is known. */
  async hasFile(commit: string, file: string, size: number | undefined): Promise<boolean> {
    const found = await stat(join(this.snapshot(commit), file)).catch(() => undefined)
    return found?.isFile() === true && found.size === (size ?? found.size)
  }

  /** Let a snapshot's file be a blob: by the first kind of link that works, else by a copy. */
  async place(commit: string, file: string, etag: string, links: readonly MakeLink[] = LINKS): Promise<void> {
    const path = join(this.snapshot(commit), file)
    const blob = this.blob(etag)
    await mkdir(dirname(path), { recursive: true })
    const fresh = `${path}.${process.pid}.tmp`
    await rm(fresh, { force: true })
    if (!(await linked(links, blob, fresh))) await copyFile(blob, fresh, constants.COPYFILE_FICLONE)
    await rename(fresh, path)
  }
}

async function linked(links: readonly MakeLink[], blob: string, path: string): Promise<boolean> {
  for (const makeLink of links) {
    try {
      await makeLink(blob, path)
      return true
    } catch {
      // Refused here; the next kind may work.
    }
  }
  return false
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
