/** The Hub's description of a repository at one revision: GET /api/models/ORG/NAME/revision/REV?blobs=true */

import { IsaacError } from "../errors"
import type { HubFile } from "./hub-files"
import { isCommit } from "./hub-id"

export interface HubListing {
  readonly commit: string
  /** As the author states it: "apache-2.0", "cc-by-nc-4.0", or a name of its own. */
  readonly licence?: string
  readonly files: readonly HubFile[]
}

/** A name that a blob may have in the cache. */
const ETAG = /^[A-Za-z0-9][\w-]{0,127}$/

/** An ETag without quotes and weakness mark; undefined for one that cannot name a file. */
export function plainEtag(header: string | null | undefined): string | undefined {
  const etag = header?.replace(/^W\//, "").replace(/^"(.*)"$/, "$1")
  return etag !== undefined && ETAG.test(etag) ? etag : undefined
}

/**
 * Check the answer; all of it comes from outside.
 *
 * @param where for messages
 * @throws IsaacError `io` when it is not such a description, `bad_checkpoint` when a file name leaves the folder
 */
export function parseListing(answer: unknown, where: string): HubListing {
  const model = record(answer)
  const commit = model?.sha
  const siblings = model?.siblings
  if (typeof commit !== "string" || !isCommit(commit) || !Array.isArray(siblings)) {
    throw new IsaacError("io", `${where} did not answer with the description of a model. Is HF_ENDPOINT a Hub?`)
  }
  const files = siblings.map((sibling): HubFile => {
    const entry = record(sibling)
    const name = entry?.rfilename
    if (typeof name !== "string" || name === "") {
      throw new IsaacError("io", `${where} lists a file without a name: ${JSON.stringify(sibling)}`)
    }
    if (
      /[\\\0]|^[A-Za-z]:/.test(name) ||
      name.split("/").some((part) => part === "" || part === "." || part === "..")
    ) {
      throw new IsaacError("bad_checkpoint", `${where} lists ${JSON.stringify(name)}, a path out of its folder`)
    }
    const lfs = record(entry?.lfs)
    const etag = lfs ? lfs.sha256 : entry?.blobId
    const size = lfs ? lfs.size : entry?.size
    return {
      name,
      size: Number.isSafeInteger(size) && (size as number) >= 0 ? (size as number) : undefined,
      etag: typeof etag === "string" ? plainEtag(etag) : undefined,
    }
  })
  return { commit, licence: licenceOf(model), files }
}

function licenceOf(model: Readonly<Record<string, unknown>> | undefined): string | undefined {
  const card = record(model?.cardData)
  const tag =
    Array.isArray(model?.tags) && model.tags.find((tag) => typeof tag === "string" && tag.startsWith("license:"))
  // "other" says nothing: its own name is in license_name.
  for (const value of [card?.license === "other" ? card.license_name : undefined, card?.license, tag?.slice?.(8)]) {
    if (typeof value === "string" && value !== "") return value.slice(0, 80)
  }
  return undefined
}

/** Under which terms the weights come, for people to read before a download. */
export function licenceSentence(model: string, licence: string | undefined, endpoint: string): string {
  const permissive = /^(?:apache|mit|bsd)\b/i.test(licence ?? "")
  const restricted = /(?:^|[-_ ])(?:nc|non-?commercial|non-?production)(?:[-_ ]|$)/i.test(licence ?? "")
  // Perceptron publishes Isaac's weights for non-commercial use, under licences of several names.
  const nonCommercial = restricted || (/^perceptron/i.test(model) && !permissive)
  return (
    `Its licence: ${licence ?? "not stated"}${nonCommercial ? ", for non-commercial use only" : ""}; ` +
    `the terms are at ${endpoint}/${model}`
  )
}

function record(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return value !== null && typeof value === "object" && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined
}
