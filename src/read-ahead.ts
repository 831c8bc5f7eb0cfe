/** Work that does not wait for its reader. */

/**
 * The items of `source`, which runs to its end by itself once the first one is asked for: a reader that is slow, or that
 * waits for something else, holds nothing up. When the reader leaves, the source ends at its next item.
 *
 * @param ended runs when the source has ended
 */
export async function* readAhead<T>(source: AsyncIterable<T>, ended: () => Promise<void>): AsyncGenerator<T, void> {
  const ready: T[] = []
  let failure: { readonly error: unknown } | undefined
  let over = false
  let left = false
  let wake = () => {}
  const run = async () => {
    try {
      for await (const item of source) {
        if (left) return
        ready.push(item)
        wake()
      }
    } catch (error) {
      failure = { error }
    } finally {
      try {
        await ended()
      } catch (error) {
        failure ??= { error }
      }
      over = true
      wake()
    }
  }
  const running = run()
  try {
    for (;;) {
      if (ready.length > 0) yield ready.shift()!
      else if (failure && over) throw failure.error
      else if (over) return
      else {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
  } finally {
    left = true
    await running
  }
}
