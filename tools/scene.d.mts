/** What test/ uses of scene.mjs. */

export interface Scene {
  readonly image: { readonly width: number; readonly height: number; readonly data: Uint8Array }
  readonly objects: readonly { readonly name: string; readonly corners: readonly (readonly [number, number])[] }[]
  readonly text: { readonly text: string } | undefined
}

export function drawScene(seed: number, glyphDot: (character: string, column: number, row: number) => 0 | 1): Scene

export const COLOURS: Readonly<Record<string, readonly [red: number, green: number, blue: number]>>

export function datasetOf(scenes: readonly Scene[], seeds: readonly number[], fileOf: (index: number) => string): object
