/** How a model of the Hugging Face Hub is named: ORG/NAME, or ORG/NAME@REVISION. */

import { IsaacError } from "../errors"

export interface HubId {
  readonly org: string
  readonly name: string
  /** A branch, a tag, `refs/pr/N` or a commit; "main" when none is named. */
  readonly revision: string
}

/** Letters, digits, `_`, `.`, `-`, as the Hub allows them; a dot or dash neither first nor doubled. */
const PART = /^(?!.*(?:\.\.|--))[A-Za-z0-9_][\w.-]{0,95}$/
const COMMIT = /^[0-9a-f]{40}$/

/** Whether a text has the form of a Hub id. A relative folder may have it too: look for that first. */
export function isHubId(text: string): boolean {
  const { parts, revision } = split(text)
  return parts.length === 2 && parts.every((part) => PART.test(part)) && isRevision(revision ?? "main")
}

/**
 * @param revision if the id does not name one itself
 * @throws IsaacError `bad_input`
 */
export function parseHubId(text: string, revision?: string): HubId {
  const own = split(text)
  const [org, name] = own.parts
  if (own.parts.length !== 2 || !PART.test(org) || !PART.test(name)) {
    throw new IsaacError(
      "bad_input",
      `${JSON.stringify(text)} does not name a model of the Hub; write ORG/NAME or ORG/NAME@REVISION`,
    )
  }
  if (own.revision !== undefined && revision !== undefined && own.revision !== revision) {
    throw new IsaacError("bad_input", `${JSON.stringify(text)} and revision ${JSON.stringify(revision)} contradict`)
  }
  const chosen = own.revision ?? revision ?? "main"
  if (!isRevision(chosen)) {
    throw new IsaacError(
      "bad_input",
      `${JSON.stringify(chosen)} is no revision; write a branch, a tag or a commit of 40 hexadecimal digits`,
    )
  }
  return { org, name, revision: chosen }
}

/** Whether a revision is a commit, which always means the same files. */
export function isCommit(revision: string): boolean {
  return COMMIT.test(revision)
}

function split(text: string): { parts: string[]; revision?: string } {
  const at = text.indexOf("@")
  const parts = (at < 0 ? text : text.slice(0, at)).split("/")
  return at < 0 ? { parts } : { parts, revision: text.slice(at + 1) }
}

/** A revision becomes a path below refs/: no empty, hidden or climbing segments. */
function isRevision(revision: string): boolean {
  return (
    revision.length <= 255 && revision.split("/").every((part) => /^[\w][\w.+-]*$/.test(part) && !part.includes(".."))
  )
}
