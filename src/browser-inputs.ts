/**
 * What only a browser has to give. The types of its classes are taken from the program's own global types, so that a
 * program for Node needs no types of the DOM; there they are `never`.
 */

type Global<Name extends string> = typeof globalThis extends { readonly [K in Name]: { readonly prototype: infer T } }
  ? T
  : never

/** A picture that the page shows or draws; an element must be loaded, and not come from another site without CORS. */
export type BrowserImage =
  | Global<"ImageBitmap">
  | Global<"HTMLImageElement">
  | Global<"HTMLCanvasElement">
  | Global<"OffscreenCanvas">
  | Global<"HTMLVideoElement">
  | Global<"VideoFrame">

/** A checkpoint's folder that a person picked: the files of `<input type="file" webkitdirectory>`, or a handle. */
export type BrowserModel = Global<"FileList"> | readonly Global<"File">[] | Global<"FileSystemDirectoryHandle">
