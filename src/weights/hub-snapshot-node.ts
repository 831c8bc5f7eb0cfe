/** All files of one commit that a checkpoint needs, from the Hub into a snapshot of the cache. */

import { mkdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { IsaacError } from "../errors"
import { checkDiskSpace, formatBytes, writeError } from "./disk-node"
import type { HubCache, MakeLink } from "./hub-cache-node"
import { bytesHere, downloadBlob } from "./hub-download-node"
import { HUB_DISK } from "./hub-environment-node"
import { chooseFiles, type HubFile, INDEX, shardNames } from "./hub-files"
import { type HubListing, licenceSentence, parseListing } from "./hub-listing"
import { type HubConnection, request, retrying } from "./hub-request-node"

export interface HubProgress {
  readonly file: string
  /** Bytes of this file that are here. */
  readonly received: number
  readonly total: number
  /** The same over all files. */
  readonly allReceived: number
  readonly allTotal: number
}

/** Something the user should read. */
export interface HubNotice {
  /**
   * licence: before a download, under which terms and how much; waiting: another process downloads the same;
   * not_checked: the Hub does not answer, and the cache may lack optional files.
   */
  readonly kind: "licence" | "waiting" | "not_checked"
  readonly message: string
}

export interface SnapshotOptions {
  readonly onProgress?: (progress: HubProgress) => void
  readonly onNotice?: (notice: HubNotice) => void
  /** Kinds of links to try for a snapshot's files before they are copied; default symbolic, then hard ones. */
  readonly links?: readonly MakeLink[]
}

/** What a repository holds at the connection's revision. */
export async function fetchListing(connection: HubConnection): Promise<HubListing> {
  const { endpoint, model, revision } = connection
  const url = `${endpoint}/api/models/${model}/revision/${encodeURIComponent(revision)}?blobs=true`
  return retrying(connection, async () => {
    const answer = await request(connection, url)
    const text = new TextDecoder()
    let json = ""
    for await (const piece of answer.body()) {
      json += text.decode(piece, { stream: true })
      if (json.length > 32 << 20) throw new IsaacError("io", `${url} answers with more than 32 MB; that is no listing`)
    }
    let value: unknown
    try {
      value = JSON.parse(json)
    } catch {
      // A login page of the network, say.
      throw new IsaacError("io", `${url} did not answer with JSON. Is HF_ENDPOINT a Hub, and the network open?`)
    }
    return parseListing(value, `${endpoint}/${model}`)
  })
}

/** A file whose content has a name and a length. */
interface Known extends HubFile {
  readonly size: number
  readonly etag: string
}

/**
 * Fetch what the snapshot of the listing's commit lacks. @throws IsaacError as `fetchFromHub` does
 */
export async function fetchSnapshot(
  connection: HubConnection,
  cache: HubCache,
  listing: HubListing,
  { onProgress, onNotice, links }: SnapshotOptions,
): Promise<void> {
  const { commit } = listing
  const { small, single } = chooseFiles(listing.files, `${connection.endpoint}/${connection.model}`)
  // Until the index is here, every root-level shard counts towards the total.
  const likely = single ? [single] : listing.files.filter(({ name }) => /^[^/]+\.safetensors$/.test(name))
  const folder = cache.snapshot(commit)
  const missing: HubFile[] = []
  for (const file of [...small, ...likely]) if (!(await cache.hasFile(commit, file.name, file.size))) missing.push(file)
  if (missing.length > 0) {
    onNotice?.({ kind: "licence", message: licenceNotice(connection, listing, bytesOf(missing), cache) })
  }
  const size = bytesOf([...small, ...likely])
  await mkdir(cache.root, { recursive: true }).catch(async (cause: unknown) => {
    throw await writeError(cache.root, size, cause, HUB_DISK)
  })

  let allReceived = 0
  let allTotal = size
  const get = async (files: readonly HubFile[]) => {
    // 1. Names and lengths of all contents, and room for what is not here yet.
    const known: Known[] = []
    for (const file of files) known.push(await describe(connection, commit, file))
    let needed = 0
    for (const file of known) {
      if (await cache.hasFile(commit, file.name, file.size)) continue
      needed += file.size - Math.min(file.size, await bytesHere(cache.blob(file.etag)))
    }
    await checkDiskSpace(cache.root, needed, HUB_DISK)
    // 2. One after the other: a single connection fills the line.
    for (const file of known) {
      const report = throttled((received) =>
        onProgress?.({
          file: file.name,
          received,
          total: file.size,
          allReceived: allReceived + received,
          allTotal: Math.max(allTotal, allReceived + received),
        }),
      )
      if (!(await cache.hasFile(commit, file.name, file.size))) {
        const path = cache.blob(file.etag)
        const blob = { file: file.name, url: resolveUrl(connection, commit, file.name), path, etag: file.etag }
        await downloadBlob(connection, { ...blob, size: file.size }, (received) => report(received, file.size))
        await cache.place(commit, file.name, file.etag, links).catch(async (cause: unknown) => {
          throw await writeError(cache.root, file.size, cause, HUB_DISK)
        })
      } else {
        report(file.size, file.size)
      }
      allReceived += file.size
    }
  }

  // The small files first: a folder that has its weights has all the rest.
  await get(small)
  if (single) return get([single])
  const shards = await listedShards(folder, listing)
  allTotal = allReceived + bytesOf(shards)
  return get(shards)
}

/** As far as the listing tells. */
function bytesOf(files: readonly HubFile[]): number {
  return files.reduce((sum, { size = 0 }) => sum + size, 0)
}

async function listedShards(snapshot: string, listing: HubListing): Promise<HubFile[]> {
  let index: unknown
  try {
    index = JSON.parse(await readFile(join(snapshot, INDEX), "utf8"))
  } catch (cause) {
    throw new IsaacError("bad_checkpoint", `${snapshot}/${INDEX} is no JSON: ${(cause as Error).message}`, { cause })
  }
  const byName = new Map(listing.files.map((file) => [file.name, file]))
  return shardNames((index ?? {}) as Record<string, unknown>, snapshot).map((name) => {
    const file = byName.get(name)
    if (file === undefined) {
      throw new IsaacError(
        "bad_checkpoint",
        `${snapshot}/${INDEX} names the shard ${name}, but the Hub does not have it`,
      )
    }
    return file
  })
}

/** Mirrors may list names only: then each file is asked for its content's name and length. */
async function describe(connection: HubConnection, commit: string, file: HubFile): Promise<Known> {
  if (file.size !== undefined && file.etag !== undefined) return { name: file.name, size: file.size, etag: file.etag }
  const url = resolveUrl(connection, commit, file.name)
  return retrying(connection, async () => {
    const answer = await request(connection, url, { method: "HEAD" })
    await answer.cancel()
    const { etag, size } = answer
    if (etag === undefined || size === undefined) {
      throw new IsaacError("io", `${url} does not tell the ETag and the length of the file. Is HF_ENDPOINT a Hub?`)
    }
    return { name: file.name, size, etag }
  })
}

/** By commit, so that all files are of one state of the repository. */
function resolveUrl({ endpoint, model }: HubConnection, commit: string, file: string): string {
  return `${endpoint}/${model}/resolve/${commit}/${encodeURIComponent(file)}`
}

function licenceNotice({ endpoint, model }: HubConnection, listing: HubListing, size: number, cache: HubCache): string {
  return `Downloading ${model} (${formatBytes(size)}) to ${cache.root}. ${licenceSentence(model, listing.licence, endpoint)}`
}

/** At most ten reports a second, and always the last one. */
function throttled(report: (received: number) => void): (received: number, total: number) => void {
  let last = Number.NEGATIVE_INFINITY
  return (received, total) => {
    const now = performance.now()
    if (received < total && now - last < 100) return
    last = now
    report(received)
  }
}
