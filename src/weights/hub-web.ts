/** A model of the Hugging Face Hub in a browser: the Hub allows requests from any page, ranges included. */

import { IsaacError } from "../errors"
import { HttpFiles, type HttpFilesOptions, type OpenFiles, WebStore } from "./http-files-web"
import type { FileVersion } from "./http-request"
import { chooseFiles, type HubFile, INDEX } from "./hub-files"
import { isCommit, parseHubId } from "./hub-id"
import { type HubListing, licenceSentence, parseListing } from "./hub-listing"
import { retrying, TransientError } from "./retry"

const LISTING = "listing.json"
const MAX_LISTING = 8 << 20

/**
 * The files of ORG/NAME[@REVISION].
 *
 * @throws IsaacError `bad_input`, `not_found`, `io`, `bad_checkpoint`, `aborted`
 */
export async function openHub(
  model: string,
  { endpoint: given = "https://huggingface.co", token }: { readonly endpoint?: string; readonly token?: string },
  options: HttpFilesOptions,
): Promise<OpenFiles> {
  const { org, name, revision } = parseHubId(model)
  const endpoint = given.replace(/\/+$/, "")
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol)) {
    throw new IsaacError("bad_input", `${JSON.stringify(endpoint)} is no http or https address of a Hub`)
  }
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
    throw new IsaacError("bad_input", "the token of the Hub holds spaces or other odd characters")
  }
  const where = `${endpoint}/${org}/${name}`
  const { origin } = new URL(endpoint)
  const authorization: Readonly<Record<string, string>> =
    token === undefined ? {} : { authorization: `Bearer ${token}` }
  const store = await WebStore.open(`${where}@${revision}`, options, (url) =>
    url.origin === origin ? authorization : {},
  )
  try {
    const url = `${endpoint}/api/models/${org}/${name}/revision/${encodeURIComponent(revision)}?blobs=true`
    const { commit, files, licence } = await findListing(store, url, where, isCommit(revision), options)
    const { small, single } = chooseFiles(files, where)
    const weights = single ? [single] : files.filter((file) => /^[^/]+\.safetensors$/.test(file.name))
    const versions = new Map<string, FileVersion>()
    for (const { name: file, size, etag } of [...small, ...weights]) versions.set(file, { size, etag: etag ?? commit })
    if (!(await isKept(store, weights[0] ?? { name: INDEX }))) {
      const bytes = weights.reduce((sum, { size = 0 }) => sum + size, 0)
      const what = `Downloading ${org}/${name} (${Math.round(bytes / 1e6)} MB).`
      options.onNotice?.(`${what} ${licenceSentence(`${org}/${name}`, licence, endpoint)}`)
    }
    const folder = {
      name: `${org}/${name}`,
      files: versions,
      url: (file: string) => `${where}/resolve/${commit}/${encodeURIComponent(file)}`,
    }
    return new HttpFiles(folder, store, options)
  } catch (error) {
    store.abort()
    await store.kept?.close()
    throw error
  }
}

/** Today's, or the one that was kept: of a commit always, of a branch when the Hub is out of reach. */
async function findListing(
  store: WebStore,
  url: string,
  where: string,
  pinned: boolean,
  { onNotice }: HttpFilesOptions,
): Promise<HubListing> {
  const kept = await store.kept?.file(LISTING).catch(() => undefined)
  const parse = (bytes: Uint8Array) => parseListing(JSON.parse(new TextDecoder().decode(bytes)), where)
  let known: HubListing | undefined
  if (kept?.state?.complete) {
    try {
      known = parse(kept.read(0, kept.have))
    } catch {
      kept.drop()
    }
  }
  if (known !== undefined && pinned) return known
  const { connection } = store
  const patience = known ? { ...connection.patience, attempts: 1 } : connection.patience
  let bytes: Uint8Array
  try {
    bytes = await retrying({ ...connection, patience }, () => fetchListing(store, url, where))
  } catch (error) {
    const unreachable = error instanceof IsaacError && error.cause instanceof TransientError
    if (!unreachable || known === undefined) throw error
    onNotice?.(`${error.message}. Using what the browser has kept.`)
    return known
  }
  let listing: HubListing
  try {
    listing = parse(bytes)
  } catch (error) {
    if (error instanceof IsaacError) throw error
    throw new IsaacError("io", `${url} did not answer with JSON. Is that a Hub, and the network open?`)
  }
  try {
    kept?.begin({})
    kept?.append(bytes)
    kept?.finish()
  } catch {
    kept?.drop() // no room: it is asked for again
  }
  return listing
}

async function fetchListing({ connection }: WebStore, url: string, where: string): Promise<Uint8Array> {
  const { fetch, headers, signal } = connection
  let response: Response
  try {
    response = await fetch(url, {
      signal,
      headers: headers?.(new URL(url)),
      cache: "no-store",
      referrerPolicy: "no-referrer",
    })
    if (response.ok) {
      const bytes = new Uint8Array(await response.arrayBuffer())
      if (bytes.length > MAX_LISTING)
        throw new IsaacError("io", `${url} answers with ${bytes.length} bytes; that is no listing`)
      return bytes
    }
  } catch (cause) {
    if (cause instanceof IsaacError) throw cause
    throw new TransientError(`cannot reach ${new URL(url).origin}: ${(cause as Error).message}`, { cause })
  }
  const { status } = response
  if (status === 429 || status >= 500) throw new TransientError(`${new URL(url).origin} has trouble (status ${status})`)
  if (status === 401 || status === 403) {
    throw new IsaacError(
      "io",
      `${where} needs a login (status ${status}): it is gated or private, or there is no such model. Accept its ` +
        "licence there and load with hub: { token }.",
    )
  }
  throw new IsaacError("not_found", `${where} has no such model or revision (status ${status})`)
}

async function isKept({ kept }: WebStore, { name, size }: HubFile): Promise<boolean> {
  const state = (await kept?.file(name).catch(() => undefined))?.state
  return state?.complete === true && (size === undefined || state.size === size)
}
