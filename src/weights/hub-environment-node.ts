/** The environment variables that tools of the Hub share: where to fetch, as whom, and where to keep. */

import { readFile } from "node:fs/promises"
import { homedir } from "node:os"
import { join, resolve } from "node:path"
import { IsaacError } from "../errors"
import type { DiskAdvice } from "./disk-node"

/** What to do about a cache that cannot be written. */
export const HUB_DISK: DiskAdvice = {
  unwritable: "HF_HOME names another folder for downloads.",
  full: "Make room, or set HF_HOME to a folder on another disk; what has arrived is kept.",
}

export type Environment = Readonly<Record<string, string | undefined>>

export interface HubEnvironment {
  /** No slash at the end. HF_ENDPOINT, else https://huggingface.co */
  readonly endpoint: string
  /** HF_TOKEN, else the file that `hf auth login` writes. */
  readonly token?: string
  /** HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub */
  readonly cacheDir: string
  /** HF_HUB_OFFLINE: no request at all. */
  readonly offline: boolean
}

/** @throws IsaacError `bad_input` for an endpoint or token that cannot be one */
export async function hubEnvironment(
  env: Environment,
  override: { readonly endpoint?: string; readonly token?: string; readonly cacheDir?: string } = {},
): Promise<HubEnvironment> {
  const home = folder(env.HF_HOME) ?? join(folder(env.XDG_CACHE_HOME) ?? join(homedir(), ".cache"), "huggingface")
  const endpoint = (override.endpoint ?? text(env.HF_ENDPOINT) ?? "https://huggingface.co").replace(/\/+$/, "")
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol)) {
    throw new IsaacError("bad_input", `${JSON.stringify(endpoint)} (HF_ENDPOINT) is no http or https address`)
  }
  const token =
    override.token ?? text(env.HF_TOKEN) ?? (await tokenFile(folder(env.HF_TOKEN_PATH) ?? join(home, "token")))
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
    throw new IsaacError(
      "bad_input",
      "the token of the Hub (HF_TOKEN, or its file) holds spaces or other odd characters",
    )
  }
  return {
    endpoint,
    token,
    cacheDir: folder(override.cacheDir) ?? folder(env.HF_HUB_CACHE) ?? join(home, "hub"),
    offline: /^(?:1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE?.trim() ?? ""),
  }
}

/** An empty variable is as good as none. */
function text(value: string | undefined): string | undefined {
  return value?.trim() || undefined
}

function folder(value: string | undefined): string | undefined {
  const path = text(value)
  return path === undefined ? undefined : resolve(path.replace(/^~(?=$|[\\/])/, () => homedir()))
}

async function tokenFile(path: string): Promise<string | undefined> {
  try {
    return text(await readFile(path, "utf8"))
  } catch {
    // None, or none that we may read: public models need none.
    return undefined
  }
}
