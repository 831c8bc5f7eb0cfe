/**
 * A model of the Hugging Face Hub → a folder with its files, in the cache that all tools of the Hub share.
 *
 * Nothing is asked of the Hub when the cache has all files of the revision. Nothing that is fetched is executed: only
 * JSON, text and safetensors come.
 */

import { IsaacError } from "../errors"
import { HubCache } from "./hub-cache-node"
import { type Environment, HUB_DISK, hubEnvironment } from "./hub-environment-node"
import { type HubId, isCommit, parseHubId } from "./hub-id"
import type { HubListing } from "./hub-listing"
import { type HubConnection, PATIENCE, type Patience, TransientError, throwIfAborted } from "./hub-request-node"
import { fetchListing, fetchSnapshot, type SnapshotOptions } from "./hub-snapshot-node"
import { type LockOptions, takeLock } from "./lock-node"

export type { HubNotice, HubProgress } from "./hub-snapshot-node"

export interface HubOptions extends SnapshotOptions {
  /** A branch, tag or commit, if the id names none. Default "main". */
  readonly revision?: string
  readonly signal?: AbortSignal
  /** Instead of process.env: HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_TOKEN_PATH, HF_ENDPOINT, HF_HUB_OFFLINE. */
  readonly env?: Environment
  /** Instead of HF_ENDPOINT. */
  readonly endpoint?: string
  /** Instead of HF_TOKEN and the token file. */
  readonly token?: string
  /** Instead of HF_HUB_CACHE. */
  readonly cacheDir?: string
  /** Instead of HF_HUB_OFFLINE: true makes no request. */
  readonly offline?: boolean
  /** Ask what a branch or tag means today, though the cache has files for it. Default false. */
  readonly update?: boolean
  readonly patience?: Partial<Patience>
  readonly lock?: Pick<LockOptions, "pollMs" | "renewMs" | "staleMs">
}

/**
 * The snapshot folder of `ORG/NAME` or `ORG/NAME@REVISION`, with everything that a checkpoint needs.
 *
 * @throws IsaacError `bad_input`: no such form; `not_found`: no such model or revision, or not in the cache while
 *   offline; `io`: no access, no connection, damaged twice, disk full; `bad_checkpoint`: it holds no checkpoint;
 *   `aborted`
 */
export async function fetchFromHub(model: string, options: HubOptions = {}): Promise<string> {
  const { signal, onNotice, update = false } = options
  const id = parseHubId(model, options.revision)
  const environment = await hubEnvironment(options.env ?? process.env, options)
  const cache = new HubCache(environment.cacheDir, id)
  const offline = options.offline ?? environment.offline
  throwIfAborted(signal)

  // 1. What the cache has. A commit never changes; a branch or tag is taken as it was when it was fetched.
  const mayUseCache = !update || offline || isCommit(id.revision)
  const cached = await lookInCache(cache, id)
  if (cached?.state === "complete" && mayUseCache) return cached.folder
  if (offline) {
    if (cached?.state === "usable") return cached.folder
    throw new IsaacError(
      "not_found",
      `${cache.root} has no complete copy of ${id.org}/${id.name}@${id.revision}, and HF_HUB_OFFLINE forbids to ` +
        "download it. Download it once without, or copy the cache from another machine.",
    )
  }

  // 2. One process at a time; whoever waited looks again.
  const lock = await takeLock(cache.lockFile, {
    ...options.lock,
    advice: HUB_DISK.unwritable,
    signal,
    onWait: ({ pid, host }) =>
      onNotice?.({
        kind: "waiting",
        message: `process ${pid} on ${host} is downloading ${id.org}/${id.name}; waiting`,
      }),
  })
  try {
    const now = await lookInCache(cache, id)
    if (now?.state === "complete" && mayUseCache) return now.folder
    const connection: HubConnection = {
      endpoint: environment.endpoint,
      token: environment.token,
      model: `${id.org}/${id.name}`,
      revision: id.revision,
      patience: { ...PATIENCE, ...options.patience },
      signal: signal ? AbortSignal.any([signal, lock.lost]) : lock.lost,
    }

    // 3. What the Hub has.
    let listing: HubListing
    try {
      listing = await fetchListing(connection)
    } catch (error) {
      const unreachable = error instanceof IsaacError && error.cause instanceof TransientError
      if (!unreachable || now?.state !== "usable" || !mayUseCache) throw error
      onNotice?.({ kind: "not_checked", message: `${error.message}. Using what the cache has: ${now.folder}` })
      return now.folder
    }

    // 4. Fetch what is missing, then make it known.
    await fetchSnapshot(connection, cache, listing, options)
    await cache.markAbsent(
      listing.commit,
      listing.files.map(({ name }) => name),
    )
    await cache.setRef(id.revision, listing.commit)
    return cache.snapshot(listing.commit)
  } finally {
    await lock.release()
  }
}

async function lookInCache(cache: HubCache, { revision }: HubId) {
  const commit = await cache.commitOf(revision)
  return commit === undefined ? undefined : { state: await cache.state(commit), folder: cache.snapshot(commit) }
}
