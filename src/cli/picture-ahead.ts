/** Pictures that are read while the model looks at the one before. */

import type { ReadImageOptions, RgbImage } from "../internal"
import { readPictures } from "./pictures"

/** A picture that is ready to be asked about, or why it is not. */
export type ReadyPicture = { readonly picture: RgbImage } | { readonly error: unknown }

/** So many times in a row the engine may be lost: a single picture is not worth all others. */
export const MOST_LOST = 3

/** Never rejects: nobody may be waiting yet. */
export function readAheadOf(
  name: string,
  signal: AbortSignal,
  options: Pick<ReadImageOptions, "allowPrivateUrls"> = {},
): Promise<ReadyPicture> {
  return readPictures([name], signal, options).then(
    ([picture]) => ({ picture }),
    (error: unknown) => ({ error }),
  )
}
